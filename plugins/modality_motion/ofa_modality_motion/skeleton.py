"""What the numbers of a frame mean: a hierarchy of turning joints, or points that bones connect."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

CHANNELS = {
    f"{axis}{kind}".lower(): f"{axis}{kind}" for kind in ("position", "rotation") for axis in "XYZ"
}
"""Channels in lower case -> as they are written."""


@dataclass(frozen=True)
class Joint:
    """One joint of a BVH hierarchy."""

    name: str
    parent: int
    """Index of the parent, -1 for the root; parents come before their children."""
    offset: tuple[float, float, float]
    """From the parent, in the parent's axes."""
    channels: tuple[str, ...]
    """``Xposition`` ... ``Zrotation`` in the order of the file; empty for the end of a limb."""

    @cached_property
    def order(self) -> str:
        """Axes of its rotations in the order in which their matrices are multiplied, such as ``ZXY``; may be empty."""
        return "".join(channel[0] for channel in self.channels if channel.endswith("rotation"))


@dataclass(frozen=True)
class Skeleton:
    """Joints with rotations; a frame holds the channels of all joints in order, angles in degrees."""

    joints: tuple[Joint, ...]

    @cached_property
    def channels(self) -> int:
        """Numbers in a frame."""
        return sum(len(joint.channels) for joint in self.joints)

    @cached_property
    def turning(self) -> tuple[int, ...]:
        """Indices of joints that have rotations."""
        return tuple(number for number, joint in enumerate(self.joints) if joint.order)

    @cached_property
    def roots(self) -> tuple[int, ...]:
        """Indices of joints without a parent."""
        return tuple(number for number, joint in enumerate(self.joints) if joint.parent < 0)

    @cached_property
    def channel_names(self) -> tuple[str, ...]:
        """What each number of a frame is, such as ``Zrotation``."""
        return tuple(channel for joint in self.joints for channel in joint.channels)

    def columns(self, number: int) -> range:
        """Places of a joint's channels in a frame."""
        start = sum(len(joint.channels) for joint in self.joints[:number])
        return range(start, start + len(self.joints[number].channels))


@dataclass(frozen=True)
class PointSkeleton:
    """Positions of points; a frame holds the coordinates of all points, one point after the other."""

    bones: tuple[tuple[int, int], ...]
    axes: int = 3
    """Coordinates of a point: 2 or 3; y is drawn upwards."""


AnySkeleton = Skeleton | PointSkeleton


def checked(joints: Sequence[Joint]) -> Skeleton:
    """The skeleton of these joints.

    Raises:
        ValueError: A joint stands before its parent, or has a channel twice or one that is unknown.
    """
    for number, joint in enumerate(joints):
        if not -1 <= joint.parent < number:
            place = f"joint {number} ('{joint.name}') has parent {joint.parent}"
            raise ValueError(f"{place}; parents come before their children, and a root has -1")
        unknown = [channel for channel in joint.channels if channel not in CHANNELS.values()]
        if unknown:
            known = ", ".join(CHANNELS.values())
            raise ValueError(f"joint '{joint.name}': '{unknown[0]}' is none of {known}")
        positions = [channel for channel in joint.channels if channel.endswith("position")]
        if len(set(positions)) < len(positions) or len(joint.order) > 3:
            raise ValueError(
                f"joint '{joint.name}' has channels {' '.join(joint.channels)}: one too many"
            )
        if not all(map(math.isfinite, joint.offset)):
            raise ValueError(f"joint '{joint.name}' has an offset that is not finite")
    if not joints:
        raise ValueError("a skeleton has at least one joint")
    return Skeleton(tuple(joints))


def children_of(skeleton: Skeleton) -> dict[int, list[int]]:
    """Index of a joint -> those of its children; -1 -> roots."""
    found: dict[int, list[int]] = {number: [] for number in range(-1, len(skeleton.joints))}
    for number, joint in enumerate(skeleton.joints):
        found[joint.parent].append(number)
    return found


def to_json(skeleton: AnySkeleton | None) -> dict[str, Any] | None:
    """Plain data from which `from_json` makes the skeleton again."""
    return None if skeleton is None else asdict(skeleton)


def from_json(data: Mapping[str, Any] | None) -> AnySkeleton | None:
    """The skeleton that `to_json`, or a user's ``{"bones": [[0, 1], ...], "axes": 3}``, describes.

    Raises:
        ValueError: Neither ``joints`` nor ``bones`` is there, or they fit no skeleton.
    """
    if data is None:
        return None
    if "joints" in data:
        return checked([_joint(joint) for joint in data["joints"]])
    if "bones" in data:
        bones = tuple((int(start), int(end)) for start, end in data["bones"])
        if any(min(bone) < 0 for bone in bones):
            raise ValueError("a bone connects two points that are counted from 0")
        return PointSkeleton(bones, int(data.get("axes", 3)))
    raise ValueError(
        f"a skeleton is a dict with 'bones' or 'joints', not with {', '.join(map(repr, data)) or 'nothing'}"
    )


def _joint(data: Mapping[str, Any]) -> Joint:
    x, y, z = data["offset"]
    channels = tuple(CHANNELS.get(str(name).lower(), str(name)) for name in data["channels"])
    offset = (float(x), float(y), float(z))
    return Joint(str(data["name"]), int(data["parent"]), offset, channels)
