"""What the user did wrong is told in one message with exit 2; a failure of the system exits with 1."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys

import pytest

from ofa_cli.failures import is_user_error, message
from ofa_cli.main import main
from ofacore.ground.errors import UserError
from ofacore.instruction import InstructionError
from ofacore.plan import PlanError
from ofacore.plugin import UnknownNameError
from ofacore.protocols import RowError


@pytest.mark.parametrize(
    "error",
    [
        UserError("x"),
        UnknownNameError("slot type", "X", []),
        InstructionError("x", "x", 0),
        PlanError("x", "x", 0),
        RowError("x"),
    ],
)
def test_errors_that_users_cause_are_known(error):
    assert is_user_error(error) and message(error) == str(error)


def test_an_error_of_that_name_from_elsewhere_is_a_failure():
    class RowError(ValueError):
        """Of somebody else."""

    assert not is_user_error(RowError("x"))
    assert not is_user_error(ValueError("x")) and message(ValueError("x")).startswith(
        "ValueError: x"
    )


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EACCES, "allow reading and writing it"), (errno.ENOSPC, "make room")],
)
def test_a_disk_that_is_protected_or_full_is_the_users_to_mend(number: int, remedy: str) -> None:
    error = OSError(number, os.strerror(number), "runs/x")
    assert is_user_error(error)
    assert (
        message(error)
        == f"'runs/x' cannot be used: {os.strerror(number)}; {remedy}, or choose another place"
    )


def test_a_bad_instruction_exits_with_2_and_a_caret(ofa):
    done = ofa("explain", "[TEXT:a] > [TEXT:b]", code=2)
    assert (
        done.stdout == ""
        and "^" in done.stderr
        and done.stderr.startswith("error: line 1, column ")
    )


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["plugin"], "did you mean 'plugins'?"),
        (["plugins", "show", "txet"], "did you mean 'text'?"),
        (["eval", "nowhere"], "no run folder 'nowhere'"),
        (["infer", "nowhere", "[TEXT:a] -> [TEXT:b]"], "no run folder 'nowhere'"),
        (["infer", ".", "[TEXT:a] -> [TEXT:b]", "--data", "a"], "name=value"),
        (["infer", ".", "[TEXT:a] -> [TEXT:b]", "--data", "a=1", "--data", "a=2"], "'a' twice"),
        (["infer", ".", "[TEXT:a] -> [TEXT:b]", "--set", "beams=3"], "did you mean 'beam'?"),
        (
            ["infer", ".", "[TEXT:a] -> [TEXT:b]", "--closed-set", "yes"],
            "--closed-set 'yes' is not of the form",
        ),
        (["train", "other.yaml", "--all"], "ofa train starter --all"),
        (["train"], "Missing argument"),
        (
            ["data", "check", "nowhere.csv", "--instruction", "[TEXT:a] -> [TEXT:b]"],
            "no file nowhere.csv",
        ),
        (["data", "fetch", "no_such_task"], "unknown task preset 'no_such_task'"),
        (["--colour"], "No such option"),
    ],
)
def test_a_mistake_exits_with_2_and_says_what_to_do(ofa, arguments, part):
    done = ofa(*arguments, code=2)
    assert done.stdout == "" and part in done.stderr


def test_debug_shows_the_traceback_and_keeps_the_exit_code(ofa):
    assert "Traceback" in ofa("eval", "nowhere", "--debug", code=2).stderr


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (EOFError("No data left in file"), "CutOffError: No data left in file"),
        (EOFError(), "CutOffError: a file ends before its data do"),
    ],
)
def test_a_failure_of_the_system_exits_with_1(error, told, monkeypatch, capsys):
    import ofa_cli.commands.doctor as doctor

    def fail() -> dict[str, str]:
        raise error

    monkeypatch.setattr(doctor, "_machine", fail)
    with pytest.raises(SystemExit) as caught:
        main(["doctor"])
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"failure: {told} (--debug shows where)\n"


@pytest.mark.parametrize(("setting", "told"), [("on", "accelerated"), ("off", "not accelerated")])
def test_doctor_goes_by_what_overrules_the_processor(setting, told, monkeypatch, capsys):
    monkeypatch.setenv("OFA_BF16", setting)
    with contextlib.suppress(
        SystemExit
    ):  # with 1, where something of this environment needs attention
        main(["doctor", "--json"])
    assert json.loads(capsys.readouterr().out)["bf16"].startswith(
        f"{told} (OFA_BF16={setting}; units: "
    )


def test_a_setting_of_the_environment_that_means_nothing_is_told(monkeypatch, capsys):
    monkeypatch.setenv("OFA_BF16", "yes")
    with pytest.raises(SystemExit) as caught:
        main(["doctor"])
    assert caught.value.code == 2
    assert "OFA_BF16='yes': expected on or off" in capsys.readouterr().err


ALONE_IN_A_GROUP = """
import torch.distributed as dist
from ofa_cli.main import main
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
try:
    main(["explain", "[TEXT:a] > [TEXT:b]"])
except SystemExit as end:
    print("left by SystemExit", end.code)
"""


def test_a_process_alone_in_its_group_may_handle_the_exit() -> None:
    command = [sys.executable, "-c", ALONE_IN_A_GROUP]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "left by SystemExit 2" in done.stdout
