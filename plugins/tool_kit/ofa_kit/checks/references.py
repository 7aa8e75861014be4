"""Whether everything that a manifest names is there: objects in files, components in the registry."""

from __future__ import annotations

from collections.abc import Iterator

from ofa_kit.checks.findings import Finding, Subject
from ofacore.ground.errors import UserError
from ofacore.instruction import InstructionError
from ofacore.plan import compile_task
from ofacore.plan.lookups import declared_problems
from ofacore.plan.types import LossPlan, TaskPlan
from ofacore.plugin import (
    CommandManifest,
    Component,
    ComponentManifest,
    Manifest,
    MetricUse,
    ModalityManifest,
    PluginError,
    Registry,
    TaskManifest,
    TaskPreset,
    suggest,
)
from ofacore.plugin.options import declaration_fault
from ofacore.plugin.source import NotFoundError, locate

TARGETS, NAMES, OPTIONS = "targets", "names", "options"
_SERVING = ("adapter", "head", "criterion", "generator", "corruption")


def targets(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """(what it is, "module:Object") of everything that a manifest names in files, in its order."""
    if isinstance(manifest, CommandManifest):
        yield f"command '{manifest.name}'", manifest.target
    for kind in manifest.kinds if isinstance(manifest, ComponentManifest) else ():
        yield f"protocol of kind '{kind.name}'", kind.protocol
    for component in manifest.components:
        yield f"{component.kind} '{component.name}'", component.target
    for slot in manifest.slots if isinstance(manifest, ModalityManifest) else ():
        if slot.sample:
            yield f"sample of {slot.name}", str(slot.sample)
        if slot.parse:
            yield f"parse of {slot.name}", slot.parse
        if slot.row_transform:
            yield f"row transform of {slot.name}", slot.row_transform
    for preset in manifest.presets if isinstance(manifest, TaskManifest) else ():
        for what, target in (("data", preset.data), ("baseline", preset.baseline)):
            if target:
                yield f"{what} of preset '{preset.name}'", target


def check_targets(subject: Subject, manifest: Manifest) -> Iterator[Finding]:
    """Every object is defined where the manifest says; nothing is executed."""
    for what, target in targets(manifest):
        try:
            locate(target)
        except NotFoundError as error:
            yield subject.problem(
                TARGETS,
                f"{what} is not at '{target}': {error}",
                "correct the target in the manifest",
            )
        except (SyntaxError, OSError, UnicodeDecodeError) as error:
            file = getattr(error, "filename", "") or ""
            line = getattr(error, "lineno", None)
            place = f"{file}:{line}" if line else file
            yield subject.problem(
                TARGETS, f"{what} cannot be read: {error}", "correct the file", place
            )


def used_names(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    """(who uses it, kind, name) of everything that a manifest reaches by name."""
    for component in manifest.components:
        yield from (
            (f"preprocessor '{component.name}'", kind, name)
            for kind, name in component.uses.items()
            if name
        )
    for slot in manifest.slots if isinstance(manifest, ModalityManifest) else ():
        yield slot.name, "preprocessor", slot.preprocessor
        if slot.target_preprocessor:
            yield slot.name, "preprocessor", slot.target_preprocessor
        for attribute in slot.attributes:
            if attribute.type == "slot":
                yield from (
                    (f"{slot.name}.{attribute.name}", "slot", name) for name in attribute.choices
                )
    for preset in manifest.presets if isinstance(manifest, TaskManifest) else ():
        title = f"preset '{preset.name}'"
        yield from ((title, "metric", use.metric) for use in preset.metrics)
        yield from ((title, "criterion", use.criterion) for use in preset.losses)
        yield from (
            (title, "transform", name) for names in preset.transforms.values() for name in names
        )


def check_names(subject: Subject, manifest: Manifest, registry: Registry) -> Iterator[Finding]:
    """Every name is known to the registry, every component is well described, every preset can be planned."""
    if isinstance(manifest, CommandManifest) and not manifest.doc.strip():
        yield subject.warning(
            NAMES, f"command '{manifest.name}' has no doc", "say in a few words what it does"
        )
    for declared in manifest.kinds if isinstance(manifest, ComponentManifest) else ():
        if not declared.doc:
            yield subject.warning(
                NAMES, f"kind '{declared.name}' has no doc", "say in a few words what it does"
            )
    for component in manifest.components:
        yield from _component(subject, component)
    wrong = False
    for user, kind, name in dict.fromkeys(used_names(manifest)):
        try:
            registry.owner(kind, name)
        except PluginError as error:
            wrong = True
            yield subject.problem(
                NAMES, f"{user}: {error}", "correct the name, or install what brings it"
            )
    for preset in manifest.presets if isinstance(manifest, TaskManifest) and not wrong else ():
        yield from _preset(subject, preset, registry)


def owners_of(manifest: Manifest, registry: Registry) -> set[str]:
    """Distributions of everything that a manifest reaches by name, slot types of its instructions too."""
    found = set()
    for _, kind, name in used_names(manifest):
        try:
            found.add(registry.owner(kind, name))
        except PluginError:
            continue
    for preset in manifest.presets if isinstance(manifest, TaskManifest) else ():
        try:
            plan = _planned(preset, registry)
        except (InstructionError, UserError):
            continue
        found |= {registry.owner("slot", slot.type) for slot in plan.slots()}
    return found


def _component(subject: Subject, component: Component) -> Iterator[Finding]:
    title = f"{component.kind} '{component.name}'"
    for kind in component.uses:
        if kind not in _SERVING:
            hint = suggest(kind, _SERVING) or f"one of: {', '.join(_SERVING)}"
            yield subject.problem(NAMES, f"{title} uses '{kind}', which serves no segment", hint)
    if component.uses and component.kind != "preprocessor":
        yield subject.warning(
            NAMES, f"{title} has uses, which only a preprocessor needs", "remove them"
        )
    if component.kind == "preprocessor" and "adapter" not in component.uses:
        yield subject.problem(NAMES, f"{title} names no adapter", "add uses={'adapter': ...}")
    if not component.doc:
        yield subject.warning(NAMES, f"{title} has no doc", "say in a few words what it does")
    for name, option in component.declared.items():
        if fault := declaration_fault(option):
            yield subject.problem(
                OPTIONS, f"{title}: option '{name}': {fault}", "correct its Option(...)"
            )
        if not option.doc:
            hint = "declare it by Option(default, 'one sentence')"
            yield subject.warning(OPTIONS, f"{title}: option '{name}' has no sentence", hint)


def _preset(subject: Subject, preset: TaskPreset, registry: Registry) -> Iterator[Finding]:
    title = f"preset '{preset.name}'"
    try:
        plan = _planned(preset, registry)
    except (InstructionError, UserError) as error:
        told = " ".join(str(error).split())
        yield subject.problem(
            "presets", f"{title} cannot be planned: {told}", "correct the instruction"
        )
        return
    slots = {slot.name for slot in plan.slots() if slot.plain is None}
    for name in [*preset.transforms, *preset.closed_sets]:
        if name not in slots | set(preset.columns) | {use.references for use in preset.metrics}:
            hint = suggest(name, slots) or f"one of: {', '.join(sorted(slots))}"
            yield subject.problem(
                "presets", f"{title} speaks of '{name}', which is no slot and no column of it", hint
            )
    for kind, uses in (("metric", preset.metrics), ("criterion", preset.losses)):
        for use in uses:
            name = use.metric if isinstance(use, MetricUse) else use.criterion
            owner, declared = f"{kind} '{name}'", registry.component(kind, name).declared
            for wrong in declared_problems("", owner, declared, use.options):
                yield subject.problem("presets", f"{title}: {wrong.message}", wrong.hint)


def _planned(preset: TaskPreset, registry: Registry) -> TaskPlan:
    losses = [
        LossPlan(u.criterion, u.hidden, u.labels or u.hidden, u.weight, u.options)
        for u in preset.losses
    ]
    return compile_task(
        preset.name, list(preset.instructions), registry, losses=losses, metrics=preset.metrics
    )
