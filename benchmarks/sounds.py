"""Sounds to collated batches: clips a second on one core, against `torchaudio` alone.

    python benchmarks/sounds.py

Both read the same WAV files of 22,050 samples a second with `soundfile`, resample them to 16,000 and make Kaldi
filterbanks of 80 bands, normalised by utterance. The peer pads them to one tensor. Ours goes the whole way of a task:
row, reading, features, segments, pieces, one batch with the loss of a text. By wall time and by processor time, which
says more on a machine that does other work.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from measuring import against_peer

CLIPS, SECONDS, RATE, READ_AT, BANDS = 32, 2.0, 22_050, 16_000, 80
LINE = "[AUDIO:wav] what did the person say? -> [TEXT:t]"


def write_clips(folder: Path) -> list[Path]:
    """Noise with a tone in it, of slightly different lengths."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    paths = []
    for number in range(CLIPS):
        times = np.arange(int(RATE * (SECONDS + 0.01 * number))) / RATE
        samples = 0.3 * np.sin(2 * np.pi * (200 + 20 * number) * times)
        samples += 0.05 * rng.normal(size=len(times))
        paths.append(folder / f"{number}.wav")
        soundfile.write(paths[-1], samples, RATE)
    return paths


def ours(paths: list[Path]) -> Callable[[], object]:
    """The encoder of a task, then one batch of all clips."""
    from ofacore import Generalist, Task
    from ofacore.batching.collate import collate
    from ofacore.batching.permutation import item_rng

    rows = [{"wav": str(path), "t": "a tone"} for path in paths]
    model = Generalist.create([Task("task", LINE, train=rows)], preset="tiny")
    encoder = model.assembly.encoders["task"]

    def run() -> object:
        examples = []
        for number, row in enumerate(rows):
            rng = item_rng(1, "task", 0, number)
            examples.append(encoder.encode(row, split="train", rng=rng, row_id=str(number)))
        return collate(examples)

    return run


def peer(paths: list[Path]) -> Callable[[], object]:
    """`soundfile`, `torchaudio`, and a padded tensor."""
    import soundfile
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from torchaudio.compliance import kaldi
    from torchaudio.transforms import Resample

    resample = Resample(RATE, READ_AT)

    def features(path: Path) -> torch.Tensor:
        samples, _ = soundfile.read(path, dtype="float32")
        wave = resample(torch.from_numpy(samples)[None])
        bands = kaldi.fbank(wave * 2**15, num_mel_bins=BANDS, sample_frequency=READ_AT)
        return (bands - bands.mean(0)) / bands.std(0)

    def run() -> object:
        return pad_sequence([features(path) for path in paths], batch_first=True)

    return run


def in_folder(side: Callable[[list[Path]], Callable[[], object]]) -> Callable[[], object]:
    """The work of a side on clips that are written first, and read as long as this process lives."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return side(write_clips(folder))


SIDES = {"ours": lambda: in_folder(ours), "peer": lambda: in_folder(peer)}

if __name__ == "__main__":
    against_peer(__file__, __doc__, SIDES, CLIPS, "clips")
