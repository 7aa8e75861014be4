"""What validation measures while a model trains."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ofacore.batching.collate import collate
from ofacore.batching.permutation import item_rng
from ofacore.config.train_section import TrainConfig
from ofacore.encoding.encoder import Encoder
from ofacore.evaluation.metric_check import try_metrics
from ofacore.evaluation.runner import Evaluated, evaluate_tasks
from ofacore.parallel.agreement import evaluation_share, everyones
from ofacore.protocols import Example, RowError
from ofacore.setup.datasets import spread
from ofacore.sources import Source

logger = logging.getLogger("ofacore.training")


@dataclass
class Validator:
    """Mean loss of every term on a fixed sample of each task's validation rows; metrics too, where asked."""

    generalist: Evaluated
    deciding: dict[str, bool] = field(default_factory=dict)
    """The first metric of each task, once it was measured -> whether higher is better."""
    higher: dict[str, bool] = field(default_factory=dict)
    """Name of a measured metric -> whether higher is better."""
    _told: set[str] = field(default_factory=set)

    @torch.no_grad()
    def __call__(self, step: int) -> dict[str, float]:
        """``valid/task/slot/loss`` and ``valid/task/metric`` -> value; a metric that fails is told once."""
        measures = self.generalist.assembly.config.train.validation.measures
        return self.losses() | (self._metrics() if measures else {})

    @torch.no_grad()
    def losses(self) -> dict[str, float]:
        """``valid/task/slot/loss`` -> value."""
        config = self.generalist.assembly.config.train
        values: dict[str, float] = {}
        for name, source in self._sources().items():
            encoder = self.generalist.assembly.encoders[name]
            examples, left = _examples(
                name, source, encoder, config.validation.samples, config.seed
            )
            self._tell_left_out(name, len(examples) + len(left), left)
            values |= self._losses(examples, config)
        return values

    def known(self) -> dict[str, bool]:
        """What a call will give, found without generating: name -> whether higher is better."""
        assembly, found = self.generalist.assembly, dict[str, bool]()
        sources = self._sources()
        for name, source in sources.items():
            examples, _ = _examples(
                name, source, assembly.encoders[name], 2, assembly.config.train.seed
            )
            found |= {
                f"valid/{term.term}/loss": False for example in examples for term in example.terms
            }
        if assembly.config.train.validation.measures:
            judged = {name: self.generalist.data[name] for name in sources}
            for tried in try_metrics(assembly, judged):
                found |= {
                    f"valid/{tried.task}/{name}": tried.higher_is_better for name in tried.names
                }
        return found

    def _sources(self) -> dict[str, Source]:
        """Validation rows of the tasks that have some."""
        found = {name: data.splits.get("valid") for name, data in self.generalist.data.items()}
        return {
            name: source for name, source in found.items() if source is not None and len(source)
        }

    def _losses(self, examples: Sequence[Example], config: TrainConfig) -> dict[str, float]:
        """Data ranks take a share of the examples each."""
        totals: dict[str, float] = {}
        counts: dict[str, int] = {}
        rank, ranks = evaluation_share()
        own = examples[rank::ranks]
        for start in range(0, len(own), 32):
            for group, loss in self.generalist.model.losses(
                collate(own[start : start + 32], packing=config.packing)
            ):
                if not group.criterion:  # the balance of routers says nothing of rows
                    continue
                units = group.counts if loss.units is None else loss.units.tolist()
                for term, value, count in zip(
                    group.terms, loss.values.tolist(), units, strict=True
                ):
                    totals[term] = totals.get(term, 0.0) + value
                    counts[term] = counts.get(term, 0) + int(count)
        found = everyones((totals, counts))
        terms = dict.fromkeys(term for each, _ in found for term in each)
        losses = {}
        for term in terms:
            total = sum(each.get(term, 0.0) for each, _ in found)
            count = sum(each.get(term, 0) for _, each in found)
            losses[f"valid/{term}/loss"] = total / max(1, count)
        return losses

    def _metrics(self) -> dict[str, float]:
        limit = self.generalist.assembly.config.train.validation.samples
        found = list(
            evaluate_tasks(self.generalist, list(self._sources()), "valid", limit, baseline=False)
        )
        for notice in (notice for done in found for notice in done.notices):
            self._tell(f"validation: {notice}")
        for failure in (failure for done in found for failure in done.failures):
            self._tell(f"validation goes on without a metric: {failure}")
        values: dict[str, float] = {}
        for done in found:
            measured = [row for row in done.scores if not row.problem]
            names = {f"valid/{row.task}/{row.metric}": row.higher_is_better for row in measured}
            values |= {f"valid/{row.task}/{row.metric}": row.score for row in measured}
            self.higher |= names
            self.deciding |= dict(list(names.items())[:1])
        return values

    def _tell_left_out(self, task: str, looked_at: int, left: Sequence[str]) -> None:
        if left:
            more = f"; and {len(left) - 1} more" if len(left) > 1 else ""
            self._tell(
                f"validation of task '{task}': {len(left)} of {looked_at} rows are left out: {left[0]}{more}"
            )

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            logger.warning(message)


def _examples(
    task: str, source: Source, encoder: Encoder, most: int, seed: int
) -> tuple[list[Example], list[str]]:
    """Encoded validation rows, evenly spread, and why others cannot be used."""
    examples: list[Example] = []
    left: list[str] = []
    for index in spread(len(source), most):
        rng = item_rng(seed, task, 0, index, 0)
        try:
            examples.append(
                encoder.encode(source[index], split="valid", rng=rng, row_id=source.name(index))
            )
        except RowError as error:
            left.append(str(error))
    return examples, left
