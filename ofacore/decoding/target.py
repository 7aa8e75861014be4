"""Generating a target: its nodes in order, forced values fed, learned ones produced, repeats decided turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from ofacore.components.tokens.stepping import begin_run, feed_tokens
from ofacore.decoding.given import GivenTarget
from ofacore.decoding.output import Candidate
from ofacore.encoding.encoder import expected
from ofacore.encoding.filling import IsElement
from ofacore.encoding.pieces import coordinates_problem
from ofacore.ground.errors import UserError
from ofacore.ground.excerpts import listing
from ofacore.ground.vocabulary import CORE_TOKENS, EOS
from ofacore.instruction import Contrast, Node, OptionalGroup, Plain, Repeat, Slot
from ofacore.plan import TemplatePlan
from ofacore.plugin import PluginError
from ofacore.plugin.blame import Blame
from ofacore.protocols import (
    Corruption,
    DecodeSession,
    DenseSegment,
    Generator,
    HeadContext,
    Hypothesis,
    Preprocessor,
    Produced,
    RowContext,
    RowRequest,
    Segment,
    SlotPlan,
    TargetSpec,
    TokenSegment,
    seen_as,
)

_ROWS_TOLD = 8


@dataclass
class Row:
    """One row while its target is generated."""

    ctx: RowContext
    values: Mapping[str, Any]
    """Slot name -> given value, of forced slots; inside of a repeat that of the turn."""
    fields: dict[str, list[tuple[Candidate, ...]]] = field(default_factory=dict)
    """Slot name -> candidates of every turn."""
    row_id: str = ""
    """Where the row is found, for messages; empty: unknown."""
    cut: int = 0
    """Turns after which a repeat was cut off while the model would have gone on; 0: none was."""
    outside: list[Mapping[str, Any]] = field(default_factory=list)
    """Of each repeat that the row is in: the values around it."""


@dataclass(frozen=True)
class Tools:
    """What generation needs to know of the model's surroundings."""

    template: TemplatePlan
    preprocessors: Mapping[str, Preprocessor]
    generators: Mapping[str, Generator]
    rng: torch.Generator
    max_turns: int = 30
    """Most turns of a repeat."""
    want: frozenset[str] | None = None
    """Slots that optional groups are generated for; None: all."""
    phrases: Callable[[SlotPlan, RowContext], tuple[np.ndarray, ...]] = lambda slot, ctx: ()
    """Ids of phrases that a slot's value must contain."""
    max_positions: int | None = None
    """Most positions that the model takes; None: any number."""
    owner: Callable[[str, str], str] = lambda kind, name: f"{kind} '{name}'"
    """Kind and name of a component -> whose it is, for messages."""
    corruptions: Mapping[str, Corruption] = field(default_factory=dict)
    """What slots were trained with."""
    is_element: Mapping[str, IsElement] = field(default_factory=dict)
    """Slot type -> whether a value is one value of it, not a list; where it is not known no list is."""

    @property
    def given(self) -> GivenTarget:
        """What rows give of the target."""
        return GivenTarget(self.template.slots, self.is_element)


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
            _slot(session, rows, tools.template.slots[step.position], steps, tools)
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
    specs = [_spec(slot, row.ctx, tools) for row in rows]
    blocks = specs[0].blocks
    probe = session.fork()
    _place(probe, [spec.coordinates for spec in specs])
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


def _slot(
    session: DecodeSession, rows: list[Row], slot: SlotPlan, steps: tuple[_Step, ...], tools: Tools
) -> None:
    session.begin_segment()
    if slot.loss and slot.plain is None:
        _produce(session, rows, slot, steps, tools)
    else:
        _force(session, rows, slot, steps, tools)


