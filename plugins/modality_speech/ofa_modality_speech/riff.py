"""What the header of a WAV file promises, compared with what the file holds."""

from __future__ import annotations

import struct
from typing import BinaryIO

_UNKNOWN = (0, 0xFFFFFFFF, 0x7FFFFFFF)
"""Lengths that programs write which cannot go back to the header of what they stream."""


def missing_bytes(file: BinaryIO) -> int:
    """How many bytes of sound the header announces that the file lacks; 0 for other formats, and for streams.

    The position in the file is not kept.
    """
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return 0
    place = 12
    while place + 8 <= size:
        file.seek(place)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"data":
            return 0 if length in _UNKNOWN else max(0, place + 8 + length - size)
        place += 8 + length + length % 2
    return 0
