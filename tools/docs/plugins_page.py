"""The generated reference for plugin authors: what each protocol asks, and every hook.

``python -m tools.docs.plugins_page docs/plugins/reference.md`` writes the page anew; without a path it is printed.
The text is that of the docstrings, so it cannot say anything else than the code; no implementation is imported. With
``--kinds`` the kinds of components are printed, those that installed plugins declare too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ofacore.parts import home_of
from ofacore.plugin.kinds import CORE_KINDS
from ofacore.plugin.manifest import Kind
from ofacore.plugin.options import options_table
from ofacore.plugin.registry import Registry

ROOT = Path(__file__).parents[2]
SECTIONS = (
    ("Protocols, and the data that they exchange", "ofacore.contract.values", ()),
    ("", "ofacore.contract.segments", ()),
    ("", "ofacore.contract.preprocessing", ()),
    ("", "ofacore.contract.batch", ()),
    ("", "ofacore.contract.modules", ()),
    ("", "ofacore.contract.positions", ()),
    ("", "ofacore.contract.backbone", ()),
    ("", "ofacore.contract.learning", ()),
    ("", "ofacore.contract.decoding", ()),
    ("", "ofacore.contract.judging", ()),
    ("", "ofacore.contract.foreign", ()),
    ("Vocabulary and artifacts", "ofacore.ground.vocabulary", ()),
    ("", "ofacore.ground.artifacts", ()),
    ("Parts", "ofacore.parts", ("ValuesPreprocessor",)),
    ("", "ofacore.parts", ("TokensPreprocessor",)),
    ("", "ofacore.parts", ("ValuesHead", "SquaredError", "OneShotGenerator")),
    ("", "ofacore.parts", ("GridPreprocessor",)),
    ("", "ofacore.parts", ("GridAdapter", "GridHead")),
    ("", "ofacore.parts", ("GridError",)),
    ("", "ofacore.parts", ("TokenAdapter", "TokenHead", "TokenPrediction")),
    ("", "ofacore.parts", ("CrossEntropy",)),
    ("", "ofacore.parts", ("TokenGenerator",)),
    ("Manifests", "ofacore.plugin.manifest", ()),
    ("Hooks", "ofacore.plugin.hooks", ("HookSpecs", "TrainingRun")),
)
"""Heading (empty: the one before), module, and which of its classes; none: all public ones."""
_HEAD = """# Reference for plugin authors

<!-- generated: python -m tools.docs.plugins_page docs/plugins/reference.md -->

What is written here stands in the code, as docstrings. Shapes: `N` positions of a side's stream, `H` the width of the
model, `[n, 3]` an array of n rows; arrays are numpy's until a batch is collated, tensors of torch from there on.
"""
_HOOKS = """An implementation is a method marked with `ofacore.plugin.hookimpl`, of a class that an entry point of
`ofa.hooks` names. It takes any of the arguments, by name. A hook that raises is reported and called no more; with
`OFA_STRICT_PLUGINS=1` it ends the run.
"""
_PARTS = """Classes of `ofacore.parts` that a modality is made of, and what the core announces under the names `token`,
`cross_entropy`, `squared_error` and `one_shot`. Baselines, transforms and starter data are functions of `ofacore.parts`
too: `help(ofacore.parts)` names them.
"""
_VOCABULARY = """Importable from `ofacore.protocols`, with the ids of the core tokens:
`BOS`, `PAD`, `EOS`, `UNK`, `SEP`, `MASK`.
"""
_KINDS = """## Kinds of components

What a `Component` may be. Plugins declare further kinds; `python -m tools.docs.plugins_page --kinds` lists them too,
where they are installed.
"""
_OPTIONS = """## Options of the core's components

