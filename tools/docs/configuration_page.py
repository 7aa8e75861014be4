"""The configuration reference, written from the schema.

``python -m tools.docs.configuration_page docs/configuration.md`` writes the page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from ofacore.config.schema import RunConfig
from ofacore.config.section import Section

_HEAD = """# Configuration

A run is described by YAML files, later ones laid over earlier ones, and by `--set key=value` over all files:
`ofa train run.yaml --set train.steps=500`. The words `starter` and `starter-all` in place of a file stand for the
built-in runs, an instruction and its rows for [a run from one line](training.md#from-one-line).
This page is generated from the schema; `ofa config schema` prints the same as JSON Schema, `ofa config show` prints a
configuration with every default filled in, and `ofa config check` reports every problem of one at once.

## Writing a file

| Written | Meaning |
|---|---|
| `_include: [base.yaml]` | The file is laid over these, which are found relative to its folder. |
| `tasks: {"*": {weight: 2}}` | Settings that every task gets unless it says otherwise. |
| `options: {tracker/wandb: {mode: offline}}` | Options of a component, by kind and name. |
| `tasks: {name: null}` | Takes a task out that an earlier file brought; so does `--set tasks.name=null`. |

`--set options.tracker/wandb.mode=offline` sets one of these; a key that holds dots stands in double quotes.
Values are read as YAML 1.2: `true` and `false` are the only booleans, `1e-3` is a number, dates are text. Sections are
merged key by key, lists are replaced. `--set` reads its value the same way, but takes text with an arrow `->` as it
stands. Paths of data are relative to the folder that the command runs in.
"""


def reference_markdown() -> str:
    """The page ``docs/configuration.md``."""
    parts = [_HEAD]
    for section, names in _sections().items():
        title = ", ".join(f"`{name}`" for name in names) if names != [""] else "Top level"
        rows = [_row(name, field) for name, field in section.model_fields.items()]
        head = [
            f"## {title}",
            "",
            section.__doc__ or "",
            "",
            "| Key | Type | Default | Meaning |",
            "|---|---|---|---|",
        ]
        parts.append("\n".join([*head, *rows, ""]))
    return "\n".join(parts)


def _sections() -> dict[type[Section], list[str]]:
    """Every section with the key paths that it is used at, outer ones first."""
    found: dict[type[Section], list[str]] = {}
    waiting: list[tuple[type[Section], str]] = [(RunConfig, "")]
    while waiting:
        section, path = waiting.pop(0)
        found.setdefault(section, []).append(path)
        for name, field in section.model_fields.items():
            inner = f"{path}.{name}".strip(".")
            waiting += [(child, inner + suffix) for child, suffix in _inside(field.annotation)]
    return found


def _inside(annotation: Any) -> Iterator[tuple[type[Section], str]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation, ""
    suffix = (
        ".<name>"
        if get_origin(annotation) is dict
        else "[]"
        if get_origin(annotation) is tuple
        else ""
    )
    for argument in get_args(annotation):
        yield from ((section, suffix + rest) for section, rest in _inside(argument))


def _row(name: str, field: FieldInfo) -> str:
    limits = "".join(f", {text}" for text in _limits(field))
    cells = [
        f"`{name}`",
        _type(field.annotation) + limits,
        _default(field),
        field.description or "",
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return " | ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(
            dict.fromkeys(_type(member) for member in arguments if member is not NoneType)
        )
    if origin is tuple:
        kinds = [_type(member) for member in arguments if member is not Ellipsis]
        return f"list of {kinds[0]}" if Ellipsis in arguments else f"[{', '.join(kinds)}]"
    if origin is dict:
        kept = get_args(arguments[1]) if get_origin(arguments[1]) is Annotated else arguments[1:]
        return "section" if kept[0] is Any else f"section of {_type(arguments[1])}"
    if annotation is Any:
        return "any"
    if issubclass(annotation, Section):
        return "section"
    return {str: "text", bool: "true or false", int: "int", float: "float"}[annotation]


_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def _limits(field: FieldInfo) -> list[str]:
    return [
        f"{_SIGNS[key]} {getattr(rule, key):g}"
        for rule in field.metadata
        for key in _SIGNS
        if hasattr(rule, key)
    ]


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if field.is_required():
        return "required"
    if value is None:
        return "unset"
    if isinstance(value, Section) or value in ({}, ()):
        return ""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference_markdown(), encoding="utf-8")
