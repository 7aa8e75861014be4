"""Letters spelled by hand in sixteen sign languages, rows ``motion, letter, language``; test languages are held out.

Poses were estimated from videos (body and hands); the recordings come with the package ``spoken-to-signed``. The folder
``fsl`` is left out: it lists the recordings of ``ase`` again.
"""

from __future__ import annotations

import csv
import string
from pathlib import Path
from typing import Any

import numpy as np

from ofa_starter import PackageSource, Row, Split, Splits, empty_splits, fetch, majority, prepared

SPOKEN_TO_SIGNED = PackageSource(
    "spoken-to-signed",
    "0.4.0",
    "10570745f622476c0f890a9715e5376b650fb85bb0d0cef4b7cb031892055367",
    (
        "spoken_to_signed/assets/fingerspelling_lexicon/index.csv",
        "spoken_to_signed/assets/fingerspelling_lexicon/*.pose",
    ),
    licence="MIT",
)
NAMES = tuple(string.ascii_uppercase)
HELD_OUT: dict[str, Split] = {"swl": "test", "gsg": "test", "psr": "test", "csq": "valid"}
LEFT_OUT = "fsl"
FRAMES = 32
ARMS = (11, 12, 13, 14, 15, 16)
"""Body points that are kept: left and right shoulder, elbow, wrist. The others only add noise to what hands spell."""
POINTS = len(ARMS) + 42
"""The arms and 21 points of each hand, left first, each (x, y): 96 numbers a frame. Depth is not kept: in these
files it hardly varies."""
HAND_SCALE = 4.0
_BODY, _FACE, _HAND = 33, 478, 21
_HANDS = {len(ARMS): np.array([2.5, 0.0]), len(ARMS) + _HAND: np.array([-2.5, 0.0])}
"""First point of the left and the right hand -> place of its wrist."""
_FINGERS = ((0, 1), (0, 5), (0, 9), (0, 13), (0, 17), *((n, n + 1) for n in range(1, 20) if n % 4))
BONES = (
    (0, 1),
    (0, 2),
    (2, 4),
    (1, 3),
    (3, 5),
    *((start + a, start + b) for start in _HANDS for a, b in _FINGERS),
)
"""Pairs of points to connect in a picture."""


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``motion``, ``letter`` (A to Z), ``language`` (code of the sign language); ``seed`` has no effect.

    A motion is ``frames`` (float32 [at most 32, 96]) and ``skeleton``. Points are measured from the middle of the
    shoulders, which are held still, in shoulder widths, y up. Each hand is drawn four times as large, its wrist at a
    fixed place beside the body, because the letters are in the fingers; where the wrists were, the arms say. Points
    that were not seen are 0.
    """
    splits = prepared(
        "fingerspelling", lambda: _rows(cache), sources=(SPOKEN_TO_SIGNED,), cache=cache
    )
    found: Splits = {}
    for split, rows in splits.items():
        found[split] = [{**row, "motion": _clip(row["motion"])} for row in rows]
    return found


def _clip(frames: np.ndarray) -> dict[str, Any]:
    return {"frames": frames, "skeleton": {"bones": BONES, "axes": 2}}


def _rows(cache: Path | None) -> Splits:
    folder = (
        fetch(SPOKEN_TO_SIGNED, cache) / "spoken_to_signed" / "assets" / "fingerspelling_lexicon"
    )
    splits, seen = empty_splits(), set()
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        entries = [entry for entry in csv.DictReader(file) if entry["words"] in NAMES]
    for entry in entries:
        language = entry["signed_language"]
        if language != LEFT_OUT and entry["path"] not in seen:
            seen.add(entry["path"])
            row = {
                "motion": _motion(folder / entry["path"]),
                "letter": entry["words"],
                "language": language,
            }
            splits[HELD_OUT.get(language, "train")].append(row)
    return splits


def _motion(path: Path) -> np.ndarray:
    """Arms and hands of a pose file, in at most 32 frames: float32 [frames, 96]."""
    from pose_format import Pose

    body = Pose.read(path.read_bytes()).body.data[:, 0, :, :2]
    points = np.ma.concatenate(
        [body[:, list(ARMS)], body[:, _BODY + _FACE : _BODY + _FACE + 2 * _HAND]], axis=1
    )
    count = min(FRAMES, len(points))
    chosen = points[np.linspace(0, len(points) - 1, count).round().astype(int)]
    return _relative(chosen).reshape(count, POINTS * 2)


def _relative(points: np.ma.MaskedArray) -> np.ndarray:
    """Pixels [frames, 48, 2], y down -> shoulder widths, y up; hands enlarged and moved beside the body; missing: 0."""
    shoulders = points[:, :2].mean(axis=0)
    width = float(np.ma.abs(shoulders[0, 0] - shoulders[1, 0]))
    points[:, :2] = shoulders
    units = (points - shoulders.mean(axis=0)) / max(width, 1.0) * np.array([1.0, -1.0])
    for start in _HANDS:
        hand = slice(start, start + _HAND)
        units[:, hand] = (units[:, hand] - units[:, start : start + 1]) * HAND_SCALE
    found = np.ma.filled(units, 0.0).clip(-10, 10)
    for start, side in _HANDS.items():
        found[:, start : start + _HAND] += side
    return found.astype(np.float32)


def baseline(splits: Splits) -> list[Row]:
    """The most frequent letter; all are about equally frequent."""
    return majority(splits, "letter")
