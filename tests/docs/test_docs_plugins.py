"""The pages for plugin authors say what the code says, and show the example package as it stands."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path

import pytest

import ofacore.protocols
from ofacore.plugin.hooks import HookSpecs
from tests.docs.page import blocks
from tests.warm import run_program
from tools.docs.plugins_page import page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "plugins"
EXAMPLE = ROOT / "examples" / "third_party_plugin"
RUNNER = Path(__file__).with_name("page.py")
MODALITY = ("manifest.py", "preprocessor.py", "adapter.py")


def test_the_reference_is_current():
    current = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert current == page(), "python -m tools.docs.plugins_page docs/plugins/reference.md"


@pytest.mark.parametrize("name", [name for name in vars(HookSpecs) if name.startswith("ofa_")])
def test_every_hook_and_argument_is_explained(name):
    hook = getattr(HookSpecs, name)
    assert hook.__doc__, f"{name} has no docstring"
    missing = [
        arg
        for arg in inspect.signature(hook).parameters
        if arg != "self" and f"``{arg}``" not in hook.__doc__
    ]
    assert not missing, f"the docstring of {name} does not explain {', '.join(missing)}"


def test_every_class_and_method_of_the_contract_is_explained():
    own = [
        c
        for c in vars(ofacore.protocols).values()
        if inspect.isclass(c) and c.__module__.startswith("ofacore.contract.")
    ]
    assert len(own) > 30
    bare = [c.__name__ for c in own if not c.__doc__ or c.__doc__.startswith(f"{c.__name__}(")]
    for found in own:
        methods = {
            n: m for n, m in vars(found).items() if inspect.isfunction(m) and not n.startswith("_")
        }
        bare += [f"{found.__name__}.{n}" for n, m in methods.items() if not m.__doc__]
    assert not bare


def test_the_tutorial_shows_the_package_as_it_is():
    shown = {
        block.file: block.body
        for block in blocks((DOCS / "tutorial.md").read_text("utf-8"))
        if block.file
    }
    packed = {path.removeprefix("ofa-modality-colour/"): body for path, body in shown.items()}
    tracked = {
        str(path.relative_to(EXAMPLE)): path.read_text("utf-8")
        for path in EXAMPLE.rglob("*")
        if path.suffix in (".py", ".toml", ".yaml")
        and path.stat().st_size
        and "egg-info" not in str(path)
    }
    assert packed == tracked


def test_the_page_on_grids_shows_the_package_as_it_is():
    shown = {
        block.file: block.body
        for block in blocks((DOCS / "grids.md").read_text("utf-8"))
        if block.file
    }
    package = DOCS.parents[1] / "examples" / "grid_plugin"
    for name in ("ofa_modality_field.py", "tests/test_field.py"):
        assert shown[name] == (package / name).read_text("utf-8"), name


def test_the_modality_of_the_tutorial_is_small():
    def code(path: Path) -> list[str]:
        text = re.sub(r'"""[^"]*"""\n', "\n", path.read_text("utf-8"))
        return [
            line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
        ]

    lines = [line for name in MODALITY for line in code(EXAMPLE / "ofa_modality_colour" / name)]
    assert len(lines) <= 75


def installed(folder: Path) -> dict[str, str]:
    """Environment in which the package that a page writes to ``folder`` is installed."""
    package = folder / "ofa-modality-colour"
    facts = package / "ofa_modality_colour-0.1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: ofa-modality-colour\nVersion: 0.1.0\n"
    )
    (facts / "entry_points.txt").write_text(
        "[ofa.modality]\ncolour = ofa_modality_colour.manifest:MANIFEST\n"
    )
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "OMP_NUM_THREADS": "1",
        "OFA_CACHE": str(folder / "cache"),
        "PYTHONPATH": os.pathsep.join(paths),
    }


@pytest.mark.parametrize(
    "name",
    [
        "tutorial.md",
        "grids.md",
        "tokens.md",
        "diffusion.md",
        "segments.md",
        "tasks.md",
        "components.md",
        "backbones.md",
        "together.md",
    ],
)
def test_what_the_pages_show_works(name, tmp_path):
    variables = {**os.environ, **installed(tmp_path)}
    done = run_program([str(RUNNER), str(DOCS / name)], cwd=tmp_path, env=variables)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
