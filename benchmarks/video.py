"""Videos to collated batches: frames a second on one core, against PyAV alone with the resize of torchvision.

    python benchmarks/video.py

The peer opens each clip, decodes it up to the last wanted frame, turns the wanted frames into RGB arrays and resizes
them (bicubic, antialiased) to a tensor [clips, frames, 3, size, size]. Ours goes the whole way of a task: row, moments,
decoding, crop, segments, pieces, one batch. Both take the same frames of the same files. By wall time and by processor
time, which says more on a machine that does other work.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from measuring import against_peer

CLIPS, SECONDS, FPS, FRAMES, SIZE = 8, 4, 25, 8, 64
HEIGHT, WIDTH = 240, 320
LINE = f"[VIDEO:v,frames={FRAMES},size={SIZE},augment=none] what happens? -> [TEXT:cap]"


def write_clips(folder: Path) -> list[Path]:
    """H.264 files of a soft pattern that moves, with a key frame every second."""
    import av
    import numpy as np

    paths = [folder / f"{number}.mp4" for number in range(CLIPS)]
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for seed, path in enumerate(paths):
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.gop_size = FPS
            for number in range(SECONDS * FPS):
                wave = np.sin((x + 3 * number) / (9 + seed)) * np.cos((y - number) / 13)
                pixels = ((wave[..., None] * [1, 0.7, -1] + 1) * 127).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
    return paths


def moments() -> list[float]:
    """The middle of each part of a clip."""
    return [(number + 0.5) * SECONDS / FRAMES for number in range(FRAMES)]


def ours(paths: list[Path]) -> Callable[[], object]:
    """The encoder of a task, then one batch of all clips."""
    from ofacore import Generalist, Task
    from ofacore.batching.collate import collate
    from ofacore.batching.permutation import item_rng

    rows = [{"v": str(path), "cap": "a pattern moves"} for path in paths]
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
    """PyAV alone, and torchvision."""
    import torch
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    def read(path: Path) -> list[torch.Tensor]:
        import av

        wanted, found, before = moments(), [], None
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                while len(found) < FRAMES and frame.time > wanted[len(found)]:
                    found.append(before)
                before = frame
                if len(found) == FRAMES:
                    break
        found += [before] * (FRAMES - len(found))
        return [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in found]

    def run() -> object:
        clips = []
        for path in paths:
            pixels = torch.stack(read(path)).permute(0, 3, 1, 2)
            clips.append(resize(pixels, [SIZE, SIZE], InterpolationMode.BICUBIC, antialias=True))
        return torch.stack(clips)

    return run


def in_folder(side: Callable[[list[Path]], Callable[[], object]]) -> Callable[[], object]:
    """The work of a side on clips that are written first, and read as long as this process lives."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return side(write_clips(folder))


SIDES = {"ours": lambda: in_folder(ours), "peer": lambda: in_folder(peer)}

if __name__ == "__main__":
    against_peer(__file__, __doc__, SIDES, CLIPS * FRAMES, "frames")
