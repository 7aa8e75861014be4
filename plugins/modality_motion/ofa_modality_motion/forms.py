"""How a clip becomes numbers for the model and back: as it is, or as root and 6-D rotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ofa_modality_motion.clip import Clip
from ofa_modality_motion.kinematics import local_positions, local_rotations, root_positions
from ofa_modality_motion.rotation import (
    about_vertical,
    heading,
    matrix_from_6d,
    matrix_to_6d,
    matrix_to_euler,
)
from ofa_modality_motion.skeleton import AnySkeleton, PointSkeleton, Skeleton
from ofacore.protocols import RowError

ROOT = 3
VELOCITY_SCALE = 100.0
DEFAULT_FPS = 30.0
_STILL = 1e-3
"""Share of the longest offset by which written places of a joint may differ from its offset: rounding."""


class Form(Protocol):
    """One way to write a clip."""

    def dims(self, clip: Clip, column: str) -> int:
        """Numbers a frame that `features` gives."""

    def features(self, clip: Clip, anchor: int | None, column: str) -> np.ndarray:
        """float64 [frames, dims], moved so that the root of frame ``anchor`` is the origin."""

    def value(self, features: np.ndarray, skeleton: AnySkeleton | None, fps: float | None) -> Any:
        """What a user gets for features in the caller's units."""

    def agrees(self, clip: Clip, skeleton: AnySkeleton | None) -> str:
        """Empty where the clip's numbers mean what those of the model's clips do, else what differs."""


class RawForm:
    """The frames as they are.

    ``anchor_frame`` moves all roots, or all points, by the place of the first. Without a skeleton the first three
    numbers are taken for the root's place.
    """

    def dims(self, clip: Clip, column: str) -> int:
        """The numbers of its frames."""
        return clip.dims

    def features(self, clip: Clip, anchor: int | None, column: str) -> np.ndarray:
        """The frames themselves."""
        if anchor is None:
            return clip.frames
        frames = clip.frames.copy()
        for places, first in _places(clip):
            frames[:, places] -= clip.frames[anchor, first]
        return frames

    def value(
        self, features: np.ndarray, skeleton: AnySkeleton | None, fps: float | None
    ) -> np.ndarray:
        """float32 [frames, dims]."""
        return features.astype(np.float32)

    def agrees(self, clip: Clip, skeleton: AnySkeleton | None) -> str:
        """Both hold the same channels in the same order, or both points."""
        own = clip.skeleton
        if own is None or skeleton is None:
            return ""
        if isinstance(own, Skeleton) and isinstance(skeleton, Skeleton):
            pairs = zip(own.channel_names, skeleton.channel_names, strict=False)
            for number, (here, there) in enumerate(pairs, start=1):
                if here != there:
                    return f"number {number} of its frames is {here}, in the model's clips {there}"
            return ""
        if type(own) is not type(skeleton):
            return "points and joints with rotations are mixed"
        return ""


class SixDForm:
    """Root place 3, root velocity 3 (as seen by the root, times 100), and 6 numbers for each turning joint."""

    def dims(self, clip: Clip, column: str) -> int:
        """6 + 6 for each turning joint."""
        return 6 + 6 * len(_skeleton(clip, column).turning)

    def features(self, clip: Clip, anchor: int | None, column: str) -> np.ndarray:
        """From channels in degrees; the anchor also turns the root to look along z, and heights stay."""
        skeleton = _skeleton(clip, column)
        rotations, places = (
            local_rotations(skeleton, clip.frames),
            root_positions(skeleton, clip.frames),
        )
        if anchor is not None:
            turn = about_vertical(-heading(rotations[anchor, 0]))
            places = (places - places[anchor] * np.array([1.0, 0.0, 1.0])) @ turn.T
            rotations[:, 0] = turn @ rotations[:, 0]
        steps = np.diff(places, axis=0, prepend=places[:1]) * VELOCITY_SCALE
        velocity = np.einsum("tij,tj->ti", about_vertical(-heading(rotations[:, 0])), steps)
        return np.concatenate(
            [places, velocity, matrix_to_6d(rotations).reshape(len(places), -1)], axis=1
        )

    def value(
        self, features: np.ndarray, skeleton: AnySkeleton | None, fps: float | None
    ) -> dict[str, Any]:
        """``frames`` float32 [frames, channels] in degrees, ``fps``, ``skeleton``: what BVH holds."""
        if not isinstance(skeleton, Skeleton):
            raise ValueError("motion_6d: this model stores no skeleton for clips of this size")
        rotations = matrix_from_6d(features[:, 6:].reshape(len(features), -1, 6))
        columns, turning = [], iter(range(rotations.shape[1]))
        for number, joint in enumerate(skeleton.joints):
            angles = (
                matrix_to_euler(rotations[:, next(turning)], joint.order) if joint.order else None
            )
            columns += _channels(skeleton, number, features[:, :ROOT], angles)
        return {
            "frames": np.stack(columns, axis=1).astype(np.float32),
            "fps": fps or DEFAULT_FPS,
            "skeleton": skeleton,
        }

    def agrees(self, clip: Clip, skeleton: AnySkeleton | None) -> str:
        """Turning joints hang on each other in the same way; names and lengths may differ."""
        own = clip.skeleton
        if (
            not isinstance(own, Skeleton)
            or not isinstance(skeleton, Skeleton)
            or _tree(own) == _tree(skeleton)
        ):
            return ""
        return f"its {len(own.turning)} turning joints form another tree than those of the model's clips"


