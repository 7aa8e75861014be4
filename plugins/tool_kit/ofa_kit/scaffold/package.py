"""Which files a new package has, and what is filled into their templates."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from string import Template

from ofa_kit.scaffold.components import COMPONENTS
from ofa_kit.scaffold.names import Names, check_choice, check_free, check_slot_name, checked_names
from ofacore.plugin import CONTRACT, Registry, UnknownNameError, UserError
from ofacore.plugin.first_party import PLAIN_TEXT_DISTRIBUTION, SLOT_DISTRIBUTIONS

KINDS = ("modality", "task", "component")
KIT_DISTRIBUTION = "ofa-kit"
STARTER_DISTRIBUTION = "ofa-starter"
_SHARED = {
    "pyproject.toml": "shared/pyproject.toml",
    ".gitignore": "shared/gitignore",
    ".github/workflows/ci.yml": "shared/ci.yml",
    "{package}/__init__.py": "shared/init.py",
    "{package}/py.typed": "shared/init.py",
    "tests/test_{package}_sample.py": "shared/sample_test.py",
}
_OWN = {
    "modality": {
        "README.md": "modality/README.md",
        "{package}/manifest.py": "modality/manifest.py",
        "{package}/preprocessor.py": "modality/preprocessor.py",
        "{package}/adapter.py": "modality/adapter.py",
        "{package}/sample.py": "modality/sample.py",
        "sample/rows.jsonl": "modality/rows.jsonl",
        "sample/train.yaml": "modality/train.yaml",
        "tests/test_{package}.py": "modality/tests.py",
    },
    "grid": {
        "README.md": "grid/README.md",
        "{package}/manifest.py": "grid/manifest.py",
        "sample/rows.jsonl": "grid/rows.jsonl",
        "sample/train.yaml": "grid/train.yaml",
        "tests/test_{package}.py": "grid/tests.py",
    },
    "task": {
        "README.md": "task/README.md",
        "{package}/manifest.py": "task/manifest.py",
        "{package}/data.py": "task/data_{data}.py",
        "sample/train.yaml": "task/train.yaml",
        "tests/test_{package}.py": "task/tests.py",
    },
    "component": {
        "README.md": "component/README.md",
        "{package}/manifest.py": "component/manifest.py",
        "{package}/{module}.py": "{component}/code.py",
        "sample/rows.jsonl": "shared/text_rows.jsonl",
        "sample/train.yaml": "component/train.yaml",
        "tests/test_{package}.py": "{component}/tests.py",
    },
}
"""Kind, or ``grid`` -> file of the package -> its template."""


@dataclass(frozen=True)
class Request:
    """What an author asks for."""

    names: Names
    slot: str = ""
    """Modality: its slot type. Task: the slot type that it asks about. Empty: the default."""
    component: str = "criterion"
    grid: bool = False
    """Modality: of grids of numbers, in one file."""


def request_of(
    kind: str, name: str, slot: str = "", component: str = "", grid: bool = False
) -> Request:
    """A request with its words checked.

    Raises:
        UserError: A word is unknown, or an option does not fit the kind of package.
    """
    check_choice("kind of plugin", kind, KINDS)
    if component and kind != "component":
        raise UserError(f"--kind is for 'ofa plugins new component', not for a {kind}")
    if slot and kind == "component":
        raise UserError("--slot is for a modality or a task, not for a component")
    if grid and kind != "modality":
        raise UserError(f"--grid is for 'ofa plugins new modality', not for a {kind}")
    return Request(checked_names(kind, name), slot, component or "criterion", grid)


def new_package(request: Request, registry: Registry) -> dict[str, str]:
    """Every file of a new package: path -> content.

    Raises:
        UserError: A name cannot be used or is taken.
    """
    build = {"modality": _modality, "task": _task, "component": _component}[request.names.kind]
    values = {**_common(request.names), **build(request, registry)}
    return {
        path.format(**values): _render(name.format(**values), values)
        for path, name in _files(request).items()
    }


def _files(request: Request) -> Mapping[str, str]:
    own = "grid" if request.grid else request.names.kind
    return {**_SHARED, **_OWN[own]}


def _common(names: Names) -> dict[str, str]:
    return {
        "kind": names.kind,
        "name": names.name,
        "entry": names.name,
        "identifier": names.identifier,
        "distribution": names.distribution,
        "package": names.package,
        "title": names.title,
        "contract": str(CONTRACT),
    }


def _modality(request: Request, registry: Registry) -> dict[str, str]:
    names, slot = request.names, request.slot or request.names.slot
    check_slot_name(slot)
    offers = [
        ("slot", slot),
        *((kind, names.identifier) for kind in ("preprocessor", "adapter", "head")),
    ]
    offers += [("metric", f"{names.identifier}_error")] if request.grid else []
    check_free(names, offers, registry)
    if request.grid:
        doc = f"Slots of type {slot}: grids of numbers."
        return {"slot": slot, "doc": doc, "entry": names.identifier, **_requirements()}
    return {
        "slot": slot,
        "doc": f"Slots of type {slot}: rows of numbers.",
        **_requirements("numpy>=2"),
    }


def _task(request: Request, registry: Registry) -> dict[str, str]:
    text, distribution = _plain_text(registry)
    check_free(request.names, [("preset", request.names.identifier)], registry)
    if request.slot in ("", text):
        instruction = f"what is the opposite of [{text}:word]? -> [{text}:opposite]"
        columns = {"data": "text", "source": "word", "answer": "opposite"}
        needed = [distribution]
    else:
        instruction = f"what is it? [{request.slot}:value] -> [{text}:answer]"
        columns = {"data": "slot", "source": "value", "answer": "answer"}
        needed = [registry.owner("slot", request.slot), distribution]
    doc = f"{request.names.title}: a task to be described."
    needed.append(STARTER_DISTRIBUTION)
    return {
        **columns,
        "slot": request.slot,
        "instruction": instruction,
        "doc": doc,
        **_requirements(*needed),
    }


def _component(request: Request, registry: Registry) -> dict[str, str]:
    names = request.names
    check_choice("kind of component", request.component, COMPONENTS)
    check_free(names, [(request.component, names.identifier)], registry)
    text, distribution = _plain_text(registry)
    found = COMPONENTS[request.component]
    settings = {key: value.format(name=names.identifier) for key, value in found.settings.items()}
    return {
        "component": request.component,
        "module": request.component,
        "object": names.identifier if found.is_function else _class_name(request),
        "options": found.options,
        "option": ", Option" if "Option(" in found.options else "",
        "doc": found.doc,
        "text": text,
        "attribute": "",
        "data_lines": "",
        "task_lines": "",
        "model_setting": "",
        "train_setting": "",
        **settings,
        **_requirements(*found.requires, test=(distribution,)),
    }


def _class_name(request: Request) -> str:
    """``HeartRate``; ``LossCriterion`` where the package's files mean something else by ``Loss``."""
    title, kind = request.names.title, request.component
    taken = re.findall(r"\w+", _source(f"{kind}/code.py") + _source(f"{kind}/tests.py"))
    return f"{title}{kind.capitalize()}" if title in taken or keyword.iskeyword(title) else title


def _requirements(*needed: str, test: tuple[str, ...] = ()) -> dict[str, str]:
    """Entries of the project file; every package needs the core of this contract or newer."""
    core = ".".join(version("ofacore").split(".")[:2])
    return {
        "dependencies": _listed((f"ofacore>={core}", *needed)),
        "test_dependencies": _listed(("mypy", KIT_DISTRIBUTION, "pytest", "ruff", *test)),
    }


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in dict.fromkeys(names))


def _plain_text(registry: Registry) -> tuple[str, str]:
    """The slot type that serves plain text and its distribution; where none is installed, the first-party one."""
    try:
        slot = registry.plain_text_slot().name
        return slot, registry.owner("slot", slot)
    except UnknownNameError:
        slot = next(
            name for name, owner in SLOT_DISTRIBUTIONS.items() if owner == PLAIN_TEXT_DISTRIBUTION
        )
        return slot, PLAIN_TEXT_DISTRIBUTION


def _render(name: str, values: Mapping[str, str]) -> str:
    return Template(_source(name)).substitute(values)


def _source(name: str) -> str:
    """A template as it is."""
    folder = files("ofa_kit.scaffold").joinpath("templates")
    return folder.joinpath(f"{name}.template").read_text(encoding="utf-8")
