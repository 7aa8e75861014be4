"""Compile instructions against a registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ofacore.instruction import Contrast, Instruction, Plain, Repeat, Slot, parse, split_templates
from ofacore.plan.attributes import check_required, typed_attributes, with_defaults
from ofacore.plan.binding import bind
from ofacore.plan.neighbours import with_neighbours
from ofacore.plan.plan_error import PlanError
from ofacore.plan.types import (
    CONTRAST_CRITERION,
    CONTRAST_HEAD,
    LossPlan,
    TaskPlan,
    TemplatePlan,
)
from ofacore.plugin import MetricUse, PluginError, Registry, SlotType, UnknownNameError, suggest
from ofacore.protocols import Side, SlotPlan

_SERVING = ("adapter", "head", "criterion", "generator", "corruption")


def compile_instruction(
    text: str, registry: Registry, *, weight: float = 1.0, plain_loss: bool = False
) -> TemplatePlan:
    """Resolve one template.

    Args:
        plain_loss: Plain text of the target carries loss (``decoder_plain_with_loss``).

    Raises:
        InstructionError: The text is not well-formed.
        PlanError: A type, attribute or component is unknown or does not fit.
    """
    tree = parse(text)
    targets = {slot.position for node in tree.target for slot in _leaves(node)}
    slots: dict[int, SlotPlan] = {}
    repeats: dict[int, tuple[str, ...]] = {}
    for node in tree.walk():
        if isinstance(node, Plain | Slot):
            side: Side = "target" if node.position in targets else "source"
            slots[node.position] = _slot_plan(node, side, tree, registry, plain_loss)
        elif isinstance(node, Repeat):
            columns = tuple(
                dict.fromkeys(leaf.name for leaf in _leaves(node) if isinstance(leaf, Slot))
            )
            repeats.update({leaf.position: columns for leaf in _leaves(node)})
    slots = {place: replace(slot, repeat=repeats.get(place, ())) for place, slot in slots.items()}
    _check_contrast(tree)
    return TemplatePlan(text, tree, dict(sorted(slots.items())), weight)


def compile_task(
    name: str,
    instructions: str | Sequence[str | tuple[str, float]],
    registry: Registry,
    *,
    losses: Sequence[LossPlan] = (),
    metrics: Sequence[MetricUse] = (),
    decoder_plain_with_loss: bool = False,
    prompt_slot: str = "",
    **options: Any,
) -> TaskPlan:
    """Resolve a task: all its templates, loss terms and metrics.

    Args:
        instructions: One text (``|||`` separates templates), or a list of texts and (text, weight) pairs.
        options: Further fields of `TaskPlan`.

    Raises:
        InstructionError: A template is not well-formed.
        PlanError: Something named does not exist, or the templates do not agree.
    """
    templates = tuple(
        compile_instruction(text, registry, weight=weight, plain_loss=decoder_plain_with_loss)
        for text, weight in _weighted(instructions)
    )
    if not templates:
        raise PlanError(
            f"task '{name}' has no instruction", "", 0, "[TYPE:question] -> [TYPE:answer]"
        )
    for template in templates:
        _check_names(template, [(loss.hidden, "loss") for loss in losses])
        _check_names(template, [(metric.slot, "metric") for metric in metrics])
        prompted = [(prompt_slot, "prompt_slot")] if prompt_slot else []
        _check_names(template, prompted)
    named = [("row_transform", transform) for transform in options.get("row_transforms", ())]
    named += [("criterion", loss.criterion) for loss in losses]
    named += [("head", loss.head) for loss in losses if loss.head]
    named += [("metric", metric.metric) for metric in metrics]
    for kind, component in named:
        registry.component(kind, component)
    losses = [_loss_of_today(loss, registry) for loss in losses]
    metrics = [replace(use, metric=registry.today("metric", use.metric)) for use in metrics]
    others, contrast = _contrast_apart(templates, losses)
    return TaskPlan(
        name,
        templates,
        losses=others,
        contrast=contrast,
        metrics=tuple(metrics),
        prompt_slot=prompt_slot,
        decoder_plain_with_loss=decoder_plain_with_loss,
        **options,
    )


def _loss_of_today(loss: LossPlan, registry: Registry) -> LossPlan:
    """The loss with the names that its criterion and its head have today."""
    criterion = registry.today("criterion", loss.criterion)
    return replace(loss, criterion=criterion, head=registry.today("head", loss.head))


def _contrast_apart(
    templates: Sequence[TemplatePlan], losses: Sequence[LossPlan]
) -> tuple[tuple[LossPlan, ...], LossPlan | None]:
    """The loss between the two sides of a contrast, declared or by default, apart from all others."""
    contrast = next((found.contrast for found in templates if found.contrast is not None), None)
    if contrast is None:
        return tuple(losses), None
    left, right = contrast.left.name, contrast.right.name
    between = [loss for loss in losses if (loss.hidden, loss.labels) == (left, right)]
    others = tuple(loss for loss in losses if loss not in between)
    if not between:
        return others, LossPlan(CONTRAST_CRITERION, left, right, head=CONTRAST_HEAD)
    if len(between) > 1:
        message = f"two losses match '{left}' with '{right}'"
        raise PlanError(message, templates[0].text, contrast.start, "keep one of them")
    (chosen,) = between
    return others, replace(chosen, head=chosen.head or CONTRAST_HEAD)


def _weighted(instructions: str | Sequence[str | tuple[str, float]]) -> list[tuple[str, float]]:
    if isinstance(instructions, str):
        return [(text, 1.0) for text in split_templates(instructions)]
    pairs = [
        (entry, 1.0) if isinstance(entry, str) else (entry[0], float(entry[1]))
        for entry in instructions
    ]
    return [(text, weight) for entry, weight in pairs for text in split_templates(entry)]


def _leaves(node: Any) -> list[Plain | Slot]:
    if isinstance(node, Plain | Slot):
        return [node]
    inner = (node.left, node.right) if isinstance(node, Contrast) else node.items
    return [leaf for child in inner for leaf in _leaves(child)]


def _slot_plan(
    node: Plain | Slot, side: Side, tree: Instruction, registry: Registry, plain_loss: bool
) -> SlotPlan:
    if isinstance(node, Plain):
        slot_type = _plain_type(node, tree, registry)
        return _resolve(
            node, str(node.position), slot_type, side, {}, tree, registry, node.text, plain_loss
        )
    slot_type = _slot_type(node, tree, registry)
    values = typed_attributes(node, side, slot_type, tree)
    for attribute in slot_type.attributes:
        if attribute.type == "slot":
            wanted = frozenset(_spellings(attribute.choices, registry))
            bound = bind(node, attribute.name, values.get(attribute.name), wanted, tree)
            values = {**values, attribute.name: bound} if bound is not None else values
    check_required(node, values, side, slot_type, tree)
    return _resolve(node, node.name, slot_type, side, values, tree, registry, None, True)


def _spellings(types: Sequence[str], registry: Registry) -> list[str]:
    """Slot types by their names of today and of older versions."""
    now = {registry.today("slot", name) for name in types}
    old = [name for name, new in registry.aliases("slot").items() if new in now]
    return [*types, *now, *old]


def _resolve(
    node: Plain | Slot,
    name: str,
    slot_type: SlotType,
    side: Side,
    values: Mapping[str, Any],
    tree: Instruction,
    registry: Registry,
    plain: str | None,
    may_learn: bool,
) -> SlotPlan:
    """Choose the components of a slot: what it says itself, else what its preprocessor declares."""
    values = with_defaults(values, side, slot_type)
    learned = side == "target" and may_learn and not values.get("no_loss")
    usual = (learned and slot_type.target_preprocessor) or slot_type.preprocessor
    preprocessor = _component(node, tree, registry, "preprocessor", values.pop("preprocess", usual))
    try:
        with_neighbours([preprocessor], registry)
    except PluginError as error:
        raise PlanError(str(error), tree.text, node.start) from error
    serving = dict(registry.component("preprocessor", preprocessor).uses)
    serving.update({kind: values.pop(kind) for kind in _SERVING if kind in values})
    serving = {
        kind: _component(node, tree, registry, kind, component)
        for kind, component in serving.items()
    }
    if "adapter" not in serving:
        raise PlanError(
            f"preprocessor '{preprocessor}' names no adapter",
            tree.text,
            node.start,
            "adapter=<name>",
        )
    for kind in ("head", "criterion", "generator"):
        if learned and kind not in serving:
            message = f"{slot_type.name} cannot be a target here: '{preprocessor}' has no {kind}"
            raise PlanError(message, tree.text, node.start, f"{kind}=<name>")
    return SlotPlan(
        name,
        slot_type.name,
        side,
        node.position,
        preprocessor,
        serving["adapter"],
        values,
        head=serving.get("head", ""),
        criterion=serving.get("criterion", ""),
        generator=serving.get("generator", ""),
        corruption=serving.get("corruption", ""),
        loss=learned,
        plain=plain,
    )


def _component(
    node: Plain | Slot, tree: Instruction, registry: Registry, kind: str, name: str
) -> str:
    try:
        return registry.component(kind, name).name
    except UnknownNameError as error:
        written = {"preprocessor": ("preprocess",), "adapter": ("adapter", "adaptor")}.get(
            kind, (kind,)
        )
        attributes = node.attributes if isinstance(node, Slot) else ()
        place = next((a.value_start for a in attributes if a.key in written), node.start)
        raise PlanError(f"no {kind} '{name}'", tree.text, place, error.hint) from None


def _slot_type(slot: Slot, tree: Instruction, registry: Registry) -> SlotType:
    try:
        return registry.slot(slot.type)
    except UnknownNameError as error:
        message = f"no installed plugin provides the slot type {slot.type}"
        raise PlanError(message, tree.text, slot.type_start, error.hint) from None


def _plain_type(node: Plain, tree: Instruction, registry: Registry) -> SlotType:
    try:
        return registry.plain_text_slot()
    except UnknownNameError as error:
        raise PlanError(
            "no installed plugin serves plain text", tree.text, node.start, error.hint or None
        ) from None


def _check_contrast(tree: Instruction) -> None:
    contrast = next((node for node in tree.walk() if isinstance(node, Contrast)), None)
    if contrast is not None and tree.target:
        hint = "leave the target empty: [A:x|B:y] ->"
        raise PlanError(
            "an instruction with a contrast has no target", tree.text, contrast.start, hint
        )


def _check_names(template: TemplatePlan, uses: Sequence[tuple[str, str]]) -> None:
    columns = template.columns()
    for name, user in uses:
        if name not in columns:
            hint = suggest(name, columns) or f"one of: {', '.join(columns)}"
            raise PlanError(
                f"{user} names the slot '{name}', which this template does not have",
                template.text,
                0,
                hint,
            )
