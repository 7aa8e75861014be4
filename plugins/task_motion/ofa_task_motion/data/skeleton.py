"""The humanoid of pybullet's clips as a BVH-like hierarchy: y up, facing x, metres; lengths as in its URDF file."""

from __future__ import annotations

from typing import Any

JOINTS = (
    "root",
    "chest",
    "neck",
    "right_hip",
    "right_knee",
    "right_ankle",
    "right_shoulder",
    "right_elbow",
    "left_hip",
    "left_knee",
    "left_ankle",
    "left_shoulder",
    "left_elbow",
)
"""Turning joints in the order of a frame."""
HINGES = ("right_knee", "right_elbow", "left_knee", "left_elbow")
"""Joints that turn about z alone."""
ORDER = "ZXY"
"""Rotations of each joint in a frame, multiplied in this order."""
CHANNELS = 3 + 3 * len(JOINTS)
"""Numbers in a frame: place of the root, then three angles in degrees for each joint."""

_ENDS = ("head", "right_toes", "right_wrist", "left_toes", "left_wrist")
_PARENTS = {
    "chest": "root",
    "neck": "chest",
    "head": "neck",
    "right_hip": "root",
    "right_knee": "right_hip",
    "right_ankle": "right_knee",
    "right_toes": "right_ankle",
    "right_shoulder": "chest",
    "right_elbow": "right_shoulder",
    "right_wrist": "right_elbow",
    "left_hip": "root",
    "left_knee": "left_hip",
    "left_ankle": "left_knee",
    "left_toes": "left_ankle",
    "left_shoulder": "chest",
    "left_elbow": "left_shoulder",
    "left_wrist": "left_elbow",
}
_OFFSETS = {
    "root": (0.0, 0.0, 0.0),
    "chest": (0.0, 0.236151, 0.0),
    "neck": (0.0, 0.223894, 0.0),
    "head": (0.0, 0.2, 0.0),
    "hip": (0.0, 0.0, 0.084887),
    "knee": (0.0, -0.421546, 0.0),
    "ankle": (0.0, -0.40987, 0.0),
    "toes": (0.15, -0.05, 0.0),
    "shoulder": (-0.02405, 0.2435, 0.18311),
    "elbow": (0.0, -0.274788, 0.0),
    "wrist": (0.0, -0.258947, 0.0),
}


def skeleton() -> dict[str, Any]:
    """The hierarchy as plain data: ``joints`` with ``name``, ``parent`` (index), ``offset`` and ``channels``."""
    names = [*JOINTS, *_ENDS]
    return {"joints": [_joint(name, names) for name in names]}


def _joint(name: str, names: list[str]) -> dict[str, Any]:
    side, _, part = name.rpartition("_")
    x, y, z = _OFFSETS[part]
    places = ["Xposition", "Yposition", "Zposition"] if name == "root" else []
    turns = [f"{axis}rotation" for axis in ORDER] if name in JOINTS else []
    parent = names.index(_PARENTS[name]) if name in _PARENTS else -1
    return {
        "name": name,
        "parent": parent,
        "offset": [x, y, -z if side == "left" else z],
        "channels": places + turns,
    }
