"""What the numbers of a frame mean: a hierarchy of turning joints, or points that bones connect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any


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


@dataclass(frozen=True)
class PointSkeleton:
    """Positions of points; a frame holds the coordinates of all points, one point after the other."""

    bones: tuple[tuple[int, int], ...]
    axes: int = 3
    """Coordinates of a point: 2 or 3; y is drawn upwards."""


AnySkeleton = Skeleton | PointSkeleton


def to_json(skeleton: AnySkeleton | None) -> dict[str, Any] | None:
    """Plain data from which `from_json` makes the skeleton again."""
    return None if skeleton is None else asdict(skeleton)


def from_json(data: Mapping[str, Any] | None) -> AnySkeleton | None:
    """The skeleton that `to_json`, or a user's ``{"bones": [[0, 1], ...], "axes": 3}``, describes.

    Raises:
        ValueError: Neither ``joints`` nor ``bones`` is there.
    """
    if data is None:
        return None
    if "joints" in data:
        return Skeleton(tuple(_joint(joint) for joint in data["joints"]))
    if "bones" in data:
        bones = tuple((int(start), int(end)) for start, end in data["bones"])
        return PointSkeleton(bones, int(data.get("axes", 3)))
    raise ValueError(
        f"a skeleton is a dict with 'bones' or 'joints', not with {', '.join(map(repr, data)) or 'nothing'}"
    )


def _joint(data: Mapping[str, Any]) -> Joint:
    x, y, z = data["offset"]
    return Joint(data["name"], int(data["parent"]), (float(x), float(y), float(z)), tuple(data["channels"]))
