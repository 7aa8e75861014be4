"""The first half of a BVH file: joints with their offsets and channels, read word by word."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from ofa_modality_motion.skeleton import CHANNELS, Joint, Skeleton, checked

END = "End"
"""Name of the end of a limb that has none of its own."""
_OPENING = ("ROOT", "JOINT", "END", "ENDSITE")
_INSIDE = ("OFFSET", "CHANNELS", "}")
_SHOWN = 40


def read_hierarchy(text: str) -> Skeleton:
    """The skeleton.

    Raises:
        ValueError: Something is not understood, with the number of its line.
    """
    reader = _Reader(list(_words(text)))
    while reader.left:
        reader.statement()
    return reader.skeleton()


def _words(text: str) -> Iterator[tuple[int, str]]:
    """(line, word); braces are words of their own, wherever they stand."""
    for number, line in enumerate(text.splitlines(), start=1):
        for word in line.replace("{", " { ").replace("}", " } ").split():
            yield number, word


@dataclass
class _Draft:
    """A joint of which not all lines are read."""

    name: str
    parent: int
    offset: tuple[float, float, float] | None = None
    channels: tuple[str, ...] | None = None


@dataclass
class _Reader:
    """Where reading stands: the words, the next one, the joints so far, and those that are open."""

    words: list[tuple[int, str]]
    place: int = 0
    joints: list[_Draft] = field(default_factory=list)
    open: list[int] = field(default_factory=list)

    @property
    def left(self) -> bool:
        """Whether words are left."""
        return self.place < len(self.words)

    def statement(self) -> None:
        """Read a keyword and what belongs to it."""
        line, word = self._next()
        keyword = word.upper()
        if keyword in _OPENING:
            self._joint(line, keyword)
        elif keyword == "OFFSET" and self.open:
            self._offset(line)
        elif keyword == "CHANNELS" and self.open:
            self._channels(line)
        elif keyword == "}" and self.open:
            self.open.pop()
        elif keyword != "HIERARCHY" or self.joints:
            raise _error(line, f"'{word[:_SHOWN]}' is not understood")

    def skeleton(self) -> Skeleton:
        """All joints.

        Raises:
            ValueError: There is none, or one is not complete.
        """
        if self.open:
            raise ValueError("a brace of the hierarchy is not closed")
        if not self.joints:
            raise ValueError("the hierarchy has no joint")
        return checked([_joint(draft) for draft in self.joints])

    def _next(self) -> tuple[int, str]:
        if not self.left:
            raise ValueError("the hierarchy ends in the middle of a joint")
        self.place += 1
        return self.words[self.place - 1]

    def _joint(self, line: int, keyword: str) -> None:
        words: list[str] = []
        while (word := self._next()[1]) != "{":
            if word.upper() in _INSIDE:
                raise _error(line, f"no brace behind '{keyword} {' '.join(words)[:_SHOWN]}'")
            words.append(word)
        if keyword == "ROOT" and self.open:
            raise _error(line, f"ROOT '{' '.join(words)[:_SHOWN]}' stands within another joint")
        if keyword == "END" and words and words[0].upper() == "SITE":
            words = words[1:]
        default = END if keyword.startswith("END") else ""
        parent = self.open[-1] if self.open else -1
        self.joints.append(_Draft(" ".join(words) or default, parent))
        self.open.append(len(self.joints) - 1)

    def _offset(self, line: int) -> None:
        words = [self._next()[1] for _ in range(3)]
        try:
            x, y, z = (float(word) for word in words)
        except ValueError as error:
            shown = " ".join(words)[:_SHOWN]
            raise _error(line, f"an offset is three numbers, not '{shown}'") from error
        if not all(map(math.isfinite, (x, y, z))):
            raise _error(line, "an offset is not finite")
        draft = self._current(line, "OFFSET")
        if draft.offset is not None:
            raise _error(line, f"a second OFFSET of joint '{draft.name}'")
        draft.offset = (x, y, z)

    def _channels(self, line: int) -> None:
        draft = self._current(line, "CHANNELS")
        count = self._next()[1]
        if not count.isdecimal():
            raise _error(line, f"'CHANNELS {count[:_SHOWN]}' does not begin with their number")
        if draft.channels is not None:
            raise _error(line, f"a second CHANNELS of joint '{draft.name}'")
        draft.channels = tuple(self._channel(line, draft, count) for _ in range(int(count)))

    def _channel(self, line: int, draft: _Draft, count: str) -> str:
        word = self._next()[1]
        known = CHANNELS.get(word.lower())
        if known is not None:
            return known
        if word.lower().endswith("scale"):
            what = f"joint '{draft.name}' has channel '{word}'; export without scale"
            raise _error(line, f"{what}: only positions and rotations are carried")
        raise _error(line, f"CHANNELS announces {count}, but '{word[:_SHOWN]}' is no channel")

    def _current(self, line: int, keyword: str) -> _Draft:
        """The joint that is open, as long as none of its children was read."""
        if self.open[-1] != len(self.joints) - 1:
            name = self.joints[self.open[-1]].name
            raise _error(line, f"{keyword} of joint '{name}' stands behind its children")
        return self.joints[-1]


def _joint(draft: _Draft) -> Joint:
    if draft.offset is None:
        raise ValueError(f"joint '{draft.name}' of the hierarchy has no OFFSET")
    return Joint(draft.name, draft.parent, draft.offset, draft.channels or ())


def _error(line: int, what: str) -> ValueError:
    return ValueError(f"line {line} of the hierarchy: {what}")
