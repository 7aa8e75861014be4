"""What the tensors of an OFASys model tell about its adapters of sounds, and what of its settings is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofa_modality_speech.statistics import ANY, FILE
from ofacore.plugin import PluginError
from ofacore.protocols import Artifact, PositionLine

Shapes = Mapping[str, tuple[int, ...]]
STATISTICS = "gcmvn_stats.npz"
"""Means (``mean``) and deviations (``std``) of a model's log-mel bands, under the name that fairseq gives the file."""
_PLACES = "embed_audio_positions.weight"
_DISTANCES = "audio_rel_pos_table_list.0.weight"
_BUCKETS = "audio_rp_bucket"
_REACH = 4095
"""Longest distance that OFASys tells apart between frames, whatever the model's length."""
_BINS = 80


def reading_options(shapes: Shapes, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options of ``audio_fbank``, which reads there and here alike and writes in another way here."""
    return {
        "bins": _bins(settings) * _packed(settings),
        "channels": shapes["subsample.conv.0.weight"][0],
        "line": _line(shapes),
        "bare": True,
    }


def writing_options(shapes: Shapes, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options of ``audio_tgt_fbank``."""
    return {
        "bins": _bins(settings),
        "max_frames_per_step": _packed(settings),
        "dropout": float(_set(settings, "prenet_dropout", 0.5)),
        "line": _line(shapes),
    }


def line_of(numbers: Sequence[int]) -> PositionLine | None:
    """The option ``line``: rows, longest distance, half the number of distances; empty: nothing of its own.

    Raises:
        PluginError: There are other numbers.
    """
    if not numbers:
        return None
    if len(numbers) != 3 or any(int(number) < 1 for number in numbers):
        raise PluginError(
            f"option line is {list(numbers)}; expected three whole numbers above 0 (rows, longest distance, half the "
            "number of distances), or none"
        )
    return PositionLine(*map(int, numbers))


def stored_statistics(folder: Path, bins: int) -> Artifact:
    """Statistics of whatever is written: those in `STATISTICS` of a folder, else mean 0 and deviation 1.

    Raises:
        PluginError: The file is damaged, or is about other bands.
    """
    file = folder / STATISTICS
    mean, deviation = np.zeros(bins), np.ones(bins)
    if file.is_file():
        mean, deviation = _read(file, bins)
    known = {"mean": mean.tolist(), "deviation": deviation.tolist(), "length": 1.0}
    return Artifact.of_json(FILE, {ANY: known})


def _read(file: Path, bins: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as found:
            mean, deviation = (np.asarray(found[key], np.float64) for key in ("mean", "std"))
    except (OSError, ValueError, KeyError) as error:
        raise PluginError(f"{file}: {error}; expected the arrays 'mean' and 'std'") from error
    if mean.shape != (bins,) or deviation.shape != (bins,) or not (deviation > 0).all():
        raise PluginError(
            f"{file}: mean of shape {mean.shape}, std of {deviation.shape}; expected {bins} numbers each, std above 0"
        )
    return mean, deviation


def _line(shapes: Shapes) -> tuple[int, ...]:
    if _PLACES not in shapes:
        return ()
    distances = shapes.get(_DISTANCES, (1,))[0]
    reach = shapes[_BUCKETS][0] - 1 if _BUCKETS in shapes else _REACH
    return shapes[_PLACES][0], reach, (distances + 1) // 2


def _bins(settings: Mapping[str, Any]) -> int:
    return int(_set(settings, "output_frame_dim", _BINS))


def _packed(settings: Mapping[str, Any]) -> int:
    return int(_set(settings, "n_frames_per_step", 1))


def _set(settings: Mapping[str, Any], name: str, usual: float) -> float:
    """A number of the settings; the usual one where they refer to another setting by its name."""
    value = settings.get(name)
    return value if isinstance(value, int | float) else usual
