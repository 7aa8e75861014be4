"""From any accepted value to samples, or to a series of features that came ready-made."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ofa_modality_speech.files import FileProblem, read_content, read_file
from ofa_modality_speech.wave import Wave, as_floats
from ofacore.protocols import RowError, excerpt, listing

ACCEPTED = (
    "a path, bytes or base64 text of a sound file, a dict with 'array' and 'sampling_rate', 'bytes' or 'path' and, if "
    "wanted, 'start' and 'end' in seconds, a pair (array, rate), or an array [frames, numbers] of features"
)
MOST_CHANNELS = 64
_SHORTEST_BASE64 = 32
_KEYS_TOLD = 8
_RATE_KEYS = ("sampling_rate", "sample_rate", "rate")


@dataclass(frozen=True)
class Features:
    """A series that came ready-made."""

    frames: np.ndarray
    """float32 [frames, numbers]."""


@dataclass(frozen=True)
class Loader:
    """How the values of one column are read."""

    column: str
    most: float | None = None
    """Longest piece in seconds that is wanted; a file is read no further."""

    def load(self, value: Any) -> Wave | Features:
        """The sound or the features of a value.

        Raises:
            RowError: It is neither; names column, file and the way out.
        """
        found = self._load(value)
        if isinstance(found, Features):
            return found
        return self._checked(found)

    def _load(self, value: Any) -> Wave | Features:
        if isinstance(value, Mapping):
            return self._of_dict(value)
        if isinstance(value, (bytes, bytearray)):
            return self._content(bytes(value), f"{len(value)} bytes", 0.0, None)
        if isinstance(value, (str, Path)):
            return self._of_text(value, 0.0, None)
        if isinstance(value, tuple) and len(value) == 2 and hasattr(value[0], "ndim"):
            return self._of_array(value[0], value[1])
        if hasattr(value, "get_all_samples"):
            samples = value.get_all_samples()
            return self._of_array(np.asarray(samples.data), samples.sample_rate)
        if hasattr(value, "ndim") or isinstance(value, list):
            return self._of_series(value)
        raise self._error(f"{type(value).__name__} is no sound; expected {ACCEPTED}")

    def _of_dict(self, value: Mapping[str, Any]) -> Wave | Features:
        """As Hugging Face has it: an array, or else bytes, or else a path; with ``start`` and ``end``, a part of it."""
        start, end = self._span(value)
        if value.get("array") is not None:
            rate = next((value[key] for key in _RATE_KEYS if value.get(key)), None)
            return self._of_array(value["array"], rate).cut(start, end)
        if value.get("bytes") is not None:
            content = value["bytes"]
            return self._content(content, f"{len(content)} bytes", start, end)
        if value.get("path"):
            return self._of_text(value["path"], start, end)
        if value.get("frames") is not None:
            return self._of_series(value["frames"])
        keys = listing([repr(key) for key in value], _KEYS_TOLD) or "nothing"
        raise self._error(f"a dict with {keys} holds no sound; expected {ACCEPTED}")

    def _span(self, value: Mapping[str, Any]) -> tuple[float, float | None]:
        start, end = value.get("start"), value.get("end")
        try:
            first = 0.0 if start is None else float(start)
            last = None if end is None else float(end)
        except (TypeError, ValueError) as error:
            raise self._error(f"start={start!r}, end={end!r} are no seconds") from error
        if not 0 <= first < (np.inf if last is None else last):
            raise self._error(f"start={first:g} and end={last} are no span of seconds")
        return first, last

    def _of_text(self, value: str | Path, start: float, end: float | None) -> Wave:
        text = str(value)
        if "://" in text[:12]:
            raise self._error(f"'{excerpt(text)}' is remote; download the sound and give its path")
        if not text.strip():
            raise self._error(f"the value is empty; give {ACCEPTED}")
        content = None if isinstance(value, Path) or os.path.exists(text) else _base64(text)
        if content is not None:
            return self._content(content, "base64 text", start, end)
        try:
            return read_file(Path(text), start, end, self.most)
        except FileProblem as error:
            raise self._error(f"'{text[-200:]}' {error}") from error
        except (OSError, ValueError) as error:
            raise self._error(f"'{text[-200:]}' cannot be read ({error})") from error

    def _content(self, content: bytes, name: str, start: float, end: float | None) -> Wave:
        try:
            return read_content(content, start, end, self.most)
        except FileProblem as error:
            raise self._error(f"the file in {name} {error}") from error

    def _of_array(self, array: Any, rate: Any) -> Wave:
        """[samples], [channels, samples] or [samples, channels]: there are always more samples than channels."""
        samples = as_floats(self._numbers(array))
        if samples.ndim not in (1, 2):
            shape = list(samples.shape)
            raise self._error(
                f"an array {shape} is no sound; expected [samples] or [channels, samples]"
            )
        if not isinstance(rate, (int, float, np.number)) or not 0 < rate < 1e7 or rate != int(rate):
            raise self._error(
                f"samples need their rate, a whole number a second: give a dict with 'array' and 'sampling_rate', "
                f"not the rate {rate!r}"
            )
        samples = np.atleast_2d(samples)
        if samples.shape[0] > samples.shape[1] > 0:
            samples = samples.T
        return Wave(np.ascontiguousarray(samples), int(rate))

    def _of_series(self, value: Any) -> Features:
        """[frames, numbers]; numbers of one axis would need a rate."""
        frames = self._numbers(value).astype(np.float32)
        if frames.ndim == 1:
            raise self._error(
                "samples need their rate: give a dict with 'array' and 'sampling_rate', or a pair (array, rate)"
            )
        if frames.ndim != 2 or not frames.size:
            raise self._error(f"an array {list(frames.shape)} is no series [frames, numbers]")
        if not np.isfinite(frames).all():
            raise self._error("the features hold numbers that are not finite")
        return Features(frames)

    def _numbers(self, value: Any) -> np.ndarray:
        try:
            array = np.asarray(value)
        except (TypeError, ValueError) as error:
            raise self._error(f"{excerpt(value)} is no array of numbers") from error
        if array.dtype.kind not in "iuf":
            raise self._error(f"{excerpt(value)} is no array of numbers")
        return array

    def _checked(self, wave: Wave) -> Wave:
        channels, samples = wave.samples.shape
        if not samples:
            raise self._error(
                "the sound has no samples: it is empty, or its part lies behind its end"
            )
        if not 1 <= channels <= MOST_CHANNELS:
            raise self._error(
                f"{channels} channels of {samples} samples are no sound; at most {MOST_CHANNELS} channels"
            )
        if self.most is not None:
            wave = replace(wave, samples=wave.samples[:, : max(1, round(self.most * wave.rate))])
        if not np.isfinite(wave.samples).all():
            raise self._error("the sound holds samples that are not finite")
        return wave

    def _error(self, problem: str) -> RowError:
        return RowError(f"column '{self.column}': {problem}")


def _base64(text: str) -> bytes | None:
    """Content of a data URI or of base64 text; None if it is something else."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    elif len(text) < _SHORTEST_BASE64 or "." in text[-6:] or len(text) % 4:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
