"""From channels of a skeleton to places in space."""

from __future__ import annotations

import numpy as np

from ofa_modality_motion.rotation import about_vertical, euler_to_matrix, heading
from ofa_modality_motion.skeleton import AnySkeleton, PointSkeleton, Skeleton


def local_rotations(skeleton: Skeleton, frames: np.ndarray) -> np.ndarray:
    """Matrices [frames, turning joints, 3, 3] of channels [frames, channels]."""
    columns: dict[str, list[list[int]]] = {}
    places: dict[str, list[int]] = {}
    start = 0
    for joint in skeleton.joints:
        if joint.order:
            turns = [
                start + n
                for n, channel in enumerate(joint.channels)
                if channel.endswith("rotation")
            ]
            columns.setdefault(joint.order, []).append(turns)
            places.setdefault(joint.order, []).append(sum(map(len, places.values())))
        start += len(joint.channels)
    matrices = np.empty((len(frames), len(skeleton.turning), 3, 3))
    for order, turns in columns.items():
        matrices[:, places[order]] = euler_to_matrix(frames[:, turns], order)
    return matrices


def root_positions(skeleton: Skeleton, frames: np.ndarray) -> np.ndarray:
    """Places [frames, 3] of the first root; where it has no position channels, its offset."""
    return local_positions(skeleton, frames, 0)


def local_positions(skeleton: Skeleton, frames: np.ndarray, number: int) -> np.ndarray:
    """Places [frames, 3] of a joint in its parent's axes: its offset, or its position channels in its stead."""
    joint = skeleton.joints[number]
    places = np.tile(np.array(joint.offset, dtype=np.float64), (len(frames), 1))
    for column, channel in zip(skeleton.columns(number), joint.channels, strict=True):
        if channel.endswith("position"):
            places[:, "XYZ".index(channel[0])] = frames[:, column]
    return places


def joint_positions(skeleton: Skeleton, frames: np.ndarray) -> np.ndarray:
    """Places [frames, joints, 3] of all joints by forward kinematics."""
    local, turning = (
        local_rotations(skeleton, frames),
        {joint: n for n, joint in enumerate(skeleton.turning)},
    )
    places = np.empty((len(frames), len(skeleton.joints), 3))
    world: list[np.ndarray] = []
    for number, joint in enumerate(skeleton.joints):
        own = (
            local[:, turning[number]]
            if number in turning
            else np.broadcast_to(np.eye(3), (len(frames), 3, 3))
        )
        step = local_positions(skeleton, frames, number)
        if joint.parent < 0:
            places[:, number] = step
            world.append(own)
        else:
            turned = (world[joint.parent] @ step[..., None])[..., 0]
            places[:, number] = places[:, joint.parent] + turned
            world.append(world[joint.parent] @ own)
    return places


def root_heading(skeleton: Skeleton, frames: np.ndarray) -> np.ndarray:
    """Turn about y in radians [frames] of the first root; 0 where it does not turn."""
    if not skeleton.joints[0].order:
        return np.zeros(len(frames))
    return heading(local_rotations(skeleton, frames)[:, 0])


def comparable_frames(frames: np.ndarray, skeleton: AnySkeleton | None) -> np.ndarray:
    """[frames, numbers] in which equal numbers mean equal poses.

    With rotations: the places of all joints, seen from where the root stands and looks in the first frame (angles jump
    from 180 to -180 degrees). Otherwise the frames themselves.
    """
    if not isinstance(skeleton, Skeleton):
        return frames
    places = joint_positions(skeleton, frames)
    turn = about_vertical(-root_heading(skeleton, frames[:1])[0])
    return ((places - places[0, 0] * np.array([1.0, 0.0, 1.0])) @ turn.T).reshape(len(frames), -1)


def pose_frames(frames: np.ndarray, skeleton: AnySkeleton | None) -> np.ndarray:
    """[frames, numbers]: the pose of each frame by itself, seen from where its root stands and looks."""
    if not isinstance(skeleton, Skeleton):
        return frames
    places = joint_positions(skeleton, frames)
    turns = about_vertical(-root_heading(skeleton, frames))
    seen = places - places[:, :1] * np.array([1.0, 0.0, 1.0])
    return np.einsum("tij,tnj->tni", turns, seen).reshape(len(frames), -1)


def stick_figure(
    skeleton: AnySkeleton, frames: np.ndarray
) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    """Places [frames, points, 2 or 3] and the pairs of points that bones connect."""
    if isinstance(skeleton, PointSkeleton):
        return frames.reshape(len(frames), -1, skeleton.axes), skeleton.bones
    bones = tuple(
        (joint.parent, number) for number, joint in enumerate(skeleton.joints) if joint.parent >= 0
    )
    return joint_positions(skeleton, frames), bones
