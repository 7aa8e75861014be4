"""Clips for tests, written by PyAV."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

FPS = 10


def numbered(count, height=48, width=64):
    """Grey frames, each as bright as its number says: uint8 [count, height, width, 3]."""
    levels = np.arange(count, dtype=np.uint8) * (200 // max(count, 1)) + 20
    return np.tile(levels[:, None, None, None], (1, height, width, 3))


def number_of(picture, count):
    """The number of a frame of `numbered`, from its brightness."""
    shown = picture.convert("RGB") if hasattr(picture, "convert") else picture
    return round((float(np.asarray(shown).mean()) - 20) / (200 // count))


def write(path, frames, codec="libx264", fps=FPS, times=None, options=None, turn=0):
    """Write frames; ``times`` in thousandths of a second where they do not come at ``fps``."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv444p" if codec == "libx264" else "yuv420p"
        stream.gop_size = 12
        stream.codec_context.max_b_frames = 2 if codec == "libx264" else 0
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if turn:
            stream.set_display_rotation(turn)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, fps) if times is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path, seconds=1):
    """A file with sound alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 16000
        for number in range(16 * seconds):
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts = number * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_with_sound(path, frames, seconds):
    """Frames, and a sound of another length, as the ending asks for."""
    codecs = ("libvpx-vp9", "libopus") if path.suffix == ".webm" else ("libx264", "aac")
    with av.open(str(path), "w") as container:
        stream, track = container.add_stream(codecs[0], rate=FPS), container.add_stream(codecs[1])
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, track.sample_rate, track.layout = "yuv420p", 48_000, "mono"
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for number in range(50 * seconds):
            silence = np.zeros((1, 960), np.float32)
            sound = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            sound.sample_rate, sound.pts = 48_000, 960 * number
            sound.time_base = Fraction(1, 48_000)
            container.mux(track.encode(sound))
        container.mux(track.encode())
    return path
