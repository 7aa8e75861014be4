"""Reading and writing BVH, the Biovision hierarchy format: a skeleton, then one line of channels per frame."""

from __future__ import annotations

import codecs
import logging
import math
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from ofa_modality_motion.bvh_hierarchy import END, read_hierarchy
from ofa_modality_motion.skeleton import Skeleton, children_of

_MOTION = re.compile(
    r"(?:^|(?<=[\s}]))MOTION\s+Frames\s*:?\s*(\S+)\s+Frame\s*Time\s*:?\s*(\S+)", re.IGNORECASE
)
_MOTION_ALONE = re.compile(r"^\s*MOTION\s*$", re.IGNORECASE | re.MULTILINE)
_LOG = logging.getLogger("ofacore.encoding")


def read_bvh(text: str, name: str = "a BVH") -> tuple[Skeleton, np.ndarray, float]:
    """Skeleton, frames float64 [frames, channels] (degrees) and frames per second.

    Keywords may be written in any case, and a frame may run over several lines. More frames than
    announced are read, and told once; fewer mean that the file was cut.

    Args:
        text: Content of the file.
        name: What to call it in the log.

    Raises:
        ValueError: The text is no BVH, with the number of the line.
    """
    found = _MOTION.search(text)
    if found is None:
        if _MOTION_ALONE.search(text):
            raise ValueError("after MOTION come 'Frames: n' and 'Frame Time: seconds'")
        raise ValueError("no MOTION section")
    skeleton = read_hierarchy(text[: found.start()])
    announced, seconds = _count(found[1]), _seconds(found[2])
    first_line = text.count("\n", 0, found.end()) + 1
    frames = _frames(text[found.end() :], skeleton, announced, first_line)
    if len(frames) > announced:
        _tell(f"{name} announces {announced} frames and holds {len(frames)}; all are read")
    return skeleton, frames, 1.0 / seconds


def read_bvh_file(path: Path) -> tuple[Skeleton, np.ndarray, float]:
    """`read_bvh` of a file.

    Raises:
        ValueError: The file is no BVH.
    """
    return read_bvh(decoded(path.read_bytes()), f"'{path}'")


def read_bvh_skeleton(path: Path) -> Skeleton:
    """The skeleton alone; the file needs no frames.

    Raises:
        ValueError: The file holds no hierarchy.
    """
    text = decoded(path.read_bytes())
    found = _MOTION.search(text) or _MOTION_ALONE.search(text)
    hierarchy = text[: found.start()] if found else text
    return read_hierarchy(hierarchy)


def decoded(content: bytes) -> str:
    """The text of a file: UTF-8, or UTF-16 with its mark; bytes that are neither stay visible."""
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    codec = "utf-16" if utf_16 else "utf-8-sig"
    return content.decode(codec, errors="backslashreplace")


def write_bvh(skeleton: Skeleton, frames: np.ndarray, fps: float) -> str:
    """The text of a BVH file: joints depth first, and the channels of each frame in their order.

    Raises:
        ValueError: ``frames`` has not as many columns as the skeleton has channels, or a number is
            not finite.
    """
    if frames.ndim != 2 or frames.shape[1] != skeleton.channels:
        shape = list(frames.shape)
        raise ValueError(
            f"frames of shape {shape} do not fit a skeleton of {skeleton.channels} channels"
        )
    if not np.isfinite(frames).all() or not 0 < fps < math.inf:
        raise ValueError("BVH holds finite numbers and a positive rate only")
    order, lines = _joint_lines(skeleton)
    columns = [column for number in order for column in skeleton.columns(number)]
    lines = [
        "HIERARCHY",
        *lines,
        "MOTION",
        f"Frames: {len(frames)}",
        f"Frame Time: {1.0 / fps:.9g}",
    ]
    lines += [_frame_line(frame) for frame in frames[:, columns]]
    return "\n".join(lines) + "\n"


def _frame_line(frame: np.ndarray) -> str:
    return " ".join(f"{number:.6f}" for number in frame)