def _produce(
    session: DecodeSession, rows: list[Row], slot: SlotPlan, steps: tuple[_Step, ...], tools: Tools
) -> None:
    specs = [_spec(slot, row.ctx, tools) for row in rows]
    tokens = specs[0].in_run
    if not tokens:
        _flush(session)
    _place(session, [spec.coordinates for spec in specs])
    last = not _continues(steps, rows[0], tools)
    requests = []
    for row, spec in zip(rows, specs, strict=True):
        required = tools.phrases(slot, row.ctx) if tokens else ()
        request = RowRequest(
            slot,
            row.ctx,
            spec,
            last=last,
            final=not steps,
            required=required,
        )
        requests.append(request)
    if tokens:
        _check_room(slot, _needed(specs), seen_as(DecodeSession, session).room)
    place = f"task '{rows[0].ctx.task}', slot '{slot.name}'{_told(rows)}"
    with Blame(tools.owner("generator", slot.generator), place):
        produced = tools.generators[slot.generator](session, requests, tools.rng)
        _check_produced(produced, len(rows))
    for row, found in zip(rows, produced, strict=True):
        row.fields.setdefault(slot.name, []).append(_candidates(found, slot, row, tools))
    if tokens and last and steps:
        _flush(session, slot.adapter)


def _check_produced(produced: Sequence[Produced], rows: int) -> None:
    """Every row has a candidate.

    Raises:
        ValueError, TypeError: One has none.
    """
    if len(produced) != rows:
        raise ValueError(f"it gave candidates for {len(produced)} rows of {rows}")
    for found in produced:
        if not isinstance(found, tuple | list) or not all(isinstance(h, Hypothesis) for h in found):
            raise TypeError(f"it gave {found!r:.60} for a row, which is no tuple of Hypothesis")
        if not found:
            raise ValueError("it gave no candidate for a row")


def _needed(specs: Sequence[TargetSpec]) -> int:
    """How many positions a value takes at least, whatever is generated."""
    places = [
        int(spec.coordinates.max(initial=-1)) + 1 for spec in specs if spec.coordinates is not None
    ]
    if places:
        return max(places)
    members = max((len(value) for spec in specs for value in spec.closed_set), default=1)
    return max(members, *(spec.length or 0 for spec in specs))


def _check_room(slot: SlotPlan, needed: int, room: int | None) -> None:
    """The model tells so many more positions apart; the last token of a target is not read again.

    Raises:
        UserError: It does not.
    """
    if room is not None and needed > room + 1:
        problem = f"{needed} more positions are needed, but the model has {max(room + 1, 0)}"
        raise UserError(
            f"slot '{slot.name}': {problem}; give shorter values, or train with more model.max_positions"
        )


def _told(rows: Sequence[Row]) -> str:
    """``, row 3``: where rows are found, as the end of a place; empty where nobody knows."""
    known = [row.row_id for row in rows if row.row_id]
    return f", {listing(known, _ROWS_TOLD)}" if known else ""


def _candidates(found: Produced, slot: SlotPlan, row: Row, tools: Tools) -> tuple[Candidate, ...]:
    preprocessor = tools.preprocessors[slot.preprocessor]
    owner = tools.owner("preprocessor", slot.preprocessor)
    with Blame(owner, f"decode, task '{row.ctx.task}', slot '{slot.name}'{_told([row])}"):
        return tuple(
            Candidate(
                preprocessor.decode(h, slot, row.ctx),
                float(h.score),
                h.log_probs,
                h.log_prob,
                h.tokens,
            )
            for h in found
        )


def _force(
    session: DecodeSession, rows: list[Row], slot: SlotPlan, steps: tuple[_Step, ...], tools: Tools
) -> None:
    """Feed plain text, or values that the caller gave for ``no_loss`` slots."""
    if not steps:
        return
    segments = [_encoded(slot, row, tools) for row in rows]
    for parts in zip(*segments, strict=True):
        if isinstance(parts[0], TokenSegment):
            _force_tokens(session, slot, parts)  # type: ignore[arg-type]
        else:
            _flush(session, slot.adapter)
            _commit(session, slot, parts)  # type: ignore[arg-type]
    if not _continues(steps, rows[0], tools):
        _flush(session, slot.adapter)


