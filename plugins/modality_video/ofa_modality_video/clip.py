"""What every kind of clip offers: its duration, and the frames at given times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class Clip(Protocol):
    """A clip that is open for reading."""

    duration: float
    """Seconds, above 0."""
    size: tuple[int, int] | None
    """(width, height) of the whole picture that was shown last; None where pictures are whole anyway."""

    def shown(self, times: Sequence[float], least: int) -> Iterator[Any]:
        """Pictures that IMAGE takes: those that are on screen at ascending times, each once.

        Args:
            times: Seconds from the begin.
            least: Pixels that the shorter side needs; a reader may make pictures smaller, down to that.

        Raises:
            RowError: A frame cannot be read.
        """

    def whole(self) -> Any:
        """The picture that was shown last, as large as it is."""

    def close(self) -> None:
        """Release what is open."""


@dataclass(frozen=True)
class ListedClip:
    """Frames that are known by their number: arrays, lists, folders, animations."""

    starts: np.ndarray
    """float64 [frames]: second at which each frame comes on."""
    duration: float
    read: Callable[[int], Any]
    """Number of a frame -> a picture that IMAGE takes."""
    size: tuple[int, int] | None = None
    release: Callable[[], None] | None = None
    """Closes what `read` reads from."""

    @classmethod
    def steady(cls, count: int, fps: float, read: Callable[[int], Any]) -> ListedClip:
        """Frames of equal length."""
        return cls(np.arange(count) / fps, count / fps, read)

    def shown(self, times: Sequence[float], least: int) -> Iterator[Any]:
        """See `Clip.shown`."""
        numbers = np.searchsorted(self.starts, np.asarray(times) + 1e-9, side="right") - 1
        for number in dict.fromkeys(numbers.clip(0).tolist()):
            yield self.read(number)

    def whole(self) -> Any:
        """Never asked for: pictures are whole."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what is read from, if anything."""
        if self.release is not None:
            self.release()
