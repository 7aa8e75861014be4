"""Layouts that cannot work are refused with the numbers, and the nearest that can."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofacore.config.model_section import ModelConfig
from ofacore.config.schema import ParallelConfig, RunConfig
from ofacore.config.sizes import PRESETS
from ofacore.config.train_section import TrainConfig
from ofacore.parallel.process_grid import LayoutError
from ofacore.setup.layout_check import layout_of, layout_problems, near


def problems(model: dict[str, Any] | None = None, samples: int = 64, **parallel: Any) -> str:
    config = RunConfig(
        model=ModelConfig(**{"preset": "base", **(model or {})}),
        parallel=ParallelConfig(**parallel),
        train=TrainConfig(samples=samples),
    )
    return "\n".join(map(str, layout_problems(config, {})))


@pytest.mark.parametrize(
    ("model", "parallel", "said"),
    [
        (
            {},
            {"nproc": 5, "tp": 5},
            "12 attention heads cannot be shared by --tp 5 processes; nearest that works: 4",
        ),
        (
            {"ffn": 100},
            {"nproc": 3, "tp": 3},
            "100 feed-forward units cannot be shared by --tp 3 processes; nearest",
        ),
        (
            {},
            {"nproc": 13, "pp": 13},
            "6 encoder + 6 decoder layers cannot be cut into --pp 13 stages; nearest",
        ),
        (
            {},
            {"nproc": 6, "tp": 4},
            "6 processes cannot be divided into groups of --tp 4 x --pp 1; start --nproc",
        ),
        ({}, {"nproc": 2, "ep": 2}, "the model has no experts"),
        (
            {"experts": "topk", "experts_number": 3},
            {"nproc": 4, "ep": 4},
            "3 experts leave some of --ep 4 ranks",
        ),
        (
            {"experts": "task", "experts_ffn": 10},
            {"nproc": 4, "tp": 4},
            "10 feed-forward units of an expert cannot be shared by --tp 4",
        ),
        ({}, {"nproc": 2, "sp": True}, "--sp needs --tp 2 or more"),
        ({}, {"nproc": 2, "pp": 2, "fsdp": True}, "--fsdp works with --pp 1 only"),
        (
            {"backbone": "other"},
            {"nproc": 2, "tp": 2},
            "backbone 'other' cannot be divided: --tp 2",
        ),
    ],
)
def test_the_numbers_and_the_way_out_are_named(
    model: dict[str, Any], parallel: dict[str, Any], said: str
) -> None:
    assert said in problems(model, **parallel)


def test_every_data_rank_needs_a_sample() -> None:
    assert "3 samples in a step leave some of 4 data ranks" in problems(samples=3, nproc=8, tp=2)
    assert not problems(samples=4, nproc=8, tp=2)


@given(st.sampled_from(sorted(PRESETS)), st.integers(1, 16), st.integers(1, 8), st.integers(1, 3))
def test_what_passes_divides_evenly(preset: str, tp: int, pp: int, copies: int) -> None:
    sizes = PRESETS[preset]
    fits = (
        sizes.heads % tp == 0
        and sizes.ffn % tp == 0
        and pp <= sizes.encoder_layers + sizes.decoder_layers
    )
    assert (problems({"preset": preset}, nproc=tp * pp * copies, tp=tp, pp=pp) == "") == fits


@given(st.integers(1, 40), st.sampled_from([12, 16, 3072]))
def test_the_nearest_sizes_work(size: int, whole: int) -> None:
    for each in near(size, lambda n: whole % n == 0).split(" or "):
        assert not each or whole % int(each) == 0


def test_a_launcher_says_how_many_processes_there_are() -> None:
    started = {"RANK": "0", "WORLD_SIZE": "8"}
    assert layout_of(ParallelConfig(tp=2), started).data == 4
    assert layout_of(ParallelConfig(nproc=8), started).world == 8
    with pytest.raises(LayoutError, match="--nproc 4, but 8 processes were started"):
        layout_of(ParallelConfig(nproc=4), started)
    assert layout_of(ParallelConfig(nproc=4), {"WORLD_SIZE": "8"}).world == 4
