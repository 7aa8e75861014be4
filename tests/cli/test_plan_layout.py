"""``ofa plan-layout``."""

from __future__ import annotations

import json

import pytest


def test_the_command_prints_layouts_and_json(ofa):
    arguments = ["plan-layout", "--preset", "tiny", "--gpus", "2", "--global-positions", "6400"]
    assert "computed, not measured" in ofa(*arguments).stdout
    report = json.loads(ofa(*arguments, "--json").stdout)
    best = report["layouts"][0]
    assert sum(best["shares of time"].values()) == pytest.approx(1)
    assert best["tp"] * best["pp"] * best["dp"] == 2
    assert "no preset" in ofa("plan-layout", "--preset", "lage", "--gpus", "2", code=2).stderr
    assert "--memory" in ofa(*arguments, "--memory", "0", code=2).stderr


@pytest.mark.parametrize(
    "given",
    [
        ("--tflops", "-5"),
        ("--tflops", "nan"),
        ("--memory", "nan"),
        ("--efficiency", "nan"),
        ("--efficiency", "7"),
        ("--network", "inf"),
        ("--experts", "-1"),
        ("--show", "-1"),
    ],
)
def test_numbers_that_no_machine_has_are_refused(ofa, given):
    assert given[0] in ofa("plan-layout", "--preset", "tiny", "--gpus", "2", *given, code=2).stderr