FORMS: Mapping[str, Form] = {"motion": RawForm(), "motion_6d": SixDForm()}
"""Preprocessor -> form."""


def _places(clip: Clip) -> list[tuple[slice | int, slice | int]]:
    """Columns of a place, and those of the first place that is subtracted from them."""
    skeleton = clip.skeleton
    if skeleton is None:
        return [(slice(0, ROOT), slice(0, ROOT))]
    if isinstance(skeleton, PointSkeleton):
        axes = skeleton.axes
        starts = range(0, clip.dims, axes)
        return [(slice(start, start + axes), slice(0, axes)) for start in starts]
    found = [_position_columns(skeleton, number) for number in skeleton.roots]
    return [
        (column, found[0][axis])
        for root in found
        for axis, column in root.items()
        if axis in found[0]
    ]


def _tree(skeleton: Skeleton) -> tuple[int, ...]:
    """For each turning joint the place of the turning joint that carries it, -1 for none."""
    carrier: list[int] = []
    found: list[int] = []
    for joint in skeleton.joints:
        above = carrier[joint.parent] if joint.parent >= 0 else -1
        if joint.order:
            found.append(above)
            above = len(found) - 1
        carrier.append(above)
    return tuple(found)


def _position_columns(skeleton: Skeleton, number: int) -> dict[str, int]:
    """Axis -> column of a joint's position."""
    pairs = zip(skeleton.joints[number].channels, skeleton.columns(number), strict=True)
    return {channel[0]: column for channel, column in pairs if channel.endswith("position")}


def with_skeleton(clip: Clip, skeleton: AnySkeleton | None) -> Clip:
    """The clip with a skeleton that fits where it brings none."""
    fits = not isinstance(skeleton, Skeleton) or skeleton.channels == clip.dims
    return replace(clip, skeleton=skeleton) if clip.skeleton is None and fits else clip


def _skeleton(clip: Clip, column: str) -> Skeleton:
    skeleton = clip.skeleton
    if not isinstance(skeleton, Skeleton) or not skeleton.turning:
        raise RowError(
            f"column '{column}': motion_6d needs joints with rotations: a .bvh file, a dict with 'skeleton', "
            "or the option bvh_header"
        )
    problem = _not_carried(skeleton, clip.frames)
    if problem:
        raise RowError(
            f"column '{column}': motion_6d {problem}; preprocess=motion keeps every channel"
        )
    return skeleton


def _not_carried(skeleton: Skeleton, frames: np.ndarray) -> str:
    """What a skeleton or its frames have that root place and rotations do not hold; empty where there is nothing."""
    if len(skeleton.roots) > 1:
        names = ", ".join(f"'{skeleton.joints[number].name}'" for number in skeleton.roots[:4])
        return f"holds one root, this skeleton has {len(skeleton.roots)}: {names}"
    root = skeleton.joints[0]
    if not root.order:
        return f"needs a root that turns; '{root.name}' has channels {' '.join(root.channels) or 'none'}"
    if len(_position_columns(skeleton, 0)) not in (0, 3):
        return f"needs all positions of the root or none; '{root.name}' has channels {' '.join(root.channels)}"
    for number in skeleton.turning:
        joint = skeleton.joints[number]
        if sorted(joint.order) != ["X", "Y", "Z"]:
            return f"needs one rotation about each axis; joint '{joint.name}' turns about {' '.join(joint.order)}"
    for number in range(1, len(skeleton.joints)):
        problem = _moves(skeleton, frames, number)
        if problem:
            return problem
    return ""


def _moves(skeleton: Skeleton, frames: np.ndarray, number: int) -> str:
    """Whether a joint leaves the place that its offset gives it: only the root's place is held."""
    joint = skeleton.joints[number]
    if not _position_columns(skeleton, number):
        return ""
    longest = max(max(map(abs, other.offset)) for other in skeleton.joints)
    away = float(np.abs(local_positions(skeleton, frames, number) - np.array(joint.offset)).max())
    if away <= _STILL * longest:
        return ""
    return f"holds the place of the root alone; joint '{joint.name}' moves {away:.3g} away from its offset"


def _channels(
    skeleton: Skeleton, number: int, root: np.ndarray, angles: np.ndarray | None
) -> list[np.ndarray]:
    joint, columns, turn = skeleton.joints[number], [], 0
    for channel in joint.channels:
        if channel.endswith("rotation") and angles is not None:
            columns.append(angles[:, turn])
            turn += 1
        elif number == 0:
            columns.append(root[:, "XYZ".index(channel[0])])
        else:
            columns.append(np.full(len(root), joint.offset["XYZ".index(channel[0])]))
    return columns
