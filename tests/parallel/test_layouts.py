"""Every layout trains as one process does: losses, gradients, norms, weights, optimiser state, faults, decoding."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.parallel.launching import launch
from tests.parallel.whole_run import run, samples_seen

pytestmark = [pytest.mark.dist, pytest.mark.slow, pytest.mark.timeout(1500)]

TWO = (
    "tensor",
    "sequence",
    "data",
    "experts",
    "fsdp",
    "muon, tensor",
    "muon, zero",
    "muon, fsdp",
    "muon, experts",
    "adamw, sequence",
    "adamw, zero",
    "bf16, zero",
    "bf16, sequence",
    "mixed modalities",
    "collective adapter",
    "nan",
    "memory",
    "memory, contrast",
    "dropout",
    "dropout, sequence",
    "decoding",
    "decoding, fsdp",
    "cross-entropy",
    "different start",
    "marks",
    "run, go on",
    "run, tensor",
    "exact, zero",
    "exact, fsdp",
    "exact, tensor",
    "exact, pipeline",
    "exact, experts",
)
FOUR = (
    "tensor and replicas",
    "tensor and data",
    "tensor and experts",
    "muon, tensor and zero",
    "run",
    "run, begin",
)
TOLERANCES = {"loss": 1e-5, "gradient": 1e-5, "norm": 2e-5, "state": 1e-6, "missing": 0.0}

Results = Callable[[str], list[Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the cases write; runs of one process stand beside them."""
    return tmp_path_factory.mktemp("layouts")


def results_of(folder: Path, ranks: int, names: tuple[str, ...]) -> Results:
    done = launch("tests.parallel.layout_launch", ranks, str(folder), *names, timeout=1200)
    told = "\n".join(
        f"rank {rank}: {output[-3000:]}" for rank, (code, output) in enumerate(done) if code
    )

    def results(name: str) -> list[Any]:
        files = [folder / f"{name}.{rank}.json" for rank in range(ranks)]
        assert all(file.exists() for file in files), told
        return [json.loads(file.read_text()) for file in files]

    return results


@pytest.fixture(scope="module")
def two(folder: Path, four: Results) -> Results:
    return results_of(folder, 2, TWO)


@pytest.fixture(scope="module")
def four(folder: Path) -> Results:
    return results_of(folder, 4, FOUR)


def check_equal_to_plain(results: list[dict[str, dict[str, float]]]) -> None:
    for found in results:
        for model, differences in found.items():
            for what, value in differences.items():
                assert value <= TOLERANCES[what], (model, what, value)


@pytest.mark.parametrize("name", ["tensor", "sequence", "data", "experts"])
def test_two_processes_equal_plain_training(two: Results, name: str) -> None:
    check_equal_to_plain(two(name))


def test_fsdp_equals_plain_training_but_updates_what_took_no_part(two: Results) -> None:
    check_equal_to_plain(
        [{m: {**d, "missing": 0.0} for m, d in found.items()} for found in two("fsdp")]
    )


@pytest.mark.parametrize("name", ["tensor and replicas", "tensor and data", "tensor and experts"])
def test_four_processes_equal_plain_training(four: Results, name: str) -> None:
    check_equal_to_plain(four(name))


@pytest.mark.parametrize(
    "name",
    ["muon, tensor", "muon, zero", "muon, fsdp", "muon, experts", "adamw, sequence", "adamw, zero"],
)
def test_optimisers_do_as_on_one_process_and_take_over_its_state(two: Results, name: str) -> None:
    for found in two(name):
        assert max(found.values()) < 1e-4, found


def test_tensor_groups_with_shared_optimiser_state(four: Results) -> None:
    for found in four("muon, tensor and zero"):
        assert max(found.values()) < 1e-4, found


@pytest.mark.parametrize("name", ["bf16, zero", "bf16, sequence"])
def test_rounded_weights_are_equal_on_all_processes(two: Results, name: str) -> None:
    for found in two(name):
        assert found["ranks"] == 0.0
        assert max(found.values()) < 0.1


@pytest.mark.parametrize("layout", ["zero", "fsdp", "tensor", "pipeline", "experts"])
def test_bf16_runs_return_save_and_score_the_same_fp32_weights(two: Results, layout: str) -> None:
    for found in two(f"exact, {layout}"):
        for what in ("loaded", "resumed", "frozen", "lost", "still"):
            assert found[what] == 0.0, (what, found)
        assert found["loss"] < 1e-5 and found["loss again"] < 1e-5, found


@pytest.mark.parametrize("name", ["mixed modalities", "collective adapter"])
def test_a_rank_with_text_and_one_with_pictures_give_the_gradient_of_both(
    two: Results, name: str
) -> None:
    check_equal_to_plain([{"": found} for found in two(name)])


@pytest.mark.parametrize("kind", ["nan", "memory", "memory, contrast"])
def test_every_rank_hears_of_a_fault_on_one(two: Results, kind: str) -> None:
    for found in two(kind):
        assert found["heard"] == found["told"]
        assert found["told"]["faults"]
        assert found["gradient"] < 1e-5


@pytest.mark.parametrize("name", ["dropout", "dropout, sequence"])
def test_dropout_leaves_shared_gradients_equal_on_the_tensor_group(two: Results, name: str) -> None:
    for found in two(name):
        assert found["unequal"] < 1e-6


@pytest.mark.parametrize("name", ["decoding", "decoding, fsdp"])
def test_decoding_and_logits_are_those_of_one_process(two: Results, name: str) -> None:
    for found in two(name):
        assert max(found.values()) < 1e-5


def test_cross_entropy_over_split_rows(two: Results) -> None:
    for found in two("cross-entropy"):
        assert max(found.values()) < 1e-5


def test_a_process_that_was_started_differently_is_named(two: Results) -> None:
    for found in two("different start"):
        assert found["type"] == "DifferentStartError"
        assert (
            "process 1 has another configuration than process 0: train.seed is 1, not 0"
            in found["message"]
        )


def test_no_parameter_is_split_and_partial_at_once(two: Results) -> None:
    found = two("marks")[0]
    assert found["split"] and found["partial"] and not found["both"]


def test_runs_stop_on_some_processes_and_go_on_on_others(
    folder: Path, two: Results, four: Results
) -> None:
    """Losses of every step, validation and scores of one process, of four, of two, and of four, then two, then one;
    there, all processes together take the samples of one, in each step."""
    with samples_seen() as expected:
        alone = run(folder / "alone", 6)
    with samples_seen() as last:
        resumed = run(folder / "resumed", 6, resume=True)
    taken = {number: Counter(samples) for number, samples in last.items()}
    for rank in (*four("run, begin"), *two("run, go on")):
        for number, samples in rank["seen"].items():
            taken[int(number)] = taken.get(int(number), Counter()) + Counter(samples)
    assert taken == {number: Counter(samples) for number, samples in expected.items()}
    for others in (resumed, four("run")[0], two("run, tensor")[0]):
        assert others.keys() >= alone.keys()
        for name, value in alone.items():
            assert math.isclose(others[name], value, abs_tol=1e-4), (name, value, others[name])
