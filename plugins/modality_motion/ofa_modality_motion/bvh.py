"""Reading and writing BVH, the Biovision hierarchy format: a skeleton, then one line of channels per frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ofa_modality_motion.skeleton import Joint, Skeleton

_END = "End"
_CHANNELS = frozenset(f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation"))


def read_bvh(text: str) -> tuple[Skeleton, np.ndarray, float]:
    """Skeleton, frames float64 [frames, channels] (degrees) and frames per second.

    Raises:
        ValueError: The text is no BVH, with the number of the line.
    """
    head, found, tail = text.partition("MOTION")
    if not found:
        raise ValueError("no MOTION section")
    skeleton = _hierarchy(head)
    frames, fps = _motion(tail, skeleton.channels, first_line=head.count("\n") + 1)
    return skeleton, frames, fps


def write_bvh(skeleton: Skeleton, frames: np.ndarray, fps: float) -> str:
    """The text of a BVH file.

    Raises:
        ValueError: ``frames`` has not as many columns as the skeleton has channels.
    """
    if frames.ndim != 2 or frames.shape[1] != skeleton.channels:
        raise ValueError(f"frames of shape {list(frames.shape)} do not fit a skeleton of {skeleton.channels} channels")
    lines = ["HIERARCHY", *_joint_lines(skeleton, 0, 0)]
    lines += ["MOTION", f"Frames: {len(frames)}", f"Frame Time: {1.0 / fps:.8f}"]
    lines += [" ".join(f"{number:.6f}" for number in frame) for frame in frames]
    return "\n".join(lines) + "\n"


def read_bvh_file(path: Path) -> tuple[Skeleton, np.ndarray, float]:
    """`read_bvh` of a file.

    Raises:
        ValueError: The file is no BVH.
    """
    return read_bvh(path.read_text(encoding="utf-8", errors="replace"))


def _tokens(head: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(head.splitlines(), start=1):
        words = line.split()
        if words and words != ["HIERARCHY"]:
            yield number, words


def _hierarchy(head: str) -> Skeleton:
    joints: list[Joint] = []
    stack: list[int] = []
    for number, words in _tokens(head):
        match words:
            case ["ROOT" | "JOINT", *name]:
                joints.append(Joint(" ".join(name), stack[-1] if stack else -1, (0.0, 0.0, 0.0), ()))
            case ["End", "Site"]:
                joints.append(Joint(_END, stack[-1] if stack else -1, (0.0, 0.0, 0.0), ()))
            case ["{"] if joints:
                stack.append(len(joints) - 1)
            case ["}"] if stack:
                stack.pop()
            case ["OFFSET", *offset] if stack and len(offset) == 3:
                joints[-1] = _with_offset(joints[-1], offset, number)
            case ["CHANNELS", count, *channels] if stack and count == str(len(channels)) and set(channels) <= _CHANNELS:
                joints[-1] = Joint(joints[-1].name, joints[-1].parent, joints[-1].offset, tuple(channels))
            case _:
                raise ValueError(f"line {number} of the hierarchy: '{' '.join(words)}' is not understood")
    if not joints or stack:
        raise ValueError("the hierarchy has no joint" if not joints else "a brace of the hierarchy is not closed")
    return Skeleton(tuple(joints))


def _with_offset(joint: Joint, words: list[str], number: int) -> Joint:
    try:
        x, y, z = map(float, words)
    except ValueError as error:
        raise ValueError(
            f"line {number} of the hierarchy: an offset is three numbers, not '{' '.join(words)}'"
        ) from error
    return Joint(joint.name, joint.parent, (x, y, z), joint.channels)


def _motion(tail: str, channels: int, first_line: int) -> tuple[np.ndarray, float]:
    lines = [(number, line.strip()) for number, line in enumerate(tail.splitlines(), start=first_line) if line.strip()]
    if len(lines) < 2 or not lines[0][1].startswith("Frames:") or not lines[1][1].startswith("Frame Time:"):
        raise ValueError("after MOTION come 'Frames: n' and 'Frame Time: seconds'")
    count, seconds = int(lines[0][1].split(":")[1]), float(lines[1][1].split(":")[1])
    if len(lines) - 2 != count or seconds <= 0:
        raise ValueError(f"{count} frames of {seconds} s announced, {len(lines) - 2} lines found")
    frames = np.empty((count, channels))
    for row, (number, line) in enumerate(lines[2:]):
        words = line.split()
        if len(words) != channels:
            raise ValueError(f"line {number}: {len(words)} numbers for {channels} channels")
        frames[row] = [float(word) for word in words]
    return frames, 1.0 / seconds


def _joint_lines(skeleton: Skeleton, index: int, depth: int) -> Iterator[str]:
    joint, indent = skeleton.joints[index], "  " * depth
    end = joint.name == _END and not joint.channels
    yield indent + ("End Site" if end else f"{'ROOT' if joint.parent < 0 else 'JOINT'} {joint.name}")
    yield indent + "{"
    yield f"{indent}  OFFSET {' '.join(f'{number:.6f}' for number in joint.offset)}"
    if not end:
        yield f"{indent}  CHANNELS {len(joint.channels)} {' '.join(joint.channels)}".rstrip()
    for child, other in enumerate(skeleton.joints):
        if other.parent == index:
            yield from _joint_lines(skeleton, child, depth + 1)
    yield indent + "}"
