"""Adapters of clips against the adapters of images, and against a convolution of torch."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from ofa_modality_video.adapter import VideoImageSequence
from ofa_modality_video.steps import shares
from ofa_modality_video.tubelet import VideoTubelet
from ofacore.plugin import PluginError, Registry
from ofacore.protocols import BuildContext

HIDDEN = 12
REGISTRY = Registry.discover()


def context(name, **options):
    declared = REGISTRY.component("adapter", name).options
    nothing = SimpleNamespace()
    return BuildContext(HIDDEN, {**declared, **options}, nothing, nothing)


def features(*shapes):
    rng = np.random.default_rng(0)
    pixels = [
        rng.integers(0, 256, frames * h * w * 3, dtype=np.uint8) for frames, h, w, *_ in shapes
    ]
    count = sum(shape[0] for shape in shapes)
    return {
        "pixels": torch.from_numpy(np.concatenate(pixels)),
        "statistics": torch.zeros(count, dtype=torch.int64),
    }


@pytest.mark.parametrize("name", ["image_conv", "image_patch_embed"])
def test_a_bare_sequence_is_its_frames_as_pictures(name):
    torch.manual_seed(0)
    adapter = VideoImageSequence(context("video_image_sequence", frame_adapter=name, bare=True))
    shapes = [(3, 16, 16), (1, 16, 24)]
    given = features(*shapes)
    states = adapter.embed(given, shapes)
    pictures = [(16, 16)] * 3 + [(16, 24)]
    assert torch.equal(states, adapter.frames.embed(given, pictures))
    assert len(states) == sum(adapter.length(shape, adapter.options) for shape in shapes)


def test_equal_frames_differ_by_their_time_alone():
    adapter = VideoImageSequence(context("video_image_sequence"))
    frame = features((1, 16, 16))["pixels"]
    given = {"pixels": frame.repeat(3), "statistics": torch.zeros(3, dtype=torch.int64)}
    states = adapter.embed(given, [(3, 16, 16)]).view(3, 4, HIDDEN)
    moved = states - states[:1]
    assert float(moved[1:].detach().abs().min()) > 0
    assert torch.allclose(moved, moved[:, :1].expand_as(moved), atol=1e-5)


def test_pooled_steps_are_means_of_neighbours():
    adapter = VideoImageSequence(context("video_image_sequence"))
    given = features((6, 16, 16))
    whole = adapter.embed(given, [(6, 16, 16)]).view(6, 4, HIDDEN)
    pooled = adapter.embed(given, [(6, 16, 16, 3)]).view(3, 4, HIDDEN)
    assert torch.allclose(pooled, whole.view(3, 2, 4, HIDDEN).mean(1), atol=1e-5)


@pytest.mark.parametrize("frames, steps", [(5, 2), (7, 7), (8, 3), (1, 1)])
def test_every_frame_counts_in_one_step(frames, steps):
    found = shares(frames, steps)
    assert found.sum(axis=1) == pytest.approx(np.ones(steps))
    assert ((found > 0).sum(axis=0) == 1).all()


def test_tubelets_are_a_convolution():
    adapter = VideoTubelet(context("video_tubelet", depth=2, patch=4))
    for part in (adapter.time, adapter.rows, adapter.columns):
        torch.nn.init.zeros_(part.project.weight)
        torch.nn.init.zeros_(part.project.bias)
    adapter.norm = torch.nn.Identity()
    shape = (5, 8, 10)
    given = features(shape)
    states = adapter.embed(given, [shape])
    video = given["pixels"].view(*shape, 3).permute(3, 0, 1, 2)[None].float() / 127.5 - 1.0
    video = functional.pad(video, (0, 2, 0, 0))
    video = torch.cat([video, video[:, :, -1:]], dim=2)
    kernel = adapter.project.weight.view(HIDDEN, 2, 4, 4, 3).permute(0, 4, 1, 2, 3)
    wanted = functional.conv3d(video, kernel, adapter.project.bias, stride=(2, 4, 4))
    assert torch.allclose(states, wanted[0].flatten(1).T, atol=1e-4)


def test_frame_adapters_are_checked():
    with pytest.raises(PluginError, match="image_cnv"):
        VideoImageSequence(context("video_image_sequence", frame_adapter="image_cnv"))
    with pytest.raises(PluginError, match="takes clips"):
        VideoImageSequence(context("video_image_sequence", frame_adapter="video_tubelet"))
    with pytest.raises(PluginError, match="no option 'strid'"):
        VideoImageSequence(context("video_image_sequence", frame_options={"strid": 4}))


def test_stored_options_need_no_file_and_no_default():
    options = context(
        "video_image_sequence", frame_adapter="image_vit", frame_options={"pretrained": "w.pth"}
    ).options
    stored = VideoImageSequence.stored_options(options)
    declared = REGISTRY.component("adapter", "image_vit").options
    assert stored["frame_options"] == {**declared, "pretrained": ""}
