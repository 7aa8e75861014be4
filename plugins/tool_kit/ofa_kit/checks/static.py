"""Checks of a plugin that import its manifest and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ofa_kit.checks.attributes import check_slot
from ofa_kit.checks.findings import Finding, Subject
from ofa_kit.checks.lightness import check_lightness
from ofa_kit.checks.references import check_names, check_targets, owners_of
from ofa_kit.checks.requirements import check_owners, check_requirements
from ofacore.plugin import Manifest, ModalityManifest, PluginRow, Registry, suggest
from ofacore.plugin.hooks import HookSpecs
from ofacore.plugin.source import NotFoundError, locate, tree_of

_WAYS = {
    "broken": "mend it, then 'ofa plugins check' again",
    "incompatible": "install versions that fit",
    "conflict": "uninstall one, or choose with plugins.prefer",
    "disabled": "add it to OFA_PLUGINS",
}


def check_plugin(
    row: PluginRow, manifest: Manifest | None, target: str, registry: Registry
) -> Iterator[Finding]:
    """Everything that can be seen without running the plugin's code.

    Args:
        row: Its row.
        manifest: Its manifest; None where it has none that can be used.
        target: Its entry point, ``"module:Object"``.
        registry: All plugins.
    """
    subject = subject_of(row, target)
    if row.status not in ("ok", "disabled"):
        yield subject.problem("status", f"it is {row.status}: {row.problem}", _WAYS[row.status])
    yield from check_requirements(subject)
    if row.kind == "hooks":
        yield from _check_hooks(subject, target)
    if manifest is None:
        return
    if manifest.name != row.name:
        message = f"its entry point is called '{row.name}', its manifest '{manifest.name}'"
        yield subject.warning("names", message, "give both the same name")
    yield from check_lightness(subject, target)
    yield from check_targets(subject, manifest)
    for slot in manifest.slots if isinstance(manifest, ModalityManifest) else ():
        yield from check_slot(subject, slot)
    yield from check_names(subject, manifest, registry)
    yield from check_owners(subject, owners_of(manifest, registry))


def subject_of(row: PluginRow, target: str) -> Subject:
    """The plugin as findings name it: by the place of its manifest."""
    try:
        place = str(locate(target)) if target else ""
    except (NotFoundError, SyntaxError, OSError, UnicodeDecodeError):
        place = target
    return Subject(row.name, row.distribution, place)


def _check_hooks(subject: Subject, target: str) -> Iterator[Finding]:
    """The object is there, and functions that are named like hooks are hooks."""
    known = [name for name in vars(HookSpecs) if name.startswith("ofa_")]
    try:
        place = locate(target)
    except (NotFoundError, SyntaxError, OSError, UnicodeDecodeError) as error:
        yield subject.problem(
            "targets", f"the hooks are not at '{target}': {error}", "correct the entry point"
        )
        return
    tree = tree_of(place.file)
    for node in ast.walk(tree) if tree else ():
        if (
            isinstance(node, ast.FunctionDef)
            and node.name.startswith("ofa_")
            and node.name not in known
        ):
            hint = suggest(node.name, known) or f"one of: {', '.join(known)}"
            yield subject.problem(
                "hooks", f"there is no hook '{node.name}'", hint, f"{place.file}:{node.lineno}"
            )
