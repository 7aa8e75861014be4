"""Tasks of the built-in run whose data cannot be had are left out, and told."""

from __future__ import annotations

import pytest

from ofa_kit import ClosedRegistry
from ofacore.config import starter_config
from ofacore.config.schema import RunConfig
from ofacore.ground.errors import UserError
from ofacore.plan.planned_run import PlannedRun
from ofacore.plugin import Registry, TaskManifest, TaskPreset
from ofacore.setup.datasets import open_available

TEXT = "ofa_modality_text.manifest:MANIFEST"


def there(seed: int = 0) -> dict[str, list[dict[str, str]]]:
    return {"train": [{"a": "x", "b": "y"}], "test": []}


def absent(seed: int = 0) -> dict[str, list[dict[str, str]]]:
    raise UserError("the source is not there for this system")


PRESETS = [
    TaskPreset(name, ("[TEXT:a] -> [TEXT:b]",), data=f"{__name__}:{name}")
    for name in ("there", "absent")
]
MANIFEST = TaskManifest(
    "halves", (2, 0), tuple(PRESETS), doc="Data that is there, and data that is not."
)


def run_of(*names: str, optional: bool = True) -> PlannedRun:
    tasks = {name: {"preset": name, "data": {"optional": optional}} for name in names}
    registry = ClosedRegistry().register(TEXT, MANIFEST)
    return PlannedRun.of(RunConfig.model_validate({"tasks": tasks}), registry)


def test_a_task_without_data_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    run, data = open_available(run_of("absent", "there"))
    assert list(data) == list(run.plans) == list(run.config.tasks) == ["there"]
    told = "task 'absent' is left out: the source is not there for this system"
    assert told in caplog.text


def test_without_any_data_and_where_it_is_asked_for_it_is_an_error() -> None:
    for names, optional in ((("absent",), True), (("there", "absent"), False)):
        with pytest.raises(UserError, match="the source is not there"):
            open_available(run_of(*names, optional=optional))


def test_tasks_of_the_starter_are_optional() -> None:
    tasks = starter_config(Registry.discover()).tasks.values()
    assert tasks and all(task.data.optional for task in tasks)
