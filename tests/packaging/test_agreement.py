"""What is written in more than one place is the same everywhere."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import ofacore
from ofacore.plugin import Registry
from ofacore.plugin.first_party import (
    COMMAND_DISTRIBUTIONS,
    PLAIN_TEXT_DISTRIBUTION,
    SLOT_DISTRIBUTIONS,
)

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
VERSION = ofacore.__version__
TOOLS = [folder for folder in FOLDERS if folder.startswith("tool_")]
OTHERS = [folder for folder in FOLDERS if folder not in TOOLS]
NOT_SEEN = {
    "megatron-core": "imported by name, through importlib",
    "tensorboard": "torch.utils.tensorboard needs it",
    "wandb": "imported by name, through importlib",
}
"""Declared dependencies whose import is not seen in the sources, and why."""
PUBLIC = "Plugins use the public names alone: ofacore, and its plugin, protocols and parts"
BROUGHT = {"torch": "ofacore requires one exact version of it"}
"""Imports of plugins that need no declaration, and why."""


@cache
def _project(folder: str = ".") -> dict:
    with (ROOT / folder / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def _package(folder: str) -> str:
    """A tool is called by its name alone."""
    return f"ofa_{folder.removeprefix('tool_')}"


def _distribution(folder: str) -> str:
    return _package(folder).replace("_", "-")


def _plugin(folder: str) -> dict:
    return _project(f"plugins/{folder}")["project"]


def _names(requirements: list[str]) -> set[str]:
    return {
        re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")
        for requirement in requirements
    }


def _imported(folder: Path) -> set[str]:
    """Top-level modules that the sources of a folder import, wherever they do."""
    found: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


def _distributions(modules: set[str]) -> set[str]:
    known = packages_distributions()
    third_party = modules - set(sys.stdlib_module_names)
    return {known.get(module, [module])[0].lower().replace("_", "-") for module in third_party}


def test_there_are_plugins():
    assert len(FOLDERS) >= 8


def test_the_bundle_lists_every_plugin():
    bundle = _project()["project"]["optional-dependencies"]["all"]
    assert bundle == [f"{_distribution(folder)}=={VERSION}" for folder in FOLDERS]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_distribution_is_named_after_its_folder(folder):
    project = _plugin(folder)
    assert project["name"] == _distribution(folder)
    assert project["version"] == VERSION
    assert f"ofacore=={VERSION}" in project["dependencies"]
    ours = [requirement for requirement in project["dependencies"] if requirement.startswith("ofa")]
    assert all(requirement.endswith(f"=={VERSION}") for requirement in ours)


@pytest.mark.parametrize("folder", OTHERS)
def test_a_plugin_has_one_manifest(folder):
    kind, _, name = folder.partition("_")
    group = kind if kind in ("modality", "task") else "component"
    manifest = f"ofa_{folder}.manifest:MANIFEST"
    points = {
        where: named
        for where, named in _plugin(folder)["entry-points"].items()
        if where != "ofa.command"
    }
    assert points == {f"ofa.{group}": {name: manifest}}


def test_commands_of_packages_are_known_where_they_are_missing():
    """``ofa import`` without its tool says which distribution to install."""
    commands = {
        command: _distribution(folder)
        for folder in FOLDERS
        for command in _plugin(folder).get("entry-points", {}).get("ofa.command", {})
    }
    assert dict(COMMAND_DISTRIBUTIONS) == commands


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_plugin_declares_what_it_imports_and_nothing_else(folder):
    imported = _distributions(_imported(ROOT / "plugins" / folder / _package(folder)))
    project = _plugin(folder)
    extras = set().union(*map(_names, project.get("optional-dependencies", {}).values()))
    declared = {
        name for name in _names(project["dependencies"]) | extras if not name.startswith("ofa")
    }
    tools = imported & {_distribution(tool) for tool in TOOLS} - {_distribution(folder)}
    assert tools <= _names(project["dependencies"]), "imported but not declared"
    imported = {name for name in imported if not name.startswith("ofa")}
    assert imported - declared - set(BROUGHT) == set(), "imported but not declared"
    assert declared - imported == set(), "declared but not imported"


def test_the_core_declares_what_it_imports_and_nothing_else():
    imported = _distributions(_imported(ROOT / "ofacore") | _imported(ROOT / "cli")) - {
        "ofacore",
        "ofa-cli",
    }
    project = _project()["project"]
    extras = project["optional-dependencies"]
    declared = _names(project["dependencies"]).union(
        *(_names(extras[extra]) for extra in set(extras) - {"all", "dev"})
    )
    assert imported - declared == set(), "imported but not declared"
    assert declared - imported - set(NOT_SEEN) == set(), "declared but not imported"


def test_import_contracts_cover_every_plugin():
    settings = _project()["tool"]["importlinter"]
    packages = [_package(folder) for folder in FOLDERS]
    plugins = [_package(folder) for folder in OTHERS]
    assert settings["root_packages"] == ["ofacore", "ofa_cli", *packages]
    contracts = {contract["name"]: contract for contract in settings["contracts"]}
    assert contracts[PUBLIC]["source_modules"] == plugins
    assert contracts["Plugins reach one another by registry name only"]["modules"] == plugins
    above = contracts["The core knows neither the command line nor any plugin"]["forbidden_modules"]
    assert above == ["ofa_cli", *packages]


def test_the_makefile_installs_the_pinned_torch():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pins = [requirement for folder in FOLDERS for requirement in _plugin(folder)["dependencies"]]
    pins += _project()["project"]["dependencies"]
    for name in ("torch", "torchvision"):
        (pin,) = {requirement for requirement in pins if requirement.startswith(f"{name}==")}
        assert f" {pin}" in makefile


def test_hints_name_the_distributions_that_bring_the_slot_types():
    slots = {slot: row.distribution for row in Registry.discover().rows for slot in row.slots}
    first_party = {
        slot: owner for slot, owner in slots.items() if owner.startswith("ofa-modality-")
    }
    assert dict(SLOT_DISTRIBUTIONS) == first_party
    assert (
        Registry.discover().owner("slot", Registry.discover().plain_text_slot().name)
        == PLAIN_TEXT_DISTRIBUTION
    )


def test_the_citation_and_the_changelog_know_the_version():
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(
        rf"## \[({re.escape(VERSION)}|Unreleased)\]",
        (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    )
