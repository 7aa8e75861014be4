"""A plan as a person or a program reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ofacore.ground.excerpts import excerpt
from ofacore.instruction import Contrast, Node, OptionalGroup, Plain, Repeat, Slot
from ofacore.plan.criterion_needs import told
from ofacore.plan.types import LossPlan, TaskPlan, TemplatePlan
from ofacore.protocols import Options, SlotPlan

_NONE: Mapping[str, Sequence[int]] = MappingProxyType({})


def as_dict(plan: TemplatePlan) -> dict[str, Any]:
    """A template's plan as JSON-ready data."""
    return {
        "instruction": plan.text,
        "weight": plan.weight,
        "slots": [_slot(slot) for slot in plan.slots.values()],
        "source": [_node(node) for node in plan.tree.source],
        "target": [_node(node) for node in plan.tree.target],
    }


def as_text(plan: TaskPlan | TemplatePlan, needs: Mapping[str, Sequence[int]] = _NONE) -> str:
    """The plan as an indented table, one slot a line.

    Args:
        plan: A whole task, or one of its templates.
        needs: Of a task, what `ofacore.plan.attention_needs` found.
    """
    if isinstance(plan, TaskPlan):
        parts = [as_text(template) for template in plan.templates]
        losses = [_loss(loss) for loss in plan.all_losses()]
        if losses:
            parts.append("\n".join(["losses", *losses]))
        if plan.row_transforms:
            changes = [
                _row_transform(name, options) for name, options in plan.row_transforms.items()
            ]
            parts.append("\n".join(["row transforms", *changes]))
        if needs:
            parts.append(
                "\n".join(["needs", *(f"  {told(name, layers)}" for name, layers in needs.items())])
            )
        return "\n\n".join(parts)
    lines = [plan.text]
    for side in ("source", "target"):
        rows = [slot for slot in plan.slots.values() if slot.side == side]
        lines += [f"\n{side}" if rows else f"\n{side}  (empty)"]
        lines += [line for slot in rows for line in _lines(slot)]
    if plan.contrast is not None:
        lines += [
            f"\ncontrast  {plan.contrast.left.name} | {plan.contrast.right.name}: embedded apart and matched"
        ]
    return "\n".join(lines)


def options_as_text(options: Mapping[str, Mapping[str, Any]]) -> str:
    """Options of components by ``kind/name``: a title, and one component a line."""
    lines = []
    for key, given in options.items():
        pairs = ", ".join(
            f"{name}={excerpt(value) if value == '' else value}" for name, value in given.items()
        )
        lines.append(f"  {key}  {pairs}")
    return "\n".join(["options", *lines])


def _row_transform(name: str, options: Options) -> str:
    """One transform of whole rows, on one line."""
    return "  " + " | ".join([name, *(f"{key}={value}" for key, value in options.items())])


def _loss(loss: LossPlan) -> str:
    """One declared loss, on one line."""
    parts = [f"criterion {loss.criterion}"]
    if loss.head:
        parts.append(f"head {loss.head}")
    if loss.labels != loss.hidden:
        parts.append(f"labels of {loss.labels}")
    if loss.weight != 1.0:
        parts.append(f"weight {loss.weight:g}")
    parts += [f"{name}={value}" for name, value in loss.options.items()]
    return f"  {loss.hidden}: {' | '.join(parts)}"


def _lines(slot: SlotPlan) -> list[str]:
    title = f'"{slot.plain}"' if slot.plain is not None else f"[{slot.type}:{slot.name}]"
    parts = [f"preprocessor {slot.preprocessor}", f"adapter {slot.adapter}"]
    if slot.loss:
        parts += [f"head {slot.head}", f"criterion {slot.criterion}", f"generator {slot.generator}"]
        parts += [f"corruption {slot.corruption}"] if slot.corruption else []
    elif slot.side == "target":
        parts += ["no loss, forced at inference"]
    lines = [f"  {slot.position}  {title}", f"       {' | '.join(parts)}"]
    if slot.attributes:
        lines += [f"       {', '.join(f'{key}={value}' for key, value in slot.attributes.items())}"]
    return lines


def _slot(slot: SlotPlan) -> dict[str, Any]:
    keys = ("name", "type", "side", "position", "preprocessor", "adapter", "loss", "plain")
    entry: dict[str, Any] = {key: getattr(slot, key) for key in keys}
    entry["attributes"] = dict(slot.attributes)
    if slot.loss:
        entry |= {
            key: getattr(slot, key) for key in ("head", "criterion", "generator", "corruption")
        }
    return entry


def _node(node: Node) -> Any:
    if isinstance(node, Plain | Slot):
        return node.position
    if isinstance(node, Contrast):
        return {"contrast": [node.left.position, node.right.position]}
    kind = "repeat" if isinstance(node, Repeat) else "optional"
    items = node.items if isinstance(node, Repeat | OptionalGroup) else ()
    return {kind: [_node(child) for child in items]}
