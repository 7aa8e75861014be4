"""The pass before a step of self-critical training: the model writes, a metric rewards, the step learns from it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from ofacore.batching.permutation import stable_key
from ofacore.batching.steps import Step
from ofacore.components.tokens.token_generator import TokenGenerator
from ofacore.decoding.writing import write_slot
from ofacore.encoding.encoder import Encoder
from ofacore.encoding.sampled import matching, rolled_out, slot_of, with_tokens
from ofacore.evaluation.judging import Answered, Judging, LeftOut
from ofacore.evaluation.references import TargetValues
from ofacore.evaluation.scoring import Judged, blaming, filled
from ofacore.plan import TemplatePlan
from ofacore.plan.generation import generation_of
from ofacore.plugin import MetricUse, Registry
from ofacore.protocols import Example, Generator, Hypothesis, Options, RowContext, SlotPlan
from ofacore.training.training_errors import TrainingError

if TYPE_CHECKING:
    from ofacore.generalist.facade import Generalist

logger = logging.getLogger("ofacore.training")
_KEPT = ("max_length", "min_length")
"""Options of search that hold for drawn sequences too; any other would draw from another distribution."""


@dataclass(frozen=True)
class Rows:
    """Rows of a step in which the same slot of the same template is written."""

    step: Step
    encoder: Encoder
    template: TemplatePlan
    slot: SlotPlan
    criterion: str
    options: Options
    """Of the criterion."""
    places: tuple[int, ...]
    """Numbers of the rows within the step."""

    @property
    def examples(self) -> list[Example]:
        """The rows as they were encoded."""
        return [self.step.examples[place] for place in self.places]

    def error(self, problem: str) -> TrainingError:
        """What is wrong with the term."""
        return TrainingError(
            f"task '{self.encoder.plan.name}', {self.criterion} on slot '{self.slot.name}': {problem}"
        )


@dataclass(frozen=True)
class Judge:
    """The reward of some rows."""

    use: MetricUse
    values: TargetValues
    judged: Judged
    kept: tuple[int, ...]
    """Which of the rows have a reference."""


@dataclass(frozen=True)
class Rollout:
    """Replaces the sequences of terms that need a rollout; everything else of a step stays as it is.

    What is drawn for a row depends on the model and (seed, step, sample, copy) alone.
    """

    generalist: Generalist
    told: set[tuple[str, str]] = field(default_factory=set)
    """(task, column) of which it was said that references are missing."""

    def __call__(self, step: Step, model: nn.Module) -> Step:
        """The step with drawn sequences as further examples, each with its advantage.

        Raises:
            TrainingError: A slot cannot be drawn, or the options of the criterion do not fit.
            MetricError: The reward cannot be computed.
        """
        examples, numbers = self._others(step)
        model.eval()
        for rows in self._groups(step):
            drawn = self._drawn(rows, model)
            examples += drawn
            numbers += range(
                -1 - len(numbers), -1 - len(numbers) - len(drawn), -1
            )  # no row of the data is below 0
        model.train()
        config = self.generalist.assembly.config.train
        done = replace(step, examples=tuple(examples), numbers=tuple(numbers), batches=[])
        done.batches = done.split(
            config.micro_batch_positions, config.micro_batch_samples, config.packing
        )
        return done

    def _others(self, step: Step) -> tuple[list[Example], list[int]]:
        """Examples with the terms that need no rollout, as far as they have any."""
        examples: list[Example] = []
        numbers: list[int] = []
        for example, number in zip(step.examples, step.numbers, strict=True):
            encoder = self.generalist.assembly.encoders[example.task]
            terms = tuple(term for term in example.terms if not rolled_out(encoder, term))
            if terms:
                examples.append(replace(example, terms=terms, context=None))
                numbers.append(number)
        return examples, numbers

    def _groups(self, step: Step) -> list[Rows]:
        assembly, found = self.generalist.assembly, dict[Any, Rows]()
        for place, example in enumerate(step.examples):
            encoder = assembly.encoders[example.task]
            for term in (term for term in example.terms if rolled_out(encoder, term)):
                template = matching(encoder, example)
                slot = next(one for one in template.targets() if one.name == slot_of(term))
                options = {
                    **assembly.registry.component("criterion", term.criterion).options,
                    **term.options,
                }
                key = example.task, template.text, slot.position, bool(example.source)
                if key not in found:
                    found[key] = Rows(step, encoder, template, slot, term.criterion, options, ())
                    _check(found[key], example)
                found[key] = replace(found[key], places=(*found[key].places, place))
        return list(found.values())

    def _drawn(self, rows: Rows, model: nn.Module) -> list[Example]:
        """Every drawn sequence as an example."""
        judge, copies = self._judge(rows), range(int(rows.options["samples"]))
        contexts = [self._contexts(rows, copy) for copy in copies]
        temperature = float(rows.options["temperature"])
        options = {**self._lengths(rows), "strategy": "sample", "temperature": temperature}
        drawing = TokenGenerator(options)
        written = [self._written(rows, model, own, drawing) for own in contexts]
        pairs = zip(contexts, written, strict=True)
        rewards = np.stack([self._rewards(rows, judge, own, answers) for own, answers in pairs])
        baseline = self._baseline(rows, model, judge, rewards)
        return [
            _example(
                rows,
                rows.examples[i],
                contexts[copy][i],
                written[copy][i],
                rewards[copy, i],
                baseline[copy, i],
            )
            for copy in copies
            for i in range(len(rows.places))
        ]

    def _contexts(self, rows: Rows, copy: int) -> list[RowContext]:
        return [self._context(rows, place, copy) for place in rows.places]

    def _context(self, rows: Rows, place: int, copy: int) -> RowContext:
        """The row with the generator of one of its sequences."""
        ctx = rows.step.examples[place].context
        assert ctx is not None, "encoders keep the rows of terms that need a rollout"
        seed, number = self.generalist.assembly.config.train.seed, rows.step.numbers[place]
        key = stable_key(
            "rollout", seed, ctx.task, rows.slot.position, rows.step.number, number, copy
        )
        return replace(ctx, rng=np.random.default_rng(key))

    def _lengths(self, rows: Rows) -> dict[str, Any]:
        """How long a value may be, as the options of generation of its task say."""
        assembly = self.generalist.assembly
        layers = (assembly.config.generation, rows.encoder.plan.generation)
        options = generation_of([rows.slot], assembly.registry, *layers).generators[
            rows.slot.generator
        ]
        return {name: options[name] for name in _KEPT if name in options}

    def _written(
        self, rows: Rows, model: nn.Module, contexts: Sequence[RowContext], generator: Generator
    ) -> list[np.ndarray]:
        return write_slot(
            model, rows.encoder, rows.examples, contexts, rows.template, rows.slot, generator
        )

    def _baseline(
        self, rows: Rows, model: nn.Module, judge: Judge, rewards: np.ndarray
    ) -> np.ndarray:
        """What a sequence must surpass: fp64 [copies, rows]."""
        kind = rows.options["baseline"]
        if kind == "none":
            return np.zeros_like(rewards)
        if kind == "mean":
            return (rewards.sum(0, keepdims=True) - rewards) / (len(rewards) - 1)
        contexts = self._contexts(rows, -1)
        greedy = self._written(rows, model, contexts, self._greedy(rows))
        return np.broadcast_to(self._rewards(rows, judge, contexts, greedy), rewards.shape)

    def _greedy(self, rows: Rows) -> Generator:
        """The slot's generator, taking the likeliest token each time where it can be told to."""
        name, registry = rows.slot.generator, self._registry
        known = registry.component("generator", name).options
        wanted = {"strategy": "greedy"} if "strategy" in known else {}
        generator: Generator = registry.make("generator", name, {**self._lengths(rows), **wanted})
        return generator

    def _reward_of(self, rows: Rows) -> MetricUse:
        """The metric that rewards: the one named, else the task's first on the slot."""
        name, given = str(rows.options["reward"]), dict(rows.options["reward_options"])
        uses = [use for use in rows.encoder.plan.metrics if use.slot == rows.slot.name]
        fitting = next((use for use in uses if name in ("", use.metric)), None)
        if fitting is not None:
            return replace(fitting, options={**fitting.options, **given})
        if not name:
            raise rows.error(
                "no reward; name a metric as its option 'reward', or give the task a metric on the slot"
            )
        return MetricUse(
            name,
            rows.slot.name,
            {**self.generalist.assembly.registry.component("metric", name).options, **given},
        )

    def _judge(self, rows: Rows) -> Judge:
        """The reward, with the rows that it can judge; those without a reference are told once."""
        use, values, registry = (
            self._reward_of(rows),
            TargetValues(rows.encoder, rows.template),
            self._registry,
        )
        contexts = [example.context for example in rows.examples if example.context is not None]
        pairs = zip(rows.examples, contexts, strict=True)
        answered = [
            Answered(example.row_id, ctx.row, ctx, {}, mapped=ctx.row) for example, ctx in pairs
        ]
        with blaming(rows.encoder.plan.name, use):
            judging = Judging(values, answered, registry)
            judged, kept, left = judging.chosen(use)
            judged, kept, refused = judging.accepted(judged, use, kept)
        for one in (*left, *refused):
            self._tell(rows, one)
        return Judge(use, values, judged, tuple(kept))

    def _tell(self, rows: Rows, left: LeftOut) -> None:
        """The first row of a column that has no reference is named."""
        task = rows.encoder.plan.name
        if (task, left.column) not in self.told:
            self.told.add((task, left.column))
            reason = left.reason or "the column is empty"
            where = f"task '{task}', {left.name}, column '{left.column}'"
            logger.warning(
                "%s: no reference (%s); such rows get no reward and teach nothing", where, reason
            )

    @property
    def _registry(self) -> Registry:
        return self.generalist.assembly.registry

    def _rewards(
        self,
        rows: Rows,
        judge: Judge,
        contexts: Sequence[RowContext],
        written: Sequence[np.ndarray],
    ) -> np.ndarray:
        """fp64 [rows], higher is better; 0 for rows without a reference, which so teach nothing."""
        found = np.zeros(len(written))
        if not judge.kept:
            return found
        preprocessor, slot, use = (
            rows.encoder.preprocessors[rows.slot.preprocessor],
            rows.slot,
            judge.use,
        )
        answers = []
        for place in judge.kept:
            answer = preprocessor.decode(Hypothesis(written[place]), slot, contexts[place])
            answers.append(judge.values.predictions({slot.name: answer}, contexts[place]))
        with blaming(rows.encoder.plan.name, use):
            metric = filled(judge.judged, use, self._registry, answers)
            items = np.asarray(metric.items(), np.float64)
        if len(items) != len(answers):
            raise rows.error(
                f"metric '{use.metric}' gives no number for each sample; choose a reward that does"
            )
        found[list(judge.kept)] = items if metric.higher_is_better else -items
        return found