Those of every installed plugin stand in [instructions](../instructions.md#options-of-components); `ofa plugins show
NAME` prints those of one.
"""
_INTRODUCTIONS = {"Hooks": _HOOKS, "Parts": _PARTS, "Vocabulary and artifacts": _VOCABULARY}


def page() -> str:
    """The whole page as Markdown; the same code, the same text."""
    parts = [_HEAD]
    for heading, module, wanted in SECTIONS:
        parts += [f"## {heading}\n"] if heading else []
        parts += [_INTRODUCTIONS[heading]] if heading in _INTRODUCTIONS else []
        for node in _tree(module, wanted).body:
            if isinstance(node, ast.ClassDef) and (
                node.name in wanted or not (wanted or node.name.startswith("_"))
            ):
                parts.append("\n".join(_class(node)))
    core = [
        part
        for _, manifest in Registry.discover().find("core")
        if manifest
        for part in manifest.components
    ]
    parts += [_KINDS, kinds_table(CORE_KINDS.values()), _OPTIONS, options_table(core)]
    return "\n".join(parts)


def _tree(module: str, wanted: Sequence[str]) -> ast.Module:
    """The source of a module, or of the one behind ``ofacore.parts`` that holds the first name."""
    home = home_of(wanted[0]) if module == "ofacore.parts" else module
    file = ROOT / f"{home.replace('.', '/')}.py"
    return ast.parse(file.read_text(encoding="utf-8"))


def kinds_table(kinds: Iterable[Kind]) -> str:
    """Kinds of components as a table of Markdown."""
    lines = ["| kind | protocol | what it does |", "|---|---|---|"]
    for kind in kinds:
        protocol = f"`{kind.protocol}`" if kind.protocol else ""
        lines.append(
            "| " + " | ".join((f"`{kind.name}`", protocol, kind.doc.replace("|", "\\|"))) + " |"
        )
    return "\n".join(lines) + "\n"


def _class(node: ast.ClassDef) -> Iterator[str]:
    yield f"### {node.name}\n"
    yield from _text(node)
    fields = list(_fields(node))
    if fields:
        yield "| field | type | default | meaning |\n|---|---|---|---|"
        yield from fields
        yield ""
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and (
            method.name == "__call__" or not method.name.startswith("_")
        ):
            yield f"#### {node.name}.{method.name}\n\n```python\n{_signature(method)}\n```\n"
            yield from _text(method)


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        default = "" if statement.value is None else f"`{_default(statement.value)}`"
        meaning = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            meaning = " ".join(str(following.value.value).replace("``", "`").split())
        cells = (
            f"`{statement.target.id}`",
            f"`{ast.unparse(statement.annotation)}`",
            default,
            meaning,
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(value: ast.expr) -> str:
    """``field(default_factory=dict)`` is shown as what it makes."""
    factories = {"dict": "{}", "list": "[]"}
    if (
        isinstance(value, ast.Call)
        and value.keywords
        and value.keywords[0].arg == "default_factory"
    ):
        shown = ast.unparse(value.keywords[0].value)
        return factories.get(shown, f"{shown}()")
    return ast.unparse(value)


def _signature(method: ast.FunctionDef) -> str:
    """Name, arguments and result; one argument a line where they are many."""
    arguments = ast.unparse(method.args)
    result = f" -> {ast.unparse(method.returns)}" if method.returns else ""
    line = f"{method.name}({arguments}){result}"
    if len(line) <= 118:
        return line
    named = [*method.args.args, *method.args.kwonlyargs]
    shown = [f"    {ast.unparse(argument)}," for argument in named]
    return "\n".join([f"{method.name}(", *shown, f"){result}"])


def _text(node: ast.ClassDef | ast.FunctionDef) -> Iterator[str]:
    text = ast.get_docstring(node)
    if text:
        yield text.replace("``", "`") + "\n"


def main(arguments: Sequence[str]) -> None:
    """Write or print the page; or print the kinds."""
    if "--kinds" in arguments:
        print(kinds_table(Registry.discover().kinds().values()))
    elif arguments:
        Path(arguments[0]).write_text(page(), encoding="utf-8")
    else:
        print(page())


if __name__ == "__main__":
    main(sys.argv[1:])
