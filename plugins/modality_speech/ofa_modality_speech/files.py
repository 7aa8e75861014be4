"""Sounds in files: read by `soundfile`, and by PyAV what that does not know (AAC, videos)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ofa_modality_speech.riff import missing_bytes
from ofa_modality_speech.wave import Wave


class FileProblem(ValueError):
    """A file that cannot be used; says why, as the end of a sentence about it."""


def read_file(
    path: Path, start: float = 0.0, end: float | None = None, most: float | None = None
) -> Wave:
    """The sound of a file from ``start`` to ``end`` seconds; nothing else of it is decoded where the format allows.

    Args:
        path: The file.
        start: First second.
        end: Last second; None: to its end.
        most: Longest piece in seconds; the rest is left out.

    Raises:
        FileProblem: It is none, is empty, holds no sound, or less than its header says.
    """
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise FileProblem(problem)
    with path.open("rb") as file:
        return _read(file, start, end, most)


def read_content(
    content: bytes, start: float = 0.0, end: float | None = None, most: float | None = None
) -> Wave:
    """As `read_file`, of a file's content."""
    return _read(io.BytesIO(content), start, end, most)


def _read(file: BinaryIO, start: float, end: float | None, most: float | None) -> Wave:
    if file.seek(0, 2) == 0:
        raise FileProblem("is empty; fetch or write it again")
    lacking = missing_bytes(file)
    if lacking:
        raise FileProblem(
            f"is cut: its header announces {lacking} bytes of sound more than it holds; write it again"
        )
    file.seek(0)
    if most is not None:
        end = start + most if end is None else min(end, start + most)
    wave = _by_soundfile(file, start, end)
    if wave is None:
        file.seek(0)
        wave = _by_av(file, end).cut(start, end)
    return wave


def _by_soundfile(file: BinaryIO, start: float, end: float | None) -> Wave | None:
    """None where `soundfile` does not know the format."""
    import soundfile

    try:
        with soundfile.SoundFile(file) as sound:
            rate = sound.samplerate
            first = min(round(start * rate), sound.frames)
            sound.seek(first)
            count = -1 if end is None else max(0, round(end * rate) - first)
            samples = sound.read(count, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError):
        return None
    return Wave(np.ascontiguousarray(samples.T), rate)


def _by_av(file: BinaryIO, end: float | None) -> Wave:
    import av

    try:
        with av.open(file, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise FileProblem("has no audio track")
            rate = container.streams.audio[0].rate
            last = None if end is None else end * rate
            pieces = list(_frames(container, last))
    except av.error.FFmpegError as error:
        reason = str(getattr(error, "strerror", "") or error)
        ways = "WAV, FLAC, OGG, MP3 and other files with an audio track are"
        raise FileProblem(f"is no sound that can be read ({reason}); {ways}") from error
    if not pieces:
        raise FileProblem("has an audio track without a single sample")
    return Wave(np.concatenate(pieces, axis=1), int(rate))


def _frames(container: Any, most: float | None) -> Iterator[np.ndarray]:
    """float32 [channels, samples] of each frame, until there are ``most`` samples."""
    from av.audio.resampler import AudioResampler

    planar, count = AudioResampler(format="fltp"), 0
    for frame in container.decode(audio=0):
        for part in planar.resample(frame):
            samples = part.to_ndarray()
            count += samples.shape[1]
            yield samples
        if most is not None and count >= most:
            return
