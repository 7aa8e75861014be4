"""Generating a target: its nodes in order, slots filled, repeats decided turn by turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from ofacore.components.tokens.stepping import begin_run
from ofacore.decoding.slots import Behind, Row, Tools, encoded, fill_slot, place_at, spec_of
from ofacore.ground.vocabulary import CORE_TOKENS, EOS
from ofacore.instruction import Contrast, Node, OptionalGroup, Plain, Repeat, Slot
from ofacore.protocols import DecodeSession, HeadContext, SlotPlan, TargetSpec, TokenSegment


@dataclass(frozen=True)
class _Turn:
    """A repeat that has had some turns."""

    repeat: Repeat
    number: int


_Step = Node | _Turn


def generate_target(session: DecodeSession, rows: Sequence[Row], tools: Tools) -> None:
    """Fill ``fields`` of every row; rows share the template and differ in values only."""
    for own, alike, nodes in _alike(session, rows, tools.template.tree.target, tools):
        _walk(own, alike, nodes, tools)


def _alike(
    session: DecodeSession, rows: Sequence[Row], nodes: Sequence[Node], tools: Tools
) -> list[tuple[DecodeSession, list[Row], tuple[Node, ...]]]:
    """Rows that give values of the same groups go on together, each lot with the nodes that it has."""
    lots: dict[tuple[Node, ...], list[int]] = {}
    for number, row in enumerate(rows):
        lots.setdefault(tools.given.present(nodes, row.values), []).append(number)
        for node in nodes:
            if isinstance(node, Repeat):
                _show_slots(row, node, tools)
    if len(lots) == 1:
        return [(session, list(rows), present) for present in lots]
    found = []
    for present, numbers in lots.items():
        own = session.fork()
        own.reorder(torch.tensor(numbers).to(session.device))
        found.append((own, [rows[number] for number in numbers], present))
    return found


def _walk(session: DecodeSession, rows: list[Row], steps: tuple[_Step, ...], tools: Tools) -> None:
    while steps and rows:
        step, steps = steps[0], steps[1:]
        if isinstance(step, Plain | Slot):
            behind = Behind(not steps, partial(_continues, steps, rows[0], tools))
            fill_slot(session, rows, tools.template.slots[step.position], behind, tools)
        elif isinstance(step, OptionalGroup):
            steps = (*step.items, *steps) if _wanted(step, tools) else steps
        elif isinstance(step, Repeat | _Turn):
            turn = step if isinstance(step, _Turn) else _Turn(step, 0)
            _begin_repeat(rows, turn, tools)
            session, rows = _end_some(session, rows, turn, steps, tools)
            if not rows:
                return
            for row in rows:
                given = tools.given.lists(turn.repeat, row.outside[-1])
                own = {name: values[turn.number] for name, values in given.items()}
                row.values = {**row.outside[-1], **own}
            following = (_Turn(turn.repeat, turn.number + 1), *steps)
            *others, (session, rows, present) = _alike(session, rows, turn.repeat.items, tools)
            for other, alike, nodes in others:
                _walk(other, alike, (*nodes, *following), tools)
            steps = (*present, *following)


def _wanted(group: OptionalGroup, tools: Tools) -> bool:
    names = {leaf.name for leaf in _leaves((group,)) if isinstance(leaf, Slot)}
    return tools.want is None or names <= tools.want


def _begin_repeat(rows: Sequence[Row], turn: _Turn, tools: Tools) -> None:
    """What stands around a repeat is kept for its turns."""
    for row in rows:
        if turn.number == 0:
            row.outside.append(row.values)
        _show_slots(row, turn.repeat, tools)


def _show_slots(row: Row, repeat: Repeat, tools: Tools) -> None:
    """Slots of a repeat without a single turn still appear in the output."""
    for leaf in _leaves(repeat.items):
        if isinstance(leaf, Slot) and tools.template.slots[leaf.position].loss:
            row.fields.setdefault(leaf.name, [])


def _end_some(
    session: DecodeSession, rows: list[Row], turn: _Turn, steps: tuple[_Step, ...], tools: Tools
) -> tuple[DecodeSession, list[Row]]:
    """Rows whose repeat ends here go on with what follows it; the others are returned for another turn."""
    first = tools.template.slots[_leaves(turn.repeat.items)[0].position]
    ends = _decide(session, rows, first, tools)
    ends = [done or _used_up(row, turn, tools) for row, done in zip(rows, ends, strict=True)]
    if turn.number >= tools.max_turns:
        for row, done in zip(rows, ends, strict=True):
            row.cut = row.cut if done else turn.number
        ends = [True] * len(rows)
    if not any(ends):
        return session, rows
    ended = [row for row, done in zip(rows, ends, strict=True) if done]
    going = [row for row, done in zip(rows, ends, strict=True) if not done]
    for row in ended:
        row.values = row.outside.pop()
    if steps:
        rest = session.fork()
        rest.reorder(_places(ends, True).to(session.device))
        _feed_choice(rest, first.adapter)
        _walk(rest, ended, steps, tools)
    if going:
        session.reorder(_places(ends, False).to(session.device))
    return session, going


def _used_up(row: Row, turn: _Turn, tools: Tools) -> bool:
    """Whether a slot that is given in the repeat has no value for another turn."""
    lists = tools.given.lists(turn.repeat, row.outside[-1])
    return any(turn.number >= len(values) for values in lists.values())


def _feed_choice(session: DecodeSession, adapter: str) -> None:
    """Feed the token behind which a repeat ends, as training does: what follows sees it."""
    session.begin_segment()
    pending = begin_run(session, adapter) if session.pending is None else session.pending
    session.step({"tokens": pending}, adapter)
    session.pending = None


def _places(flags: Sequence[bool], wanted: bool) -> torch.Tensor:
    return torch.tensor([i for i, flag in enumerate(flags) if flag is wanted], dtype=torch.long)


def _decide(
    session: DecodeSession, rows: Sequence[Row], slot: SlotPlan, tools: Tools
) -> list[bool]:
    """Whether ``<eos>`` is likelier than another turn, whatever that begins with."""
    specs = [spec_of(slot, row.ctx, tools) for row in rows]
    blocks = specs[0].blocks
    probe = session.fork()
    place_at(probe, [spec.coordinates for spec in specs])
    pending = begin_run(probe, slot.adapter) if probe.pending is None else probe.pending
    hidden = probe.step({"tokens": pending}, slot.adapter)[:, -1]
    prediction = probe.predict(slot.head or "token", hidden, HeadContext((1,) * probe.rows, blocks))
    logits, ids = prediction.logits().float(), prediction.ids
    end = logits[:, int((ids == EOS).nonzero()[0, 0])]
    starts = torch.stack(
        [_start_mass(line, ids, spec) for line, spec in zip(logits, specs, strict=True)]
    )
    return (end > starts).tolist()


def _start_mass(logits: torch.Tensor, ids: torch.Tensor, spec: TargetSpec) -> torch.Tensor:
    """Logarithm of the unnormalised probability of all tokens that a value may begin with."""
    allowed = ids >= len(CORE_TOKENS)
    if spec.closed_set:
        firsts = torch.tensor(
            [int(value[0]) for value in spec.closed_set if len(value)], device=ids.device
        )
        allowed = torch.isin(ids, firsts)
    return logits[allowed].logsumexp(-1)


def _continues(steps: tuple[_Step, ...], row: Row, tools: Tools) -> bool:
    """Whether what follows belongs to the same run of tokens."""
    for step in steps:
        if isinstance(step, _Turn | Repeat):
            return True
        if isinstance(step, OptionalGroup) and not _wanted(step, tools):
            continue
        slot = tools.template.slots[_leaves((step,))[0].position]
        if slot.plain is not None or slot.loss:
            return spec_of(slot, row.ctx, tools).in_run
        first = encoded(slot, row, tools)[0]
        return isinstance(first, TokenSegment) and first.shift
    return False


def _leaves(steps: Sequence[_Step]) -> list[Plain | Slot]:
    found: list[Plain | Slot] = []
    for step in steps:
        if isinstance(step, Plain | Slot):
            found.append(step)
        elif isinstance(step, Contrast):
            found += [step.left, step.right]
        elif isinstance(step, _Turn):
            found += _leaves(step.repeat.items)
        else:
            found += _leaves(step.items)
    return found