def _force_tokens(session: DecodeSession, slot: SlotPlan, parts: Sequence[TokenSegment]) -> None:
    """Feed one segment of each row: token by token, or all at once where they see each other."""
    _place(session, [part.coordinates for part in parts])
    if parts[0].shift:
        needed = max(_positions(part) for part in parts)
        _check_room(slot, needed, seen_as(DecodeSession, session).room)
        feed_tokens(session, [part.ids for part in parts], slot.adapter)
        return
    _flush(session, slot.adapter)
    ids = torch.from_numpy(np.concatenate([part.ids for part in parts]).astype(np.int64))
    session.commit(
        {"tokens": ids.to(session.device)}, slot.adapter, [(len(part.ids),) for part in parts]
    )


def _positions(part: TokenSegment) -> int:
    """Positions of the model that a segment takes."""
    return len(part.ids) if part.coordinates is None else int(part.coordinates.max(initial=-1)) + 1


def _place(session: DecodeSession, coordinates: Sequence[np.ndarray | None]) -> None:
    if any(own is not None for own in coordinates):
        session.place(coordinates)


def _commit(session: DecodeSession, slot: SlotPlan, parts: Sequence[DenseSegment]) -> None:
    features = {}
    for name in parts[0].features:
        arrays = [np.asarray((part.context or part.features)[name]) for part in parts]
        features[name] = torch.from_numpy(np.concatenate(arrays)).to(session.device)
    session.commit(features, slot.adapter, [part.shape for part in parts])


def _flush(session: DecodeSession, adapter: str = "token") -> None:
    """Feed the last token of a run that something else follows."""
    if session.pending is not None:
        session.step({"tokens": session.pending}, adapter)
        session.pending = None


def _encoded(slot: SlotPlan, row: Row, tools: Tools) -> list[Segment]:
    value = slot.plain if slot.plain is not None else row.values.get(slot.name)
    return tools.preprocessors[slot.preprocessor].encode(value, replace(slot, loss=False), row.ctx)


def _spec(slot: SlotPlan, ctx: RowContext, tools: Tools) -> TargetSpec:
    preprocessor = tools.preprocessors[slot.preprocessor]
    if slot.plain is None:
        spec = expected(preprocessor, tools.corruptions.get(slot.corruption), slot, ctx)
        if spec.length and tools.max_positions and spec.length > tools.max_positions:
            problem = (
                f"{spec.length} positions are asked for, but the model takes {tools.max_positions}"
            )
            raise UserError(
                f"slot '{slot.name}': {problem}; ask for fewer, or raise model.max_positions"
            )
        if spec.coordinates is not None:
            _check_coordinates(spec, slot, tools)
        return spec
    segments = preprocessor.encode(slot.plain, slot, ctx)
    blocks = segments[0].blocks if segments and isinstance(segments[0], TokenSegment) else ()
    return TargetSpec(blocks=blocks)


def _check_coordinates(spec: TargetSpec, slot: SlotPlan, tools: Tools) -> None:
    """A place for each token of a value whose length is known.

    Raises:
        PluginError: There are others, or the length is not known.
    """
    problem = "expect gives coordinates but no length; only a value of known length has them"
    if spec.length is not None:
        problem = coordinates_problem(spec.coordinates, spec.length)
    if problem:
        raise PluginError(
            f"{tools.owner('preprocessor', slot.preprocessor)}, slot '{slot.name}': {problem}"
        )


def _continues(steps: tuple[_Step, ...], row: Row, tools: Tools) -> bool:
    """Whether what follows belongs to the same run of tokens."""
    for step in steps:
        if isinstance(step, _Turn | Repeat):
            return True
        if isinstance(step, OptionalGroup) and not _wanted(step, tools):
            continue
        slot = tools.template.slots[_leaves((step,))[0].position]
        if slot.plain is not None or slot.loss:
            return _spec(slot, row.ctx, tools).in_run
        first = _encoded(slot, row, tools)[0]
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
