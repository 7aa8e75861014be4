"""How a clip becomes numbers for the model and back: as it is, or as root and 6-D rotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ofa_modality_motion.clip import Clip
from ofa_modality_motion.kinematics import local_rotations, root_positions
from ofa_modality_motion.rotation import about_vertical, heading, matrix_from_6d, matrix_to_6d, matrix_to_euler
from ofa_modality_motion.skeleton import AnySkeleton, Skeleton
from ofacore.protocols import RowError

ROOT = 3
VELOCITY_SCALE = 100.0
DEFAULT_FPS = 30.0


class Form(Protocol):
    """One way to write a clip."""

    def dims(self, clip: Clip, column: str) -> int:
        """Numbers a frame that `features` gives."""

    def features(self, clip: Clip, anchor: int | None, column: str) -> np.ndarray:
        """float64 [frames, dims], moved so that the root of frame ``anchor`` is the origin."""

    def value(self, features: np.ndarray, skeleton: AnySkeleton | None, fps: float | None) -> Any:
        """What a user gets for features in the caller's units."""


class RawForm:
    """The frames as they are; the first three numbers are the root's place, as far as ``anchor_frame`` is concerned."""

    def dims(self, clip: Clip, column: str) -> int:
        """The numbers of its frames."""
        return clip.dims

    def features(self, clip: Clip, anchor: int | None, column: str) -> np.ndarray:
        """The frames themselves."""
        if anchor is None:
            return clip.frames
        frames = clip.frames.copy()
        frames[:, :ROOT] -= clip.frames[anchor, :ROOT]
        return frames

    def value(self, features: np.ndarray, skeleton: AnySkeleton | None, fps: float | None) -> np.ndarray:
        """float32 [frames, dims]."""
        return features.astype(np.float32)


class SixDForm:
    """Root place 3, root velocity 3 (as seen by the root, times 100), and 6 numbers for each turning joint."""

    def dims(self, clip: Clip, column: str) -> int:
        """6 + 6 for each turning joint."""
        return 6 + 6 * len(_skeleton(clip, column).turning)

    def features(self, clip: Clip, anchor: int | None, column: str) -> np.ndarray:
        """From channels in degrees; the anchor also turns the root to look along z, and heights stay."""
        skeleton = _skeleton(clip, column)
        rotations, places = local_rotations(skeleton, clip.frames), root_positions(skeleton, clip.frames)
        if anchor is not None:
            turn = about_vertical(-heading(rotations[anchor, 0]))
            places = (places - places[anchor] * np.array([1.0, 0.0, 1.0])) @ turn.T
            rotations[:, 0] = turn @ rotations[:, 0]
        steps = np.diff(places, axis=0, prepend=places[:1]) * VELOCITY_SCALE
        velocity = np.einsum("tij,tj->ti", about_vertical(-heading(rotations[:, 0])), steps)
        return np.concatenate([places, velocity, matrix_to_6d(rotations).reshape(len(places), -1)], axis=1)

    def value(self, features: np.ndarray, skeleton: AnySkeleton | None, fps: float | None) -> dict[str, Any]:
        """``frames`` float32 [frames, channels] in degrees, ``fps``, ``skeleton``: what BVH holds."""
        if not isinstance(skeleton, Skeleton):
            raise ValueError("motion_6d: this model stores no skeleton for clips of this size")
        rotations = matrix_from_6d(features[:, 6:].reshape(len(features), -1, 6))
        columns, turning = [], iter(range(rotations.shape[1]))
        for number, joint in enumerate(skeleton.joints):
            angles = matrix_to_euler(rotations[:, next(turning)], joint.order) if joint.order else None
            columns += _channels(skeleton, number, features[:, :ROOT], angles)
        return {"frames": np.stack(columns, axis=1).astype(np.float32), "fps": fps or DEFAULT_FPS, "skeleton": skeleton}


FORMS: Mapping[str, Form] = {"motion": RawForm(), "motion_6d": SixDForm()}
"""Preprocessor -> form."""


def with_skeleton(clip: Clip, skeleton: AnySkeleton | None) -> Clip:
    """The clip with a skeleton that fits where it brings none."""
    fits = not isinstance(skeleton, Skeleton) or skeleton.channels == clip.dims
    return replace(clip, skeleton=skeleton) if clip.skeleton is None and fits else clip


def _skeleton(clip: Clip, column: str) -> Skeleton:
    skeleton = clip.skeleton
    if not isinstance(skeleton, Skeleton) or not skeleton.turning or skeleton.joints[0].order == "":
        raise RowError(
            f"column '{column}': motion_6d needs joints with rotations: a .bvh file, a dict with 'skeleton', "
            "or the option bvh_header"
        )
    if any(len(joint.order) not in (0, 3) for joint in skeleton.joints):
        raise RowError(f"column '{column}': motion_6d needs three rotations for each turning joint")
    return skeleton


def _channels(skeleton: Skeleton, number: int, root: np.ndarray, angles: np.ndarray | None) -> list[np.ndarray]:
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
