"""One slot of a target: its value is generated, or fed where it is plain text or given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from ofacore.components.tokens.stepping import feed_tokens
from ofacore.decoding.given import GivenTarget
from ofacore.decoding.output import Candidate
from ofacore.encoding.encoder import expected
from ofacore.encoding.filling import IsElement
from ofacore.encoding.pieces import coordinates_problem
from ofacore.ground.errors import UserError
from ofacore.ground.excerpts import listing
from ofacore.plan import TemplatePlan
from ofacore.plugin import PluginError
from ofacore.plugin.blame import Blame
from ofacore.protocols import (
    Corruption,
    DecodeSession,
    DenseSegment,
    Generator,
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
class Behind:
    """What follows a slot in the target."""

    nothing: bool
    same_run: Callable[[], bool]
    """Whether it belongs to the run of tokens that the slot is in."""


def fill_slot(
    session: DecodeSession, rows: Sequence[Row], slot: SlotPlan, behind: Behind, tools: Tools
) -> None:
    """Generate the values of a slot that is learned; feed plain text, and values that the caller gave."""
    session.begin_segment()
    if slot.loss and slot.plain is None:
        _produce(session, rows, slot, behind, tools)
    else:
        _force(session, rows, slot, behind, tools)


def _produce(
    session: DecodeSession, rows: Sequence[Row], slot: SlotPlan, behind: Behind, tools: Tools
) -> None:
    specs = [spec_of(slot, row.ctx, tools) for row in rows]
    tokens = specs[0].in_run
    if not tokens:
        _flush(session)
    place_at(session, [spec.coordinates for spec in specs])
    last = not behind.same_run()
    requests = []
    for row, spec in zip(rows, specs, strict=True):
        required = tools.phrases(slot, row.ctx) if tokens else ()
        request = RowRequest(
            slot,
            row.ctx,
            spec,
            last=last,
            final=behind.nothing,
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
    if tokens and last and not behind.nothing:
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
    session: DecodeSession, rows: Sequence[Row], slot: SlotPlan, behind: Behind, tools: Tools
) -> None:
    if behind.nothing:
        return
    segments = [encoded(slot, row, tools) for row in rows]
    for parts in zip(*segments, strict=True):
        if isinstance(parts[0], TokenSegment):
            _force_tokens(session, slot, parts)  # type: ignore[arg-type]
        else:
            _flush(session, slot.adapter)
            _commit(session, slot, parts)  # type: ignore[arg-type]
    if not behind.same_run():
        _flush(session, slot.adapter)


def _force_tokens(session: DecodeSession, slot: SlotPlan, parts: Sequence[TokenSegment]) -> None:
    """Feed one segment of each row: token by token, or all at once where they see each other."""
    place_at(session, [part.coordinates for part in parts])
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


def place_at(session: DecodeSession, coordinates: Sequence[np.ndarray | None]) -> None:
    """Tell the session where the positions to come stand, where slots of some rows say so."""
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


def encoded(slot: SlotPlan, row: Row, tools: Tools) -> list[Segment]:
    """Segments of plain text, or of the value that a row gives for a slot."""
    value = slot.plain if slot.plain is not None else row.values.get(slot.name)
    return tools.preprocessors[slot.preprocessor].encode(value, replace(slot, loss=False), row.ctx)


def spec_of(slot: SlotPlan, ctx: RowContext, tools: Tools) -> TargetSpec:
    """What the value of a slot will look like in a row.

    Raises:
        UserError: It is longer than the model takes.
    """
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