def _check(rows: Rows, example: Example) -> None:
    """Refuse what cannot be drawn, and options that contradict each other."""
    options, slot = rows.options, rows.slot
    if int(options["samples"]) < (2 if options["baseline"] == "mean" else 1):
        raise rows.error(
            f"samples={options['samples']}; the baseline '{options['baseline']}' needs more"
        )
    if slot.repeat or slot.attributes.get("closed_set"):
        what = "stands in a repeat" if slot.repeat else "has a closed set"
        raise rows.error(f"the slot {what}, which cannot be drawn; use cross-entropy there")
    if example.context is None or not rows.encoder.blocks(slot, example.context):
        raise rows.error(f"values of type {slot.type} are no tokens, which alone can be drawn")


def _example(
    rows: Rows, example: Example, ctx: RowContext, ids: np.ndarray, reward: float, baseline: float
) -> Example:
    drawn, terms = with_tokens(rows.encoder, example, ctx, rows.template, rows.slot, ids)
    labels = {
        "advantage": np.array([reward - baseline], np.float32),
        "reward": np.array([reward], np.float32),
    }
    weighed = [
        replace(
            term,
            labels={**term.labels, **labels},
            weight=term.weight / int(rows.options["samples"]),
        )
        for term in terms
    ]
    return replace(drawn, terms=tuple(weighed))
