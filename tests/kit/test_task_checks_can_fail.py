"""Every check of a task family finds the fault that it is for, and says what to do."""

from __future__ import annotations

import pytest

from ofa_kit import TaskConformance
from ofa_kit.declaration import DeclarationChecks
from ofacore.plugin import MetricUse
from tests.kit.faulty import tasks
from tests.kit.faulty.tasks import family

PROBE = "ofa_kit.probe:MANIFEST"


class Good(TaskConformance):
    plugin = tasks.MANIFEST
    requires = (PROBE,)


CASES = {
    "instructions_parse": [
        (
            {"instructions": ("[PROBE:a -> [PROBE:b]",)},
            "preset 'next': this instruction cannot be read",
        ),
        ({"instructions": ()}, "give at least one"),
    ],
    "presets_plan": [
        ({"instructions": ("[PROB:a] -> [PROBE:b]",)}, "cannot be planned: .*PROBE"),
        ({"instructions": ("[PROBE:a,tone=2] -> [PROBE:b]",)}, "no attribute 'tone'"),
    ],
    "presets_are_described": [({"doc": ""}, "say in a few words")],
    "columns_are_described": [
        ({"columns": {"a": "a label", "bb": "x"}}, "the slot 'b' is not described"),
        ({"columns": {"a": "a label", "b": ""}}, "empty description"),
    ],
    "metrics_exist": [
        ({"metrics": (MetricUse("touch", "a"),)}, "no learned target: "),
        (
            {"metrics": (MetricUse("touch", "b", {"speed": 1}),)},
            r"options \['speed'\]; it declares",
        ),
    ],
    "transforms_exist": [
        ({"transforms": {"a": ("lowre",)}}, "column 'a': .*lower"),
        ({"row_transforms": {"budget": {}}}, "row transform 'budget'.*unknown row_transform"),
    ],
    "closed_sets_belong_to_targets": [
        ({"closed_sets": {"a": (0, 1)}}, "no learned target of that name"),
        ({"closed_sets": {"b": (1,)}}, "two different values"),
    ],
    "generation_options_are_valid": [
        ({"generation": {"beams": 3}}, "beams.*beam"),
        ({"options": {"promt_slot": "a"}}, "no task option .*prompt_slot"),
        ({"weight": 0.0}, "never learns"),
    ],
    "starter_data_are_declared": [
        ({"data": "tests.kit.faulty.tasks:nothing"}, "correct the string"),
        ({"data": "tests.kit.faulty.tasks:NOT_CALLABLE"}, "is no function"),
        ({"baseline_doc": ""}, "baseline and baseline_doc, or neither"),
        (
            {"data": "", "baseline": "", "baseline_doc": "", "starter": True},
            "no data; name its function",
        ),
    ],
    "trains_two_steps": [
        ({"columns": {"a": "x", "b": "x"}, "closed_sets": {"b": (7, 8)}}, "do not train .*set rows")
    ],
}
FLAT = [
    (check, number, *case) for check, cases in CASES.items() for number, case in enumerate(cases)
]


def run(suite, check, bench, request):
    arguments = [request.getfixturevalue("tmp_path")] if check == "trains_two_steps" else []
    getattr(suite, f"test_{check}")(bench, *arguments)


@pytest.mark.parametrize(
    ("check", "number", "changes", "message"), FLAT, ids=[f"{c}-{n}" for c, n, *_ in FLAT]
)
def test_a_fault_is_found_by_its_check(check, number, changes, message, request):
    suite = type("Faulty", (Good,), {"plugin": family(**changes)})()
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        run(suite, check, suite.bench(), request)


@pytest.mark.parametrize("check", CASES)
def test_a_family_without_fault_passes(check, request):
    run(Good(), check, Good().bench(), request)


def test_every_check_has_a_faulty_family():
    own = set(dir(TaskConformance)) - set(dir(DeclarationChecks))
    assert {name.removeprefix("test_") for name in own if name.startswith("test_")} == set(CASES)


def test_a_family_is_a_task_manifest():
    suite = type("Faulty", (Good,), {"plugin": "ofacore.components.manifest:MANIFEST"})()
    with pytest.raises(pytest.fail.Exception, match="TaskConformance needs a TaskManifest"):
        suite.bench()
