"""Who may import and name whom, in annotations, strings and names too, which import-linter passes by."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ofacore.plugin import ModalityManifest, Registry, TaskManifest

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
PLUGINS = [folder for folder in FOLDERS if not folder.name.startswith("tool_")]
TOOLS = [folder for folder in FOLDERS if folder not in PLUGINS]
"""Released with the core, whose rooms they may reach."""
PUBLIC = {"ofacore", "ofacore.parts", "ofacore.plugin", "ofacore.protocols", "ofa_kit"}
FOREIGN = re.compile(
    r"(?i:emoji|image|pixel|\bcaption|motion|skeleton|video|audio|speech|phone|grounding|detection|vqa|translation)"
    r"|\b(TEXT|BOX|STRUCT)\b"
)
"""Words of modalities and tasks. ``text`` and ``box`` in small letters have other meanings too."""
EXAMPLES = {
    "cli/ofa_cli/commands/explain.py": "help",
    "cli/ofa_cli/commands/infer.py": "help",
    "cli/ofa_cli/commands/tasks.py": "help",
    "plugins/tool_foreign/ofa_foreign/importing/backbone.py": "the task of a language model that comes without one",
    "ofacore/evaluation/samples.py": "elements of HTML",
    "plugins/tool_foreign/ofa_foreign/formats/dialects.py": "names in the files of another project",
    "plugins/tool_foreign/ofa_foreign/formats/ofa_names.py": "names in the files of another project",
    "plugins/tool_foreign/ofa_foreign/formats/ofasys_names.py": "names in the files of another project",
    "plugins/tool_foreign/ofa_foreign/formats/speech_parts.py": "names in the files of another project",
    "tools/docs/instructions_page.py": "opens a page of the documentation",
    "tools/docs/metrics_page.py": "an example on the page",
    "tools/docs/pictures.py": "draws what first-party modalities do",
    "ofacore/plugin/first_party.py": "hints of what to install",
}
"""Files of the core in which such words may stand, and why."""


def _trees(folder: Path) -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(folder.rglob("*.py")):
        yield file.relative_to(ROOT).as_posix(), ast.parse(file.read_text(encoding="utf-8"))


def _sources(plugin: Path) -> Path:
    """Never an empty folder: a rule that holds of nothing would hold of everything."""
    folder = plugin / f"ofa_{plugin.name.removeprefix('tool_')}"
    assert any(folder.rglob("*.py")), folder
    return folder


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(module, name) of every import of the core."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.partition(".")[0] == "ofacore"
        ):
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (
                (alias.name, "")
                for alias in node.names
                if alias.name.partition(".")[0] == "ofacore"
            )


def _docstrings(tree: ast.Module) -> set[int]:
    """Identities of strings that are statements: documentation of modules, classes, functions, fields."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def _words(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, text) of names and strings that are no documentation."""
    documentation = _docstrings(tree)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documentation
        ):
            yield node.lineno, node.value
        for field in ("id", "attr", "arg", "name", "module"):
            if isinstance(name := getattr(node, field, None), str):
                yield getattr(node, "lineno", 0), name


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_imports_the_public_names_alone(plugin):
    for file, tree in _trees(_sources(plugin)):
        for module, name in _imports(tree):
            assert module in PUBLIC, f"{file} imports {module}"
            assert hasattr(importlib.import_module(module), name), f"{file}: {module} has no {name}"


def test_the_core_names_no_modality_and_no_task():
    found = [
        f"{file}:{line}: {text[:60]}"
        for folder in (ROOT / "ofacore", ROOT / "cli", ROOT / "tools", *map(_sources, TOOLS))
        for file, tree in _trees(folder)
        if file not in EXAMPLES
        for line, text in _words(tree)
        if FOREIGN.search(text)
    ]
    assert found == []


def test_foreign_words_would_be_found():
    tree = ast.parse(
        '"""An image."""\ndef on(image): ...\nx = "a caption"\nfrom some.video import y'
    )
    assert [text for _, text in _words(tree) if FOREIGN.search(text)] == [
        "some.video",
        "a caption",
        "image",
    ]


def _used_names(plugin: Path, manifest: object) -> Iterator[tuple[str, str]]:
    """(kind, name) of all that a plugin reaches by name; of several types that a slot may name, the first."""
    if isinstance(manifest, ModalityManifest):
        for slot in manifest.slots:
            named = [a.choices[:1] for a in slot.attributes if a.type == "slot"]
            yield from (("slot", name) for first in named for name in first)
        for component in manifest.components:
            yield from ((kind, name) for kind, name in component.uses.items() if name)
    if isinstance(manifest, TaskManifest):
        for preset in manifest.presets:
            yield from (("metric", use.metric) for use in preset.metrics)
            yield from (
                ("transform", name) for names in preset.transforms.values() for name in names
            )
            for instruction in preset.instructions:
                text = instruction if isinstance(instruction, str) else instruction[0]
                yield from (
                    ("slot", name) for name in re.findall(r"[\[|]\s*([A-Z][A-Z0-9_]*)", text)
                )
    for _, tree in _trees(_sources(plugin)):
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "load"
            ):
                match node.args:
                    case [ast.Constant(value=str(kind)), ast.Constant(value=str(name))]:
                        yield kind, name


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_requires_the_distributions_whose_names_it_uses(plugin):
    registry = Registry.discover()
    project = tomllib.loads((plugin / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.match(r"[\w-]+", requirement)[0] for requirement in project["dependencies"]} | {
        project["name"]
    }
    manifest = importlib.import_module(f"ofa_{plugin.name}.manifest").MANIFEST
    used = sorted(set(_used_names(plugin, manifest)))
    missing = {f"{kind} {name}": registry.owner(kind, name) for kind, name in used}
    assert {what: owner for what, owner in missing.items() if owner not in declared} == {}


def test_requirements_of_plugins_form_no_circle():
    above: dict[str, set[str]] = {}
    for plugin in PLUGINS:
        project = tomllib.loads((plugin / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        names = {re.match(r"[\w-]+", requirement)[0] for requirement in project["dependencies"]}
        above[project["name"]] = {name for name in names if name.startswith("ofa-")}
    while free := {name for name, needs in above.items() if not needs & set(above)}:
        above = {name: needs for name, needs in above.items() if name not in free}
    assert above == {}
