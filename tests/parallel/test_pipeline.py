"""Pipelines of two and four processes against one process: losses, gradients, faults, a whole run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.parallel.launching import launch

pytestmark = [pytest.mark.dist, pytest.mark.slow]
TWO = ("pp2", "faults", "dropout", "bf16", "refused", "portable", "resumed", "curve2")
FOUR = ("pp4", "tp2pp2", "tp2pp2sp", "pp2dp2", "pp2ep2", "curve4")
LAYOUTS = ("pp2", *FOUR[:-1])


def results(folder: Path, ranks: int, names: tuple[str, ...]) -> dict[str, list[Any]]:
    ended = launch("tests.parallel.pipeline_cases", ranks, str(folder), *names, timeout=1500)
    assert [code for code, _ in ended] == [0] * ranks, ended[0][1][-3000:]
    return {
        name: [json.loads((folder / f"{name}.{rank}.json").read_text()) for rank in range(ranks)]
        for name in names
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Case -> what every rank found; one launch of two processes and one of four."""
    folder = tmp_path_factory.mktemp("pipeline")
    return results(folder, 2, TWO) | results(folder, 4, FOUR)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_losses_and_gradients_are_those_of_one_process(
    found: dict[str, list[Any]], layout: str
) -> None:
    for rank in found[layout]:
        for name, worst in rank.items():
            assert worst["loss"] < 1e-5 and worst["gradient"] < 1e-5, (name, worst)
            assert worst["missing"] == 0, "who has a gradient at all"
            assert worst["norm"] < 1e-5, "every parameter is counted once"
            assert worst["state"] < 1e-5, "after steps of gradient descent"


def test_faults_are_traced_and_left_out_as_on_one_process(found: dict[str, list[Any]]) -> None:
    for rank in found["faults"]:
        for name, case in rank.items():
            assert case["faults"] == case["expected"] != [], name
            assert case["gradient"] < 1e-5 and case["norm"] < 1e-4, name


def test_dropout_is_repeated_by_seed_step_and_place_also_where_activations_are_recomputed(
    found: dict[str, list[Any]],
) -> None:
    for rank in found["dropout"]:
        assert rank["again"] == rank["recomputed"] == 0.0 < rank["other"]


def test_bf16_stages_are_one_bf16_process(found: dict[str, list[Any]]) -> None:
    for rank in found["bf16"]:
        assert rank["loss"] < 1e-2 and rank["gradient"] < 1e-2


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("attention", "criterion 'peeking' reads attention weights"),
        ("rollout", "criterion 'sampling' trains on sequences"),
        ("unexpected", "criterion 'peeking' reads attention weights"),
        ("stages", "7 pipeline stages cannot share 6 layers"),
    ],
)
def test_what_cannot_work_is_refused_by_name_on_every_rank(
    found: dict[str, list[Any]], case: str, says: str
) -> None:
    for rank in found["refused"]:
        assert rank[case].startswith("PipelineError: ") and says in rank[case]


def test_a_trained_pipeline_is_a_whole_model_again(found: dict[str, list[Any]]) -> None:
    for rank in found["portable"]:
        assert rank["names"] and not rank["unknown"] and rank["kept"] > 0
        assert rank["values"] < 1e-5


def test_a_run_of_stages_is_resumed_and_evaluated_by_one_process(
    found: dict[str, list[Any]],
) -> None:
    for rank in found["resumed"]:
        assert rank["shared"] > 6 and rank["staged"] < 1e-4, "losses and norms of the steps"
        assert rank["resumed"] < 1e-4, "losses, validation and scores"


@pytest.mark.parametrize("case", ["curve2", "curve4"])
def test_a_mixed_run_has_the_loss_curve_of_one_process(
    found: dict[str, list[Any]], case: str
) -> None:
    for rank in found[case]:
        assert rank["steps"] == [8, 8] and all(rank["names"])
        assert rank["apart"] < 1e-4
        assert rank["last"] < rank["first"]