def _count(word: str) -> int:
    if not word.isdecimal():
        raise ValueError(f"'Frames: {word[:20]}' is no number of frames")
    return int(word)


def _seconds(word: str) -> float:
    seconds = _number(word)
    if seconds is None or not 0 < seconds < math.inf:
        raise ValueError(
            f"'Frame Time: {word[:20]}' is no positive number of seconds{_comma(word)}"
        )
    return seconds


def _frames(tail: str, skeleton: Skeleton, announced: int, first_line: int) -> np.ndarray:
    channels = skeleton.channels
    lines = [(number, line.split()) for number, line in enumerate(tail.splitlines(), first_line)]
    lines = [(number, words) for number, words in lines if words]
    uneven = next(((n, words) for n, words in lines if len(words) != channels), None)
    numbers = sum(len(words) for _, words in lines)
    if uneven is not None and numbers != announced * channels:
        number, words = uneven
        raise ValueError(f"line {number}: {len(words)} numbers for {channels} channels")
    if numbers < announced * channels:
        raise ValueError(
            f"{announced} frames announced, {len(lines)} lines found; the file was cut, or mend 'Frames:'"
        )
    values = np.array([_value(word, number) for number, words in lines for word in words])
    frames = values.reshape(-1, channels) if channels else np.empty((announced, 0))
    _check_finite(frames, skeleton)
    return frames


def _value(word: str, line: int) -> float:
    found = _number(word)
    if found is None:
        raise ValueError(f"line {line}: '{word[:20]}' is no number{_comma(word)}")
    return found


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _comma(word: str) -> str:
    return "; decimals are written with a point" if "," in word else ""


def _check_finite(frames: np.ndarray, skeleton: Skeleton) -> None:
    bad = np.argwhere(~np.isfinite(frames))
    if not len(bad):
        return
    frame, column = bad[0].tolist()
    owners = [(joint.name, channel) for joint in skeleton.joints for channel in joint.channels]
    joint, channel = owners[column]
    raise ValueError(f"frame {frame + 1}: {channel} of joint '{joint}' is not finite")


@lru_cache(maxsize=256)
def _tell(message: str) -> None:
    """Log a message; once in each process."""
    _LOG.warning("%s", message)


def _joint_lines(skeleton: Skeleton) -> tuple[list[int], list[str]]:
    """Indices of the joints depth first, and the lines of the hierarchy."""
    children = children_of(skeleton)
    order: list[int] = []
    lines: list[str] = []
    depth = 0
    waiting = [(number, 0) for number in reversed(children[-1])]
    while waiting:
        number, level = waiting.pop()
        lines += _closed(depth, level)
        depth = level + 1
        order.append(number)
        lines += _opened(skeleton, number, level, bool(children[number]))
        waiting += [(child, depth) for child in reversed(children[number])]
    return order, lines + _closed(depth, 0)


def _opened(skeleton: Skeleton, number: int, level: int, parent: bool) -> list[str]:
    joint, indent = skeleton.joints[number], "  " * level
    lines = [indent + _title(skeleton, number, parent), indent + "{"]
    lines.append(f"{indent}  OFFSET {' '.join(f'{part:.6f}' for part in joint.offset)}")
    if not _is_end(skeleton, number, parent):
        lines.append(
            f"{indent}  CHANNELS {len(joint.channels)} {' '.join(joint.channels)}".rstrip()
        )
    return lines


def _title(skeleton: Skeleton, number: int, parent: bool) -> str:
    joint = skeleton.joints[number]
    if _is_end(skeleton, number, parent):
        return "End Site"
    name = " ".join(re.sub(r"[{}]", " ", joint.name).split()) or f"joint{number}"
    return f"{'ROOT' if joint.parent < 0 else 'JOINT'} {name}"


def _is_end(skeleton: Skeleton, number: int, parent: bool) -> bool:
    joint = skeleton.joints[number]
    return joint.name == END and not joint.channels and not parent and joint.parent >= 0


def _closed(depth: int, level: int) -> list[str]:
    """The braces that end the open joints below ``level``."""
    return ["  " * number + "}" for number in range(depth - 1, level - 1, -1)]
