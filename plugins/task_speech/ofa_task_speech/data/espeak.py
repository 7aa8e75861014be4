"""Speech synthesised by eSpeak NG, whose library and voices come with the package ``espeakng-loader``.

The library is fetched, checked by its SHA-256, and called where it lies in the cache; nothing is installed.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ofa_starter import PackageSource, fetch
from ofacore.plugin import UserError

_VERSION = "0.2.4"
_DATA = "espeakng_loader/espeak-ng-data"
_VOICES = (
    f"{_DATA}/phon*",
    f"{_DATA}/intonations",
    f"{_DATA}/en_dict",
    f"{_DATA}/lang/gmw/en*",
    f"{_DATA}/voices/!v/*",
)


def _source(library: str, tag: str, sha256: str) -> PackageSource:
    members = (f"espeakng_loader/{library}", *_VOICES)
    tags = (f"--platform={tag}",)
    return PackageSource("espeakng-loader", _VERSION, sha256, members, tags=tags, licence="GPL-3.0")


_LINUX = ("linux", "x86_64")
_SOURCES: Mapping[tuple[str, str], PackageSource] = {
    _LINUX: _source(
        "libespeak-ng.so",
        "manylinux_2_17_x86_64",
        "08721baf27d13d461f6be6eed9a65277e70d68234ff484fd8b9897b222cdcb6d",
    ),
    ("darwin", "arm64"): _source(
        "libespeak-ng.dylib",
        "macosx_11_0_arm64",
        "d27cdca31112226e7299d8562e889d3e38a1e48055c9ee381b45d669072ee59f",
    ),
    ("win32", "AMD64"): _source(
        "espeak-ng.dll",
        "win_amd64",
        "41f1e08ac9deda2efd1ea9de0b81dab9f5ae3c4b24284f76533d0a7b1dd7abd7",
    ),
}
_HERE = (sys.platform, platform.machine())
ESPEAKNG = _SOURCES.get(_HERE, _SOURCES[_LINUX])
_SYNCHRONOUS, _UTF8, _RATE, _DONE = 2, 1, 1, 0
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class Speaker:
    """The library, opened once; it speaks one text after the other.

    Args:
        cache: Cache folder; default that of ofa-starter.

    Raises:
        UserError: There is no library for this system, or it does not start.
    """

    def __init__(self, cache: Path | None = None) -> None:
        if _HERE not in _SOURCES:
            known = ", ".join(" ".join(system) for system in _SOURCES)
            raise UserError(f"eSpeak NG is not there for {' '.join(_HERE)}, but for: {known}")
        folder = fetch(ESPEAKNG, cache) / "espeakng_loader"
        library = ESPEAKNG.members[0].rpartition("/")[2]
        self._library = ctypes.CDLL(str(folder / library))
        self._parts: list[np.ndarray] = []
        self._callback = _CALLBACK(self._collect)
        self.rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(folder).encode(), 0))
        if self.rate <= 0:
            raise UserError(f"eSpeak NG does not start with the voices in {folder}")
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: int | None, count: int, events: int | None) -> int:
        """Called by the library with 16-bit samples."""
        if samples and count > 0:
            numbers = ctypes.cast(samples, ctypes.POINTER(ctypes.c_int16 * count)).contents
            self._parts.append(np.array(numbers, np.int16))
        return _DONE

    def say(self, text: str, voice: str, words_a_minute: int = 175) -> np.ndarray:
        """int16 [samples] at `rate`.

        Args:
            text: What is said.
            voice: Name of a language and a variant, such as ``en-us+f3``.
            words_a_minute: Tempo.

        Raises:
            UserError: There is no such voice.
        """
        if self._called("SetVoiceByName", voice.encode()):
            raise UserError(f"eSpeak NG has no voice '{voice}'")
        self._called("SetParameter", _RATE, words_a_minute, 0)
        self._parts = []
        content = text.encode()
        size = ctypes.c_size_t(len(content) + 1)
        self._called("Synth", content, size, 0, 1, 0, _UTF8, None, None)
        self._called("Synchronize")
        return np.concatenate(self._parts)

    def _called(self, name: str, *values: Any) -> int:
        function: Callable[..., int] = getattr(self._library, f"espeak_{name}")
        return function(*values)
