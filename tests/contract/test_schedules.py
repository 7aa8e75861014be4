"""A schedule may know how long the run is; one that does not ask is built as before."""

from __future__ import annotations

import pytest

from ofa_kit import ScheduleConformance
from ofacore import Generalist, Task
from ofacore.ground.errors import UserError
from ofacore.plugin import CONTRACT, Component, ComponentManifest, Registry
from tests.contract.test_losses import ROWS, SIZES

KNOWN: list[int] = []


class Halves:
    """The first task in the first half of the run, then the second."""

    def __init__(self, tasks, samples, seed, options, context):
        self.tasks, self.samples, self.steps = list(tasks), samples, context.steps
        KNOWN.append(context.steps)

    def counts(self, step):
        place = min(len(self.tasks) - 1, len(self.tasks) * step // self.steps)
        return {self.tasks[place]: self.samples}


class Old:
    """Written before runs told their length."""

    def __init__(self, tasks, samples, seed, options):
        self.tasks, self.samples = list(tasks), samples

    def counts(self, step):
        return {self.tasks[step % len(self.tasks)]: self.samples}


MANIFEST = ComponentManifest(
    "halves",
    CONTRACT,
    (
        Component("schedule", "halves", f"{__name__}:Halves", "One task after the other."),
        Component("schedule", "old", f"{__name__}:Old", "In turn."),
    ),
)


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("OFA_PLUGIN_DEV", "halves=tests.contract.test_schedules:MANIFEST")
    return Registry.discover()


def seen(registry: Registry, folder, schedule: dict, steps: int = 4) -> list[set[str]]:
    """Tasks of every step of a run."""
    tasks = [Task(name, f"{name} [TEXT:a] -> [TEXT:b]", train=ROWS) for name in ("one", "two")]
    model = Generalist.create(tasks, registry=registry, **SIZES)
    model.fit(steps=steps, samples=4, out=folder, precision="fp32", schedule=schedule, log_every=1)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [
        {name for name in ("one", "two") if f'"train/{name}/b"' in line}
        for line in lines
        if "train/" in line
    ]


def test_a_schedule_knows_the_number_of_steps(plugged, tmp_path):
    assert seen(plugged, tmp_path / "run", {"name": "halves"}) == [
        {"one"},
        {"one"},
        {"two"},
        {"two"},
    ]
    assert set(KNOWN) == {4}


def test_one_that_does_not_ask_is_built_as_before(plugged, tmp_path):
    assert seen(plugged, tmp_path / "run", {"name": "old"}, steps=2) == [{"one"}, {"two"}]


def test_a_curriculum_takes_shares_of_the_run(plugged, tmp_path):
    options = {"start": {"two": 0.5}, "until": {"one": 0.75}}
    assert seen(plugged, tmp_path / "run", {"name": "curriculum", "options": options}) == [
        {"one"},
        {"one"},
        {"one", "two"},
        {"two"},
    ]
    with pytest.raises(
        UserError, match=r"options\.until\.one=-1: must be a number of steps, or a share"
    ):
        seen(plugged, tmp_path / "bad", {"name": "curriculum", "options": {"until": {"one": -1}}})


@pytest.mark.parametrize("name", ["halves", "old"])
def test_the_kit_builds_both(name):
    suite = type("Suite", (ScheduleConformance,), {"plugin": MANIFEST, "schedule": name})()
    suite.test_counts_sum_to_the_samples()
    suite.test_is_pure_in_seed_and_step()
