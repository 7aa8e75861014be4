"""Clips of every kind: the right frames at the right times, or an error by name."""

from __future__ import annotations

import struct
from contextlib import closing
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from video_clips import number_of, numbered, write, write_sound, write_with_sound

from ofa_modality_video import container
from ofa_modality_video.opening import open_clip
from ofacore.protocols import RowError

COUNT = 40


def numbers(value, times, count=COUNT, least=0, **options):
    clip = open_clip(value, "v", **options)
    try:
        return [number_of(picture, count) for picture in clip.shown(times, least)]
    finally:
        clip.close()


def refusal(value, times=(0.0, 1.0, 2.0, 3.9)):
    with pytest.raises(RowError) as caught:
        numbers(value, times)
    assert "column 'v'" in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def file(folder):
    return write(folder / "numbered.mp4", numbered(COUNT))


@pytest.mark.parametrize(
    "name, codec",
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.avi", "mpeg4")],
)
def test_frames_are_those_on_screen(folder, name, codec):
    path = write(folder / name, numbered(COUNT), codec)
    assert numbers(path, [0.0, 0.05, 1.0, 1.09, 2.51, 3.95]) == [0, 10, 25, 39]
    assert numbers(path.read_bytes(), [3.9]) == [39]
    assert open_clip(path, "v").duration == pytest.approx(4.0)


def test_frames_are_those_of_decoding_everything(file):
    with av.open(str(file)) as opened:
        shown = [
            (float(frame.time), number_of(frame.to_image(), COUNT))
            for frame in opened.decode(video=0)
        ]
    for seed in range(5):
        times = np.sort(np.random.default_rng(seed).uniform(0, 4, 5)).tolist()
        wanted = [[number for begin, number in shown if begin <= time][-1] for time in times]
        assert numbers(file, times) == list(dict.fromkeys(wanted))


def test_only_what_leads_to_the_frames_is_decoded(file, monkeypatch):
    decoded = []

    class Counting:
        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def demux(self, stream):
            for packet in self.inner.demux(stream):
                decoded.append(packet.pts)
                yield packet

    opened = av.open
    monkeypatch.setattr(container.av, "open", lambda *args, **keys: Counting(opened(*args, **keys)))
    assert numbers(file, [3.75]) == [37]
    assert len(decoded) <= 12


