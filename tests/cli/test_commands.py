"""The commands that need no model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ofacore
from ofa_cli.commands.infer import check_names, parse_data
from ofa_cli.lazy import COMMANDS
from ofa_cli.output import number, print_json
from ofacore.ground.errors import UserError
from ofacore.plan import compile_task
from ofacore.plugin import Registry
from ofacore.plugin.first_party import COMMAND_DISTRIBUTIONS


def test_help_lists_every_command(ofa):
    lines = ofa("--help").stdout.splitlines()
    assert all(any(line.split()[:1] == [name] for line in lines) for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(ofa, command):
    out = ofa(command, "--help").stdout
    assert out.startswith(f"Usage: ofa {command}") and "╭" not in out


def test_version(ofa):
    assert ofa("--version").stdout == f"{ofacore.__version__}\n"


def test_plugins_list_as_json_has_a_row_for_every_plugin(ofa):
    rows = json.loads(ofa("plugins", "list", "--json").stdout)
    assert {tuple(row) for row in rows} == {
        ("name", "distribution", "version", "contract", "status", "problem", "slots")
    }
    assert [(row["name"], row["distribution"]) for row in rows] == [
        (row.name, row.distribution) for row in Registry.discover().rows
    ]


def test_plugins_list_shows_the_reason_of_a_bad_plugin(ofa):
    out = ofa("plugins", "list", OFA_PLUGIN_DEV="ghost=no_such_module:MANIFEST").stdout
    assert (
        "broken" in out
        and "ghost (dev:ghost): cannot be imported from 'no_such_module:MANIFEST'" in out
    )


@pytest.mark.parametrize("place", ["first", "last"])
def test_no_plugins_leaves_the_core_alone(ofa, place):
    arguments = ["plugins", "list", "--json"]
    arguments = ["--no-plugins", *arguments] if place == "first" else [*arguments, "--no-plugins"]
    rows = json.loads(ofa(*arguments).stdout)
    used = [
        row for row in rows if row["status"] == "ok" and row["name"] not in COMMAND_DISTRIBUTIONS
    ]
    assert [row["name"] for row in used] == ["core"]


def test_plugins_show_tells_attributes_and_options(ofa):
    out = ofa("plugins", "show", "core").stdout
    assert (
        "component plugin of ofacore" in out
        and "label_smoothing (float, 0 to 1, default 0.0)  Share of" in out
    )


def test_tasks_list_as_json(ofa):
    tasks = json.loads(ofa("tasks", "list", "--json").stdout)
    assert [task["name"] for task in tasks] == sorted(Registry.discover().presets())
    assert {tuple(task) for task in tasks} <= {
        ("name", "plugin", "instructions", "metrics", "data")
    }


def test_tasks_list_says_so_when_there_are_none(ofa):
    assert ofa("--no-plugins", "tasks", "list").stdout.startswith("No task preset is installed")
    assert json.loads(ofa("--no-plugins", "tasks", "list", "--json").stdout) == []


def test_explain_shows_the_plan_as_text_and_as_json(ofa):
    instruction = "say [TEXT:a] -> [TEXT:b]"
    assert "[TEXT:b]" in ofa("explain", instruction).stdout
    assert "FLOPs" in ofa("explain", "--full", f"{instruction} ||| {instruction}").stdout
    (template,) = json.loads(ofa("explain", instruction, "--json").stdout)["templates"]
    assert [slot["name"] for slot in template["slots"]] == ["0", "a", "b"]
    assert (
        "criterion/cross_entropy  label_smoothing=0.0, drop_worst_ratio=0.0"
        in ofa("explain", instruction).stdout
    )


def test_an_unknown_first_party_type_names_the_distribution(ofa):
    done = ofa("--no-plugins", "explain", "[TEXT:a] -> [TEXT:b]", code=2)
    assert "ofa-modality-text" in done.stderr and "^" in done.stderr


def test_the_schema_is_a_json_schema_of_every_section(ofa):
    schema = json.loads(ofa("config", "schema").stdout)
    assert {"tasks", "model", "train"} <= set(schema["properties"])


def test_json_output_holds_arrays_as_lists_and_missing_numbers_as_a_dash(capsys):
    print_json({"boxes": np.ones((1, 2)), "path": Path("a")})
    assert json.loads(capsys.readouterr().out) == {"boxes": [[1.0, 1.0]], "path": "a"}
    assert (number(None), number(0.12345)) == ("-", "0.123")


def test_data_arguments_become_a_row():
    assert parse_data(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}


def test_data_for_no_slot_is_refused_and_columns_are_known():
    plan = compile_task(
        "t", ["[TEXT:first] -> [TEXT:b]"], Registry.discover(), columns={"first": "word"}
    )
    check_names({"first": "x", "b": "y", "word": "z"}, plan)
    with pytest.raises(
        UserError, match="--data 'frist': the instruction has no such slot; did you mean 'first'"
    ):
        check_names({"frist": "x"}, plan)


def test_columns_that_attributes_name_are_data_too():
    plan = compile_task("t", ["[TEXT:a] -> [MOTION:m,length=frames]"], Registry.discover())
    check_names({"a": "x", "frames": "12"}, plan)
    with pytest.raises(UserError, match="--data 'frame': the instruction has no such slot"):
        check_names({"frame": "12"}, plan)


def test_an_instruction_without_a_source_is_no_option(ofa):
    assert "source  (empty)" in ofa("explain", "-> [TEXT:a]").stdout


def test_a_shown_configuration_is_read_back_the_same(ofa, tmp_path):
    file, rows = tmp_path / "run.yaml", tmp_path / "rows.csv"
    rows.write_text("a,b\n1,2\n")
    file.write_text(
        f"tasks:\n  echo: {{instruction: '[TEXT:a] -> [TEXT:b]', data: {{train: {rows}}}}}\n"
    )
    shown = ofa("config", "show", str(file), "--set", "train.steps=7").stdout
    assert "steps: 7" in shown and "vocab_size: 4096" in shown
    again = tmp_path / "again.yaml"
    again.write_text(shown)
    assert ofa("config", "show", str(again)).stdout == shown
    assert ofa("config", "check", str(again)).stdout == "ok: 1 task\n"
    assert ofa("config", "show", str(file), "--no-defaults").stdout.count("\n") < 10


def test_every_problem_of_a_configuration_is_told_at_once(ofa, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("train: {step: 3, samples: none}\nmodle: {}\n")
    done = ofa("config", "check", str(file), code=2)
    assert all(
        part in done.stderr
        for part in ("did you mean 'steps'?", "train.samples", "did you mean 'model'?")
    )


def test_a_task_that_cannot_be_planned_is_told_with_its_place(ofa, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "tasks:\n  echo:\n    instruction: '[TEXT:a] -> [TXT:b]'\n    data: {train: gone.csv}\n"
    )
    done = ofa("config", "check", str(file), code=2)
    assert f"{file}:3" in done.stderr and "TXT" in done.stderr and "gone.csv" in done.stderr
