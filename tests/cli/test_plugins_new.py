"""``ofa plugins new`` writes packages that are whole, small and clean, or nothing."""

from __future__ import annotations

import ast
import os
import tomllib
from pathlib import Path

import pytest

from ofa_kit.scaffold.components import COMPONENTS
from ofa_kit.scaffold.names import checked_names
from ofa_kit.scaffold.package import new_package, request_of
from ofa_kit.scaffold.writing import write_package
from ofacore.plugin import Registry, UserError
from tests.warm import run_program

KINDS = {
    "modality": ("modality", "heart-rate", "", ""),
    "modality-slot": ("modality", "pulse2", "BEAT", ""),
    "grid": ("modality", "heatmap", "", "", True),
    "task": ("task", "opposites", "", ""),
    **{kind: ("component", f"my-{kind}", "", kind) for kind in COMPONENTS},
}
LIMITS = {"modality": 60, "grid": 40, "schedule": 30, "criterion": 30}


@pytest.fixture(scope="module")
def registry():
    return Registry.discover()


@pytest.fixture(scope="module")
def packages(tmp_path_factory, registry):
    """Every kind of package by name, installed in one folder as far as discovery can tell."""
    root = tmp_path_factory.mktemp("packages")
    folders = {}
    for name, words in KINDS.items():
        request = request_of(*words)
        folders[name] = root / request.names.distribution
        write_package(folders[name], new_package(request, registry))
        _announce(folders[name], root / "site")
    return folders


def _announce(folder: Path, site: Path) -> None:
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in project["dependencies"])
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(head + needs)
    groups = project["entry-points"].items()
    lines = (
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items())
        for group, entries in groups
    )
    (info / "entry_points.txt").write_text("".join(lines))
    for package in folder.glob("ofa_*"):
        (site / package.name).symlink_to(package)


def _run(packages, *program, cwd=None):
    site = next(iter(packages.values())).parent / "site"
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OFA_CACHE": str(site.parent / "cache"),
    }
    done = run_program(program, env=environment, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_package_is_clean_by_its_own_settings(packages):
    root = next(iter(packages.values())).parent
    _run(packages, "-m", "ruff", "check", "--no-cache", str(root))
    _run(packages, "-m", "ruff", "format", "--no-cache", "--check", str(root))


@pytest.mark.slow
def test_packages_are_typed(packages, tmp_path):
    """All in one run, by the settings that they share."""
    settings = ["--config-file", str(packages["modality"] / "pyproject.toml")]
    sources = [str(path) for folder in packages.values() for path in folder.glob("ofa_*")]
    _run(packages, "-m", "mypy", "--cache-dir", str(tmp_path), *settings, *sources)


def test_every_package_passes_the_static_check_strictly(packages):
    for name, words in KINDS.items():
        told = _run(packages, "-m", "ofa_cli.main", "plugins", "check", words[1], "--strict")
        assert told == "1 checked, 0 problems, 0 warnings\n", name


def _lines_of_code(file: Path) -> int:
    """Lines that hold statements: no blank lines, comments, imports or documentation."""
    tree = ast.parse(file.read_text())
    passed: set[int] = set()
    for node in ast.walk(tree):
        documentation = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if documentation or isinstance(node, ast.Import | ast.ImportFrom):
            passed |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    lines = enumerate(file.read_text().splitlines(), 1)
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and n not in passed
        for n, line in lines
    )


@pytest.mark.parametrize("name", LIMITS)
def test_the_code_of_the_author_is_short(packages, name):
    package = next(packages[name].glob("ofa_*"))
    files = [
        f for f in package.glob("*.py") if name in ("modality", "grid") or f.name != "manifest.py"
    ]
    assert sum(map(_lines_of_code, files)) <= LIMITS[name]


def test_a_task_preset_is_ten_lines_at_most(packages):
    tree = ast.parse((packages["task"] / "ofa_task_opposites" / "manifest.py").read_text())
    (preset,) = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "TaskPreset"
    ]
    assert (preset.end_lineno or 0) - preset.lineno + 1 <= 10


