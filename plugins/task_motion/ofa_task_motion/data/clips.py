"""Fifteen motion-captured clips of a humanoid (pybullet's DeepMimic clips), resampled to 30 frames a second.

A window is moved and turned so that its first frame stands at the origin of the floor and its root's z axis points
along z. A frame then holds the channels of `skeleton`: place of the root, and three angles in degrees for each joint.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ofa_starter import PackageSource, Row, Splits, fetch
from ofa_task_motion.data.skeleton import CHANNELS, HINGES, JOINTS, ORDER, skeleton

PYBULLET = PackageSource(
    "pybullet",
    "3.2.7",
    "5d858abf7c12a21ef3ed351cf81dac1b5e486ec25c9ab59bfc84beb89034edff",
    ("pybullet_data/data/motions/humanoid3d_*.txt",),
    tags=(
        "--platform=manylinux2014_x86_64",
        "--python-version=3.11",
        "--implementation=cp",
        "--abi=cp311",
    ),
    licence="Zlib",
)
ACTIONS = {
    "backflip": "a backflip",
    "cartwheel": "a cartwheel",
    "crawl": "a crawl",
    "dance_a": "the first dance",
    "dance_b": "the second dance",
    "getup_facedown": "getting up from the belly",
    "getup_faceup": "getting up from the back",
    "jump": "a jump",
    "kick": "a kick",
    "punch": "a punch",
    "roll": "a roll",
    "run": "a run",
    "spin": "a spin",
    "spinkick": "a spin kick",
    "walk": "a walk",
}
RATE = 30.0
TRAINED = 0.7
"""Share of each clip, from its start, that training and validation see; the rest is tested."""


@dataclass(frozen=True)
class Motion:
    """Frames of a clip in matrices."""

    root: np.ndarray
    """float64 [frames, 3], metres, y up."""
    rotations: np.ndarray
    """float64 [frames, 13, 3, 3], relative to the parent."""

    def __len__(self) -> int:
        return len(self.root)

    def part(self, start: int, stop: int) -> Motion:
        """Frames ``start`` to ``stop``."""
        return Motion(self.root[start:stop], self.rotations[start:stop])


def clips(cache: Path | None = None) -> dict[str, Motion]:
    """Name of the action -> its clip at 30 frames a second."""
    folder = fetch(PYBULLET, cache) / "pybullet_data" / "data" / "motions"
    return {name: read_clip(folder / f"humanoid3d_{name}.txt") for name in ACTIONS}


def windows(clip: Motion, length: int, stride: int, *, tested: bool) -> Iterator[np.ndarray]:
    """Windows float32 [frames, 42] of the training or the test part; one shorter window where the part is shorter."""
    cut = round(TRAINED * len(clip))
    part = clip.part(cut, len(clip)) if tested else clip.part(0, cut)
    for start in range(0, max(len(part) - length, 0) + 1, stride):
        yield channels(facing_ahead(part.part(start, start + length)))


def facing_ahead(motion: Motion) -> Motion:
    """The motion moved on the floor and turned about y, so that its first frame is the origin and faces z."""
    first = motion.rotations[0, 0, :, 2]
    angle = np.arctan2(first[0], first[2])
    turn = np.array(
        [[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]]
    )
    rotations = motion.rotations.copy()
    rotations[:, 0] = turn @ rotations[:, 0]
    return Motion((motion.root - motion.root[0] * [1, 0, 1]) @ turn.T, rotations)


def channels(motion: Motion) -> np.ndarray:
    """float32 [frames, 42] in the order of `skeleton`."""
    from scipy.spatial.transform import Rotation

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gimbal lock")  # any of the equivalent angles will do
        angles = Rotation.from_matrix(motion.rotations.reshape(-1, 3, 3)).as_euler(
            ORDER, degrees=True
        )
    turns = angles.reshape(len(motion), CHANNELS - 3)
    return np.concatenate([motion.root, turns], axis=1).astype(np.float32)


def as_clips(splits: Splits) -> Splits:
    """Splits whose column ``motion`` holds clips: ``frames``, ``fps``, ``skeleton``."""
    shape: dict[str, Any] = skeleton()

    def as_clip(row: Row) -> Row:
        clip = {"frames": row["motion"], "fps": RATE, "skeleton": shape}
        return {**row, "motion": clip}

    found: Splits = {}
    for split, rows in splits.items():
        found[split] = [as_clip(row) for row in rows]
    return found


def read_clip(path: Path) -> Motion:
    """A resampled DeepMimic clip; its frames: duration, place of the root, quaternions (w, x, y, z), hinge angles."""
    from scipy.spatial.transform import Rotation, Slerp

    frames = np.array(json.loads(path.read_text(encoding="utf-8"))["Frames"])
    times = np.concatenate([[0.0], np.cumsum(frames[:-1, 0])])
    moving = np.concatenate([[True], np.diff(times) > 0])
    times, frames = times[moving], frames[moving]
    wanted = np.arange(0.0, times[-1], 1 / RATE)
    root = np.stack([np.interp(wanted, times, frames[:, 1 + axis]) for axis in range(3)], axis=1)
    turns = [
        Slerp(times, Rotation.from_matrix(matrix))(wanted).as_matrix() for matrix in _joints(frames)
    ]
    return Motion(root, np.stack(turns, axis=1))


def _joints(frames: np.ndarray) -> Iterator[np.ndarray]:
    """Rotation matrices [frames, 3, 3] of every joint, in the order of `JOINTS`."""
    from scipy.spatial.transform import Rotation

    column = 4
    for joint in JOINTS:
        if joint in HINGES:
            yield Rotation.from_euler("z", frames[:, [column]]).as_matrix()
            column += 1
        else:
            yield Rotation.from_quat(
                frames[:, [column + 1, column + 2, column + 3, column]]
            ).as_matrix()
            column += 4
