"""Generating for many rows of one task: encode, collate, decode in batches, put results back in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import torch

from ofacore.batching.collate import collate
from ofacore.batching.permutation import stable_key
from ofacore.decoding.checking import RequestChecks
from ofacore.decoding.given import GivenTarget
from ofacore.decoding.output import Field, Output
from ofacore.decoding.phrases import Phrases
from ofacore.decoding.session import DecodingModel, Session
from ofacore.decoding.slots import Row, Tools
from ofacore.decoding.target import generate_target
from ofacore.encoding.encoder import Encoder, Request
from ofacore.instruction import Contrast, Node, Plain, Repeat, Slot
from ofacore.model.backbone.blocked import blocked_weights
from ofacore.parallel.agreement import evaluation_share, everyones
from ofacore.plan import TemplatePlan
from ofacore.plan.generation import Generation
from ofacore.plugin import Registry
from ofacore.plugin.blame import who
from ofacore.protocols import BatchSide, Example, Generator, RowContext, RowError, Split, Vocabulary
from ofacore.sources.data_errors import Blaming, blamed_column, reason_at

logger = logging.getLogger("ofacore.decoding")


@dataclass(frozen=True)
class Inference:
    """Generates targets of one planned task with one model."""

    model: DecodingModel
    encoder: Encoder
    registry: Registry
    vocabulary: Vocabulary
    generation: Generation
    want: frozenset[str] | None = None
    batch_size: int = 64
    split: Split = "infer"
    shared: bool = False
    """Data ranks, which all call this together with the same rows, each generate for a share of them."""
    progress: Callable[[int], None] | None = None
    """Is told of each batch how many rows it answered."""

    @torch.no_grad()
    def __call__(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        on_error: str = "raise",
        numbers: Sequence[int] | None = None,
    ) -> list[Output]:
        """One output for each row, in order.

        Args:
            rows: Slot or column name -> value.
            on_error: ``raise``, or ``keep``: a row that cannot be used gives an output that says why.
            numbers: Of the rows, where these are a part of more: what is drawn at random depends on them; default:
                their places here.

        Raises:
            EncodeError: A row cannot be used.
            UserError: No value can be as the options of generation ask.
        """
        if numbers is None:
            numbers = range(len(rows))
        requests = [self._request(row, numbers[i], on_error) for i, row in enumerate(rows)]
        outputs: list[Output | None] = [None] * len(rows)
        usable: list[tuple[int, Request]] = []
        for i, request in enumerate(requests):
            if isinstance(request, RowError):
                outputs[i] = self._refused(rows[i], request)
            else:
                usable.append((i, request))
        if usable:
            self._check(usable[0][1])
        usable.sort(key=lambda pair: (bool(pair[1].source.source), _size(pair[1].source)))
        rank, ranks = evaluation_share() if self.shared else (0, 1)
        with blocked_weights(self.model):
            for batch in _batches(usable[rank::ranks], self.batch_size):
                generated = self._generate([request for _, request in batch])
                for (i, _), output in zip(batch, generated, strict=True):
                    outputs[i] = output
                if self.progress is not None:
                    self.progress(len(batch))
        if ranks > 1:
            self._fill(outputs, dict(usable))
        found = [output for output in outputs if output is not None]
        self._tell_cuts(found)
        return found

    def _refused(self, row: Mapping[str, Any], error: RowError) -> Output:
        """The output of a row that cannot be used."""
        ctx = RowContext(row, self.encoder.plan.name, "infer", np.random.default_rng(0))
        return Output({}, ctx, reason_at("", error))

    def _tell_cuts(self, outputs: Sequence[Output]) -> None:
        """Values that are missing must not look as if the model did not know them."""
        most = self.generation.max_turns
        if any(output.cut for output in outputs):
            _tell_once(
                f"task '{self.encoder.plan.name}': a repeat was cut off after {most} turns, where the model would have "
                f"gone on; the option of generation max_turns allows more"
            )

    def _fill(self, outputs: list[Output | None], requests: Mapping[int, Request]) -> None:
        """Take over what other data ranks generated."""
        own = {
            i: (_values(output), output.cut)
            for i, output in enumerate(outputs)
            if output is not None and i in requests
        }
        for shown in everyones(own):
            for i, (values, cut) in shown.items():
                if outputs[i] is None:
                    row = Row(requests[i].context, requests[i].context.row, fields=dict(values))
                    fields = self._fields(row, requests[i].template)
                    outputs[i] = Output(fields, row.ctx, cut=cut)

    def _request(self, row: Mapping[str, Any], number: int, on_error: str) -> Request | RowError:
        rng = np.random.default_rng(stable_key("infer", self.generation.seed, number))
        try:
            request = self.encoder.encode_request(
                row,
                rng=rng,
                row_id=f"row {number}",
                split=self.split,
                guided=self._guided,
            )
            with Blaming(self.encoder.plan.name, f"row {number}"):
                self._check_target(request)
            return request
        except RowError as error:
            if on_error == "raise":
                raise
            return error

    def _check_target(self, request: Request) -> None:
        """Find what a row lacks for its target before it is decoded together with others.

        Raises:
            RowError: A value that is given is missing or unusable, or nothing says what is to be generated.
        """
        ctx = replace(
            request.context,
            rng=np.random.default_rng(0),
            published=request.context.published.copy(),
        )
        given = GivenTarget(request.template.slots, self.encoder.kinds.element_tests)
        for slot, value in given.values(request.template.tree.target, ctx.row):
            with blamed_column(slot.name):
                if value is None:
                    raise RowError(
                        f"[{slot.type}:{slot.name}] is given, not generated, but the row has none"
                    )
                self.encoder.preprocessors[slot.preprocessor].encode(value, slot, ctx)
        for slot in request.template.slots.values():
            if slot.side == "target" and slot.loss and slot.plain is None and not slot.repeat:
                with blamed_column(slot.name):
                    self.encoder.preprocessors[slot.preprocessor].expect(slot, ctx)

    def _generate(self, requests: Sequence[Request]) -> list[Output]:
        template = requests[0].template
        unconditional = None
        if self._guided:
            unconditional = self._session(
                [request.unprompted or request.source for request in requests], None
            )
        session = self._session([request.source for request in requests], unconditional)
        rows = [Row(r.context, r.context.row, row_id=r.source.row_id) for r in requests]
        generate_target(session, rows, self._tools(template, rows[0].row_id))
        return [Output(self._fields(row, template), row.ctx, cut=row.cut) for row in rows]

    def _session(self, examples: Sequence[Example], unconditional: Session | None) -> Session:
        side: BatchSide | None = (
            collate(examples).source if any(e.source for e in examples) else None
        )
        return Session(
            self.model,
            lambda adapter, shape: self.encoder.geometry[adapter].coordinates(shape),
            side,
            len(examples),
            task=self.encoder.plan.name,
            unconditional=unconditional,
            start_ids=self.encoder.settings.start_ids,
        )

    def _tools(self, template: TemplatePlan, first: str) -> Tools:
        """Of a batch that begins with this row."""
        seed = stable_key("batch", self.generation.seed, first)
        return Tools(
            template,
            self.encoder.preprocessors,
            self._generators,
            torch.Generator().manual_seed(seed),
            self.generation.max_turns,
            self.want,
            self._phrases,
            self.encoder.settings.max_positions,
            partial(who, self.registry),
            self.encoder.corruptions,
            self.encoder.kinds.element_tests,
        )

    def _check(self, request: Request) -> None:
        """What the generators have to say of a row before anything is generated."""
        owner = partial(who, self.registry)
        RequestChecks(self.encoder, self._generators, self._phrases, self.vocabulary, owner)(
            request
        )

    @cached_property
    def _generators(self) -> Mapping[str, Generator]:
        """Generators of the target slots, each with its options."""
        given = self.generation.generators
        return {
            name: self.registry.make("generator", name, options) for name, options in given.items()
        }

    @property
    def _guided(self) -> bool:
        """Whether a generator needs to know what the model says without the prompt."""
        return any(getattr(generator, "guided", False) for generator in self._generators.values())

    @property
    def _phrases(self) -> Phrases:
        return Phrases(self.encoder.preprocessors, self.generation.generators)

    def _fields(self, row: Row, template: TemplatePlan) -> dict[str, Field]:
        repeated = _repeated(template.tree.target)
        slots = {slot.name: slot for slot in template.targets()}
        return {
            name: Field(
                slot,
                self.registry.slot(slot.type),
                self.encoder.preprocessors[slot.preprocessor],
                tuple(row.fields[name]),
                name in repeated,
            )
            for name, slot in slots.items()
            if name in row.fields
        }


@lru_cache(maxsize=256)
def _tell_once(message: str) -> None:
    """Log a message; once in each process."""
    logger.warning("%s", message)


def _values(output: Output) -> dict[str, list[Any]]:
    return {name: list(entry.turns) for name, entry in output.fields.items()}


def _size(example: Example) -> int:
    return sum(piece.length for sequence in example.source for piece in sequence)


def _batches(
    items: Sequence[tuple[int, Request]], size: int
) -> Iterator[Sequence[tuple[int, Request]]]:
    """Rows with and without a source apart, since their sessions differ."""
    for kind in (False, True):
        alike = [item for item in items if bool(item[1].source.source) is kind]
        yield from (alike[i : i + size] for i in range(0, len(alike), size))


def _repeated(nodes: Sequence[Node], inside: bool = False) -> set[str]:
    """Names of slots inside repeats."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, Slot):
            found |= {node.name} if inside else set()
        elif not isinstance(node, Plain | Contrast):
            found |= _repeated(node.items, inside or isinstance(node, Repeat))
    return found