WRONG = {
    ("modality", "Heart_Rate", "", ""): "for instance 'heart-rate'",
    ("modality", "import", "", ""): "is no name for a plugin",
    ("modality", "9lives", "", ""): "a letter first",
    ("modality", "a--b", "", ""): "for instance 'a-b'",
    ("modality", "x" * 31, "", ""): "30 are the most",
    ("modality", "sound", "lower", ""): "for instance 'LOWER'",
    ("modalty", "sound", "", ""): "did you mean 'modality'?",
    ("component", "sound", "", "metrc"): "did you mean 'metric'?",
    ("component", "sound", "SOUND", ""): "--slot is for a modality or a task",
    ("task", "sound", "", "metric"): "--kind is for",
    ("task", "sound", "", "", True): "--grid is for 'ofa plugins new modality'",
    ("modality", "text", "", ""): "choose another name",
    ("modality", "sound", "TEXT", ""): "choose another with --slot",
    ("component", "token", "", "generator"): "generator 'token' is there already, from ofacore",
}


@pytest.mark.parametrize("words", WRONG, ids=lambda words: "-".join(map(str, words))[:30])
def test_a_name_that_cannot_be_used_is_told_before_anything_is_written(registry, words):
    with pytest.raises(UserError) as caught:
        new_package(request_of(*words), registry)
    assert WRONG[words] in str(caught.value)


@pytest.mark.parametrize("kind", COMPONENTS)
@pytest.mark.parametrize("name", ["loss", "options", "record", "none"])
def test_a_class_is_called_like_nothing_else_in_its_file(registry, kind, name):
    files = new_package(request_of("component", name, component=kind), registry)
    for code in (text for path, text in files.items() if path.endswith(".py")):
        body = ast.parse(code).body
        imports = [part for part in body if isinstance(part, ast.ImportFrom)]
        taken = {alias.name for part in imports for alias in part.names}
        assert not taken & {part.name for part in body if isinstance(part, ast.ClassDef)}
    if (kind, name) == ("criterion", "loss"):
        assert "class LossCriterion:" in files["ofa_component_loss/criterion.py"]
        assert "criterion:LossCriterion" in files["ofa_component_loss/manifest.py"]


def test_an_unknown_slot_type_of_a_task_is_told(registry):
    with pytest.raises(UserError, match="did you mean 'TEXT'"):
        new_package(request_of("task", "sound", "TXT"), registry)


def test_nothing_is_overwritten_and_nothing_is_left_behind(tmp_path):
    files = {"a/b.txt": "b"}
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        write_package(tmp_path / "taken", files)
    with pytest.raises(TypeError):
        write_package(tmp_path / "other", {**files, "c": None})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine.txt", "taken"]
    write_package(tmp_path / "new" / "place", files)
    assert (tmp_path / "new" / "place" / "a" / "b.txt").read_text() == "b"


def test_the_command_says_what_was_written_and_what_to_do_next(ofa, tmp_path):
    out = ofa(
        "plugins", "new", "component", "louder", "--kind", "transform", "--dir", str(tmp_path)
    ).stdout
    folder = tmp_path / "ofa-component-louder"
    written = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    assert sorted(line.strip() for line in out.splitlines() if line.startswith("  /")) == written
    assert f"cd {folder}" in out and "ofa train sample/train.yaml" in out
    again = ofa("plugins", "new", "component", "louder", "--dir", str(tmp_path), code=2)
    assert "is there already" in again.stderr


def test_names_follow_from_one_word():
    names = checked_names("modality", "heart-rate")
    assert (names.distribution, names.package) == (
        "ofa-modality-heart-rate",
        "ofa_modality_heart_rate",
    )
    assert (names.identifier, names.title, names.slot) == ("heart_rate", "HeartRate", "HEART_RATE")


def test_a_fresh_modality_learns_several_numbers(packages):
    command = (
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "positions_can_be_learned",
    )
    assert "1 passed" in _run(packages, *command, cwd=packages["modality"])


@pytest.mark.slow
def test_a_fresh_grid_passes_its_tests(packages):
    command = (
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not dist",
        "-k",
        "not distributed",
    )
    told = _run(packages, *command, cwd=packages["grid"])
    assert " passed" in told and "failed" not in told


@pytest.mark.slow
def test_a_fresh_package_passes_the_running_check(packages):
    told = _run(
        packages,
        "-m",
        "ofa_cli.main",
        "plugins",
        "check",
        "heart-rate",
        "--imports",
    )
    assert told.endswith("0 warnings\n") and "1 checked, 0 problems" in told
