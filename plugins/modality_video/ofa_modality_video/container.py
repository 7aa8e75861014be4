"""Clips in files that FFmpeg reads, by PyAV: only what leads to the wanted frames is decoded, only they become RGB."""

from __future__ import annotations

import bisect
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from PIL import Image

from ofacore.protocols import RowError

_TURNS: Mapping[tuple[int, int, int, int], Image.Transpose] = {
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
"""Matrix (a, b, c, d) of a track, which brings (x, y) to (a x + c y, b x + d y) -> how Pillow does that."""
_SIDEWAYS = (
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
)
_ONE = 1 << 16
"""The number 1 in such a matrix."""
_CLOCK = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
_WORTH = 16
"""Frames that a seek has to spare; fewer cost less than to start the decoder again."""
_TOLERANCE = 1e-6
"""Seconds that rounding may take from a time."""
_FAR = 10.0
"""Seconds ahead that are worth a seek where a file has no index."""
_SLACK = 0.5
"""Seconds by which a track may be shorter than it says."""
DEFAULT_FPS = 25.0


def open_container(source: Path | bytes, name: str, column: str) -> ContainerClip:
    """The clip in a file, or in the content of one.

    Raises:
        RowError: It is no video, damaged, or has no frames; the message names column and file.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else f"file:{source}"
    try:
        container = av.open(file, options={"protocol_whitelist": "file"})
    except (av.FFmpegError, OSError, ValueError) as error:
        raise RowError(
            f"column '{column}': {name} is no usable video: it is of another kind, damaged or truncated "
            f"({reason(error)})"
        ) from error
    try:
        return ContainerClip(container, name, column)
    except BaseException:
        container.close()
        raise


class ContainerClip:
    """See `ofa_modality_video.clip.Clip`. Frames are found by their times, so a variable rate needs no care."""

    def __init__(self, container: Any, name: str, column: str) -> None:
        self._container, self._name, self._column = container, name, column
        self._stream = self._track()
        self._base = float(self._stream.time_base)
        self._origin = self._stream.start_time or 0
        self._rate = float(self._stream.average_rate or DEFAULT_FPS)
        self.size: tuple[int, int] | None = None
        self._converter = VideoReformatter()
        self._frame: Any = None
        self._ahead: Any = None
        self._wanted: Sequence[float] = ()
        self._seen: list[int] = []
        self._skips = True
        self._frames: Iterator[Any] = self._decoded()
        self.duration = self._length()

    def shown(self, times: Sequence[float], least: int) -> Iterator[Image.Image]:
        """See `ofa_modality_video.clip.Clip.shown`."""
        before, self._wanted = None, times
        for time in times:
            frame = self._at(time)
            if frame is not before:
                before = frame
                yield self._picture(frame, least)

    def whole(self) -> Image.Image:
        """See `ofa_modality_video.clip.Clip.whole`."""
        return self._picture(self._frame, 0)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _track(self) -> Any:
        """The video track that is no cover picture."""
        tracks = [
            track
            for track in self._container.streams.video
            if not track.disposition & Disposition.attached_pic
        ]
        if not tracks:
            kinds = [track.type for track in self._container.streams] or ["nothing"]
            raise RowError(
                f"column '{self._column}': {self._name} has no video track, only {', '.join(kinds)}; "
                "give a file with pictures in it"
            )
        track = tracks[0]
        if track.codec_context is None:
            raise RowError(
                f"column '{self._column}': {self._name} is coded in a way that this FFmpeg cannot decode; "
                "convert it, for example to H.264"
            )
        return track

    def _length(self) -> float:
        """Seconds of the track: what it or its tags say, else what the file says, else what its packets say."""
        if self._stream.duration:
            return max(float(self._stream.duration * self._base), self._indexed())
        if self._container.duration:
            whole = float(self._container.duration / av.time_base)
            return min(self._told() or whole, whole)
        ends = []
        try:
            for packet in self._container.demux(self._stream):
                if packet.pts is not None:
                    ends.append(packet.pts + (packet.duration or 0))
        except av.FFmpegError as error:
            raise self._damaged(reason(error)) from error
        if not ends:
            raise self._damaged("it has no frames")
        self._seek(self._origin)
        return max((max(ends) - self._origin) * self._base, 1.0 / self._rate)

    def _told(self) -> float:
        """Seconds that a tag of the track tells, as Matroska and WebM have it, whose sound may be longer; 0: none."""
        tags = self._stream.metadata
        found = next(
            (_CLOCK.match(tags[name]) for name in tags if name.startswith("DURATION")), None
        )
        if found is None:
            return 0.0
        hours, minutes, seconds = map(float, found.groups())
        return 3600 * hours + 60 * minutes + seconds - float(self._origin * self._base)

    def _indexed(self) -> float:
        """Seconds up to the last frame of the index, which a track with gaps may not count."""
        entries = self._stream.index_entries
        last = entries[-1].timestamp - self._origin if len(entries) else 0
        return float(last * self._base)

    def _seek(self, ticks: int) -> None:
        """Decode from the key frame before a time stamp on."""
        self._container.seek(ticks, stream=self._stream, backward=True)
        self._frames = self._decoded()
        self._seen = []
        self._frame = self._ahead = None

    def _decoded(self) -> Iterator[Any]:
        """Frames from here on; those that nobody wants, and no other frame is told by, are left out."""
        decoder, whole = self._stream.codec_context, True
        decoder.skip_frame = "DEFAULT"
        for packet in self._container.demux(self._stream):
            if packet.pts is not None:
                self._seen.append(packet.pts)
            needed = self._needed(packet)
            if needed != whole:
                whole, decoder.skip_frame = needed, "DEFAULT" if needed else "NONREF"
            yield from packet.decode()

    def _needed(self, packet: Any) -> bool:
        """Whether a frame may be on screen at a wanted time, as far as its packet tells."""
        if not self._skips or packet.pts is None or not packet.duration:
            return True
        begin = (packet.pts - self._origin) * self._base - _TOLERANCE
        end = begin + packet.duration * self._base + 2 * _TOLERANCE
        place = bisect.bisect_left(self._wanted, begin)
        return place < len(self._wanted) and self._wanted[place] <= end

    def _at(self, time: float) -> Any:
        """The frame on screen at a time; ascending times cost the least."""
        try:
            self._advance(time)
            if self._passed_over(time):
                self._skips = False
                self._seek(self._ticks(time))
                self._advance(time)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._damaged(reason(error)) from error
        self._check_end(time)
        return self._frame

    def _advance(self, time: float) -> None:
        wanted = time + _TOLERANCE
        if self._far(wanted):
            self._seek(self._ticks(time))
        if self._frame is None:
            self._begin(wanted)
        while self._ahead is not None and self._time(self._ahead) <= wanted:
            self._frame, self._ahead = self._ahead, next(self._frames, None)

    def _passed_over(self, time: float) -> bool:
        """Whether the frame on screen was left out, because its packet says that it is shorter than it is."""
        if not self._skips or self._frame.pts is None:
            return False
        latest = self._ticks(time + _TOLERANCE)
        return any(self._frame.pts < ticks <= latest for ticks in self._seen)

    def _ticks(self, time: float) -> int:
        return math.floor(time / self._base) + int(self._origin)

    def _begin(self, wanted: float) -> None:
        """The first two frames; those of the very begin where a seek went too far."""
        self._frame, self._ahead = next(self._frames, None), next(self._frames, None)
        if self._frame is None or self._time(self._frame) > wanted:
            self._seek(self._origin)
            self._frame, self._ahead = next(self._frames, None), next(self._frames, None)
        if self._frame is None:
            raise self._damaged("it has no frames")

    def _far(self, wanted: float) -> bool:
        """Whether a key frame lies between here and there."""
        here = 0.0 if self._frame is None else self._time(self._frame)
        entries = self._stream.index_entries
        if not len(entries):
            return wanted - here > _FAR
        ticks = round(wanted / self._base) + self._origin
        number = entries.search_timestamp(ticks, backward=True)
        if number < 0:
            return False
        key = (entries[number].timestamp - self._origin) * self._base
        latest = here if self._ahead is None else self._time(self._ahead)
        return bool(key > latest + _WORTH / self._rate)

    def _time(self, frame: Any) -> float:
        """Seconds from the begin of the track."""
        ticks = frame.pts if frame.pts is not None else frame.dts
        return 0.0 if ticks is None else float((ticks - self._origin) * self._base)

    def _check_end(self, time: float) -> None:
        """Refuse a track that ends long before it says, as that of a truncated file does."""
        if self._ahead is not None or not self._stream.duration:
            return
        last = self._time(self._frame)
        end = last + float((self._frame.duration or 0) * self._base)
        if time > max(end, last + 2.0 / self._rate) + _SLACK:
            raise self._damaged(f"its frames end at {end:.2f} s of {self.duration:.2f} s")

    def _picture(self, frame: Any, least: int) -> Image.Image:
        """RGB and upright; no smaller than needed."""
        shorter = min(frame.width, frame.height)
        try:
            width, height = frame.width, frame.height
            if least and shorter >= 2 * least:
                width, height = (round(side * least / shorter) for side in (width, height))
            picture = self._converter.reformat(
                frame, width, height, "rgb24", interpolation="AREA", threads=1
            ).to_image()
        except (av.FFmpegError, ValueError) as error:
            raise self._damaged(reason(error)) from error
        turn = _turn(frame)
        across, down = (frame.width, frame.height)
        self.size = (down, across) if turn in _SIDEWAYS else (across, down)
        return picture if turn is None else picture.transpose(turn)

    def _damaged(self, problem: str) -> RowError:
        return RowError(
            f"column '{self._column}': {self._name} is damaged or truncated: {problem}; write or fetch it again"
        )


def _turn(frame: Any) -> Image.Transpose | None:
    """What makes a frame upright, and mirrors it where the file says so."""
    told = frame.side_data.get(SideData.DISPLAYMATRIX)
    if told is None:
        return None
    a, b, _, c, d, *_ = (np.frombuffer(bytes(told), np.int32) / _ONE).tolist()
    return _TURNS.get((round(a), round(b), round(c), round(d)))


def reason(error: BaseException) -> str:
    """Why FFmpeg refused, in a line, without the address of what it read from memory."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0][:120]