def test_frames_that_last_longer_than_their_packets_say_are_found(folder):
    """Matroska gives every packet the same length; a frame before a gap, on which no other builds, lasts longer."""
    times = [100 * number + 900 * (number // 7) for number in range(COUNT)]
    path = write(folder / "gaps.mkv", numbered(COUNT), times=times)
    for seed in range(5):
        asked = np.sort(np.random.default_rng(seed).uniform(0, times[-1] / 1000, 8))
        wanted = np.searchsorted(times, asked * 1000, side="right") - 1
        assert numbers(path, asked.tolist()) == list(dict.fromkeys(wanted.tolist()))


def test_a_variable_rate_is_read_by_time(folder):
    path = write(folder / "variable.mkv", numbered(5), times=[0, 100, 200, 1500, 1600])
    assert numbers(path, [0.15, 0.25, 1.4, 1.5, 1.6], 5) == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["sound.mkv", "sound.webm", "sound.mp4"])
def test_a_clip_is_as_long_as_its_pictures_whatever_its_sound(folder, name):
    path = write_with_sound(folder / name, numbered(20), 5)
    with closing(open_clip(path, "v")) as clip:
        assert clip.duration == pytest.approx(2.0, abs=0.05)


def test_the_picture_that_stands_for_an_animation_is_no_frame_of_it(tmp_path):
    frames = [Image.fromarray(pixels) for pixels in numbered(4)]
    still = Image.new("RGB", frames[0].size, "white")
    path = tmp_path / "a.png"
    still.save(path, save_all=True, append_images=frames, default_image=True, duration=200)
    with closing(open_clip(path, "v")) as clip:
        assert clip.duration == pytest.approx(0.8)
    assert numbers(path, [0.1, 0.3, 0.5, 0.7], 4) == [0, 1, 2, 3]


@pytest.mark.parametrize("fps", [np.int64(20), np.float32(20), Fraction(20)])
def test_a_rate_is_any_number(fps):
    assert open_clip({"frames": numbered(4), "fps": fps}, "v").duration == pytest.approx(0.2)


def test_a_clip_of_one_frame_gives_it_once(folder):
    path = write(folder / "one.mp4", numbered(COUNT)[:1])
    assert numbers(path, [0.01, 0.03, 0.09]) == [0]


def test_odd_sizes_stay(folder):
    path = write(folder / "odd.mp4", numbered(5, 33, 35))
    (picture,) = open_clip(path, "v").shown([0.25], 0)
    assert picture.size == (35, 33) and number_of(picture, 5) == 2


@pytest.mark.parametrize(
    "matrix, corner, size",
    [
        ((1, 0, 0, 1), (0, 0), (64, 48)),
        ((-1, 0, 0, 1), (-1, 0), (64, 48)),
        ((1, 0, 0, -1), (0, -1), (64, 48)),
        ((-1, 0, 0, -1), (-1, -1), (64, 48)),
        ((0, 1, -1, 0), (-1, 0), (48, 64)),
        ((0, -1, 1, 0), (0, -1), (48, 64)),
        ((0, 1, 1, 0), (0, 0), (48, 64)),
        ((0, -1, -1, 0), (-1, -1), (48, 64)),
    ],
)
def test_frames_are_turned_and_mirrored_as_the_file_says(folder, matrix, corner, size):
    """The matrix of a track, (x, y) -> (a x + c y, b x + d y), tells where the bright corner at the top left comes."""
    frames = numbered(3)
    frames[:], frames[:, :24, :32] = 0, 255
    content = write(folder / "turned.mp4", frames, turn=90).read_bytes()
    place = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (number << 16 for number in matrix)
    turned = (
        content[:place]
        + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        + content[place + 36 :]
    )
    (picture,) = open_clip(turned, "v").shown([0.0], 0)
    across, down = corner
    assert picture.size == size
    pixels = np.asarray(picture).astype(int)[..., 0]
    assert pixels[down, across] > 250
    assert max(pixels[down, -1 - across], pixels[-1 - down, across]) < 5


def test_frames_that_need_no_detail_are_made_smaller(folder):
    path = write(folder / "large.mp4", numbered(4, 120, 160))
    clip = open_clip(path, "v")
    sizes = [picture.size for picture in clip.shown([0.0, 0.1, 0.2], 30)]
    assert sizes == [(40, 30)] * 3
    assert clip.size == clip.whole().size == (160, 120)
    assert numbers(path, [0.0, 0.1, 0.2], 4, least=30) == [0, 1, 2]


def test_a_truncated_file_is_refused(folder, file):
    noise = np.random.default_rng(0).integers(0, 256, (COUNT, 48, 64, 3), dtype=np.uint8)
    whole = write(folder / "fast.mp4", noise, options={"movflags": "faststart"}).read_bytes()
    assert "truncated" in refusal(whole[: len(whole) // 2])
    content = file.read_bytes()
    assert "truncated" in refusal(content[: len(content) // 2])
    cut = folder / "cut.avi"
    whole = write(folder / "noise.avi", noise, "mpeg4").read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    assert "cut.avi" in refusal(cut) and "truncated" in refusal(cut)


def test_what_is_no_video_is_refused_by_name(folder, tmp_path):
    (tmp_path / "text.mp4").write_text("no video at all")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "pictures").mkdir()
    assert "no video track, only audio" in refusal(write_sound(tmp_path / "sound.mp4"))
    assert "text.mp4" in refusal(tmp_path / "text.mp4")
    assert "is empty" in refusal(tmp_path / "empty.mp4")
    assert "holds no pictures" in refusal(tmp_path / "pictures")
    assert "no file 'gone.mp4' below" in refusal("gone.mp4")
    assert "is remote" in refusal("https://example.org/a.mp4")
    assert "value is empty" in refusal(" ")
    assert "0 bytes" in refusal(b"")
    assert "a dict with 'clip'" in refusal({"clip": 1})
    assert "fps=0" in refusal({"frames": numbered(2), "fps": 0})


@pytest.mark.parametrize(
    "array",
    [np.zeros((0, 4, 4, 3), np.uint8), np.zeros((2, 4, 4, 3)), np.zeros((2, 4, 4, 2), np.uint8)],
)
def test_arrays_of_other_kinds_are_refused(array):
    assert "is no video" in refusal(array)


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_animations_keep_their_times(folder, ending):
    pictures = [Image.fromarray(frame) for frame in numbered(4)]
    path = folder / f"moves.{ending}"
    lengths = [100, 500, 100, 300]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=lengths)
    with closing(open_clip(path, "v")) as clip:
        assert clip.duration == pytest.approx(1.0)
    assert numbers(path, [0.05, 0.15, 0.55, 0.65, 0.95], 4) == [0, 1, 2, 3]
    assert numbers(path.read_bytes(), [0.65], 4) == [2]
    assert "truncated" in refusal(path.read_bytes()[:-40])


def test_folders_are_read_in_the_order_of_their_numbers(tmp_path):
    for number, frame in enumerate(numbered(12)):
        Image.fromarray(frame).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").touch()
    clip = open_clip(tmp_path, "v", fps=10)
    assert clip.duration == pytest.approx(1.2)
    names = [path.name for path in clip.shown([0.1, 0.2, 1.1], 0)]
    assert names == ["frame1.png", "frame2.png", "frame11.png"]


def test_arrays_and_lists_have_the_rate_that_is_said():
    grey = numbered(4)[..., 0]
    for value in (grey, grey[..., None], list(grey), {"frames": grey}):
        assert numbers(value, [0.0, 0.15, 0.39], 4, fps=10) == [0, 1, 3]
    assert numbers({"frames": grey, "fps": 2}, [0.0, 0.6, 1.9], 4, fps=10) == [0, 1, 3]
    assert open_clip(grey, "v").duration == pytest.approx(4 / 25)
