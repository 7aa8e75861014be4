"""Slots that refer to other slots: ``[BOX:b,image=img]``, or the nearest before it in the same turn."""

from __future__ import annotations

from ofacore.instruction import Contrast, Instruction, Node, Slot
from ofacore.instruction.tree import children
from ofacore.plan.plan_error import PlanError
from ofacore.plugin import suggest


def paths(tree: Instruction) -> dict[int, tuple[int, ...]]:
    """Position of every slot -> starts of the groups around it, outermost first."""
    found: dict[int, tuple[int, ...]] = {}

    def visit(node: Node, path: tuple[int, ...]) -> None:
        if isinstance(node, Slot):
            found[node.position] = path
        inner = path if isinstance(node, Contrast) else (*path, node.start)
        for child in children(node):
            visit(child, inner)

    for node in (*tree.source, *tree.target):
        visit(node, ())
    return found


def bind(
    slot: Slot, key: str, written: str | None, wanted: frozenset[str], tree: Instruction
) -> str | None:
    """Name of the slot that attribute ``key`` of ``slot`` refers to.

    Args:
        wanted: Slot types that may be referred to; empty means any.

    Returns:
        The name; None if nothing is written and no candidate stands before it.

    Raises:
        PlanError: The name is unknown, refers to itself or to a wrong type; or the default is ambiguous.
    """
    others = [
        s for s in tree.slots() if s.position != slot.position and (not wanted or s.type in wanted)
    ]
    if written is not None:
        place = next((a.value_start for a in slot.attributes if a.key == key), slot.start)
        if written not in {s.name for s in others}:
            kinds = f" of type {' or '.join(sorted(wanted))}" if wanted else ""
            hint = (
                suggest(written, [s.name for s in others])
                or f"one of: {', '.join(s.name for s in others) or 'none'}"
            )
            raise PlanError(
                f"no slot '{written}'{kinds} for '{key}' to refer to", tree.text, place, hint
            )
        return written
    return _nearest(slot, key, others, tree) if wanted else None


def _nearest(slot: Slot, key: str, others: list[Slot], tree: Instruction) -> str | None:
    """The one candidate before the slot within the innermost group that has any."""
    path = paths(tree)
    before = [s for s in others if s.position < slot.position]
    for depth in range(len(path[slot.position]), -1, -1):
        turn = path[slot.position][:depth]
        names = list(dict.fromkeys(s.name for s in before if path[s.position] == turn))
        if len(names) > 1:
            message = f"[{slot.type}:{slot.name}] could refer to {' or '.join(names)}"
            raise PlanError(
                message, tree.text, slot.start, f"[{slot.type}:{slot.name},{key}={names[-1]}]"
            )
        if names:
            return names[0]
    return None
