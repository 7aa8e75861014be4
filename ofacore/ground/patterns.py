"""Files that one text names: a path, a pattern such as ``data/**/*.csv``, a range such as ``shard-{000..127}.tar``."""

from __future__ import annotations

import glob
import os
import re
from itertools import chain

_REMOTE = re.compile(r"^([a-z][a-z0-9+.-]+://|pipe:)", re.IGNORECASE)
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MOST = 100_000
"""Names that one pair of braces may stand for."""


def is_remote(text: str) -> bool:
    """Whether a text is the address of something on another machine."""
    return bool(_REMOTE.match(text))


def is_plain_path(text: str) -> bool:
    """Whether a text names one file or folder: it is no address, no pattern and no range."""
    return not is_remote(text) and not any(mark in text for mark in "*?[{")


def alternatives(text: str) -> list[str]:
    """The texts that braces stand for: ``{000..002}`` numbers of one width, ``{a,b}`` words; others stay."""
    found = _BRACES.search(text)
    inside = _choices(found[1]) if found else None
    if found is None or inside is None:
        return [text]
    head, tail = text[: found.start()], alternatives(text[found.end() :])
    return [head + choice + rest for choice in inside for rest in tail]


def _choices(inside: str) -> list[str] | None:
    limits = _RANGE.fullmatch(inside)
    if limits is None:
        return inside.split(",") if "," in inside else None
    first, last = int(limits[1]), int(limits[2])
    if not 0 <= last - first < _MOST:
        return None
    width = len(limits[1])
    return [str(number).zfill(width) for number in range(first, last + 1)]


def matching(text: str) -> list[str]:
    """Paths of what is there under a name or pattern, sorted; ``**`` stands for folders at any depth.

    A pattern with ``**`` names files alone, as their folders would hold them a second time.
    """
    if os.path.exists(text):
        return [text]
    found = sorted(path for path in glob.glob(text, recursive=True) if os.path.exists(path))
    return [path for path in found if os.path.isfile(path)] if "**" in text else found


def named_files(text: str) -> tuple[list[str], list[str]]:
    """What a path, pattern or range names: the paths that are there, and the names under which there is nothing."""
    text = os.path.expanduser(text)
    if os.path.exists(text):
        return [text], []
    found = {name: matching(name) for name in alternatives(text)}
    missing = [name for name, paths in found.items() if not paths]
    return list(dict.fromkeys(chain.from_iterable(found.values()))), missing
