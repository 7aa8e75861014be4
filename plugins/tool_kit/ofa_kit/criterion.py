"""Checks of criteria."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ofa_kit.compare import difference
from ofa_kit.declaration import DeclarationChecks
from ofa_kit.modules import HIDDEN, build, other_random_state, stacked
from ofa_kit.probe import BLOCK
from ofacore.ground.vocabulary import Vocabulary
from ofacore.plugin import Component
from ofacore.protocols import AttentionCriterion, CriterionContext, HeadContext, Loss, seen_as

CLOSE = 1e-4
_FLAT = 1e-3
"""A gradient this much shorter than another is none."""
SCOPES = ("position", "segment", "step")
NEEDS = frozenset({"attention", "rollout"})
Items = Sequence[tuple[int, Mapping[str, np.ndarray]]]
"""(positions, labels) of each item."""
Given = tuple[Any, dict[str, Tensor], CriterionContext]
"""Prediction, labels and context of a call."""


class CriterionConformance(DeclarationChecks):
    """Checks of one criterion on items that `labels` makes up.

    Attributes:
        criterion: Name of the criterion component.
        options: In place of the options that its component declares. Default: none.
        head: Head component that makes predictions from random states. Default: none, the states are the prediction.
        head_options: In place of the options that the head declares. Default: none.
        width: Size of the states [positions, width]. Default: 32.
        lengths: Positions of the items that are tried. Default: 3, 1, 4.
        empty_items: Whether an item may have no positions. Default: True.
    """

    criterion: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}
    head: ClassVar[str] = ""
    head_options: ClassVar[Mapping[str, Any]] = {}
    width: ClassVar[int] = HIDDEN
    lengths: ClassVar[Sequence[int]] = (3, 1, 4)
    empty_items: ClassVar[bool] = True

    def labels(self, length: int, item: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Labels of one item of ``length`` positions, arrays as a preprocessor gives them. Must be overridden.

        Tokens of the block ``probe/labels:4`` have the ids 6 to 9.
        """
        pytest.fail(
            f"{type(self).__name__}: write labels(self, length, item, rng) and return the labels of one item, such as "
            "{'values': rng.standard_normal((length, 3), np.float32)}",
            pytrace=False,
        )

    def prediction(self, states: Tensor, ctx: HeadContext) -> Any:
        """What the criterion is given for states [positions, width]: what ``head`` makes of them, else themselves."""
        return self.bench().predict(states, ctx)

    def bench(self) -> CriterionBench:
        """The criterion and its head."""
        return CriterionBench(self)

    def test_declares_scope_and_needs(self, bench: CriterionBench) -> None:
        """The core reads them to decide when and with what it calls."""
        kind = bench.factory
        name = self.criterion
        for attribute in ("scope", "needs", "batch_coupled"):
            assert hasattr(kind, attribute), (
                f"criterion '{name}' has no `{attribute}`; set it on the class"
            )
        assert kind.scope in SCOPES, (
            f"criterion '{name}': scope = {kind.scope!r}; take one of {', '.join(SCOPES)}"
        )
        needs = frozenset(kind.needs)
        assert needs <= NEEDS, (
            f"criterion '{name}': needs = {set(needs - NEEDS)}; there are {', '.join(sorted(NEEDS))}"
        )
        assert kind.batch_coupled == bench.component.batch_coupled, (
            f"criterion '{name}': the class says batch_coupled = {kind.batch_coupled}, its Component "
            f"{bench.component.batch_coupled}; they must agree, explain reads the Component"
        )

    def test_can_be_built_from_declared_options(self, bench: CriterionBench) -> None:
        """A run gives the options that the component declares, and no others."""
        declared = dict(bench.component.options)
        unknown = sorted(set(self.options) - set(declared))
        assert not unknown, (
            f"options {unknown} are not declared: add them with defaults to Component(options={{...}})"
        )
        try:
            bench.factory(declared)
        except Exception as error:
            raise AssertionError(
                f"it cannot be built from its declared options {declared}: {error!r}; a run gives these alone: declare "
                "every option with a default in Component(options={...})"
            ) from error

    def test_names_layers_of_attention(self, bench: CriterionBench) -> None:
        """The layers whose attention it reads are whole numbers, and it asks for attention where it names any."""
        made = self._made(bench)
        if "attention" not in made.needs:
            assert not hasattr(made, "attention_layers"), (
                f"criterion '{self.criterion}' names attention_layers, but needs = {set(made.needs)}: add 'attention'"
            )
            return
        layers = tuple(seen_as(AttentionCriterion, made).attention_layers)
        whole = all(isinstance(layer, int) and not isinstance(layer, bool) for layer in layers)
        assert layers and whole, (
            f"criterion '{self.criterion}': attention_layers = {layers}; give decoder layers, from 0, -1 is the last"
        )

    def test_counts_from_labels_alone(self, bench: CriterionBench) -> None:
        """Counts of a whole step are summed before any prediction is made."""
        for length, labels in bench.items:
            first = self._counted(bench, labels)
            second = self._counted(bench, labels)
            assert isinstance(first, int) and not isinstance(first, bool) and first >= 0, (
                f"count returned {first!r}; return a whole number that is not negative, int(...)"
            )
            assert first == second, (
                f"count gave {first} and then {second} for the same labels; use the labels alone"
            )
            assert first > 0 or length == 0, (
                f"count is 0 for an item of {length} positions; `labels` should give some to learn"
            )

    def test_gives_one_sum_for_each_item(self, bench: CriterionBench) -> None:
        """The core divides by counts and adds up; a criterion does neither."""
        loss = self._loss(bench, bench.items)
        assert isinstance(loss, Loss), (
            f"it returned a {type(loss).__name__}; return Loss(values, parts)"
        )
        assert loss.values.shape == (len(bench.items),), (
            f"values have the shape {tuple(loss.values.shape)} for {len(bench.items)} items; return one sum for each "
            "item"
        )
        assert loss.values.dtype == torch.float32, (
            f"values are {loss.values.dtype}; compute losses in float32"
        )
        assert bool(loss.values.isfinite().all()), f"values are not finite: {loss.values.tolist()}"
        for name, part in loss.parts.items():
            assert part.shape == loss.values.shape and not part.requires_grad, (
                f"part '{name}' has shape {tuple(part.shape)}, gradient {part.requires_grad}: give one detached "
                "number an item"
            )

    def test_sums_and_does_not_average(self, bench: CriterionBench) -> None:
        """An item twice as long, made of two equal halves, counts twice."""
        self._skip_step(bench)
        length, labels = max(bench.items, key=lambda item: item[0])
        doubled = {name: np.concatenate([value, value]) for name, value in labels.items()}
        criterion = self._made(bench)
        states = bench.states(length)
        once = self._loss(bench, [(length, labels)], states)
        try:
            twice = self._loss(bench, [(2 * length, doubled)], torch.cat([states, states]))
        except (ValueError, IndexError) as error:
            pytest.skip(f"labels of this criterion cannot be doubled: {error}")
        share = criterion.count(doubled) / max(1, criterion.count(labels))
        if share == 1:
            return
        found = float(twice.values[0].detach()) / (float(once.values[0].detach()) or 1.0)
        assert found > 1 + (share - 1) / 2, (
            f"an item with {share:g} times the count has {found:.3g} times the loss: sum over the "
            "counted units, do not take the mean; the core divides by the count of the whole step"
        )

    def test_order_of_items_does_not_matter(self, bench: CriterionBench) -> None:
        """Items in reverse order have the same losses in reverse order."""
        pieces = list(bench.all_states.split([length for length, _ in bench.items]))
        forward = self._loss(bench, bench.items, bench.all_states).values
        backward = self._loss(bench, bench.items[::-1], torch.cat(pieces[::-1])).values.flip(0)
        found = difference(forward, backward, CLOSE, "values")
        assert not found, (
            f"the losses changed when the items came in reverse order: {found}; split by ctx.lengths"
        )

    def test_items_do_not_see_each_other(self, bench: CriterionBench) -> None:
        """Unless it is declared, an item's loss is the same alone and beside others."""
        self._skip_step(bench)
        pieces = bench.all_states.split([length for length, _ in bench.items])
        together = self._loss(bench, bench.items, bench.all_states).values
        for i, (item, states) in enumerate(zip(bench.items, pieces, strict=True)):
            alone = self._loss(bench, [item], states).values
            found = difference(alone[0], together[i], CLOSE, "its loss")
            assert not found, (
                f"item {i} has another loss beside others than alone: {found}. Sum each item's "
                "own positions (ctx.lengths); if items are meant to be compared, set scope = "
                "'step' and batch_coupled = True"
            )

    def test_empty_item_costs_nothing(self, bench: CriterionBench) -> None:
        """An item without positions has the loss 0, not nan."""
        self._skip_step(bench)
        if not self.empty_items:
            pytest.skip("empty_items = False")
        empty = (0, self.labels(0, 0, np.random.default_rng(0)))
        length, labels = bench.items[0]
        loss = self._loss(bench, [(length, labels), empty])
        assert self._made(bench).count(empty[1]) == 0, (
            "count of an item without positions must be 0"
        )
        assert loss.values.shape == (2,) and float(loss.values[1].detach()) == 0.0, (
            f"an item without positions has the loss {loss.values.tolist()[1:]}: it must be 0; a "
            "mean over nothing is nan, sum instead. If your items are never empty, set "
            "empty_items = False"
        )

    def test_gradient_is_finite(self, bench: CriterionBench) -> None:
        """The loss has a finite gradient with respect to the prediction, of zero states too."""
        for scale in (1.0, 0.0):
            states = (bench.all_states * scale).requires_grad_()
            values = self._loss(bench, bench.items, states).values
            assert values.requires_grad, "the values have no gradient: do not detach the prediction"
            values.sum().backward()
            assert states.grad is not None and bool(states.grad.isfinite().all()), (
                f"the gradient is not finite{' at states of zero' if not scale else ''}: guard sqrt, log, norm and "
                "division"
            )

    def test_labels_and_prediction_are_left_as_they_are(self, bench: CriterionBench) -> None:
        """Several criteria may read the same labels."""
        before = {name: value.copy() for name, value in bench.items[0][1].items()}
        self._made(bench).count(bench.items[0][1])
        found = difference(before, bench.items[0][1], 0.0, "the labels")
        states = bench.all_states.clone()
        with torch.no_grad():
            made, given = self._call(bench, bench.items, states)
        kept = _copied(given)
        made(*given)
        found = found or difference(bench.all_states, states, 0.0, "the states")
        found = found or difference(kept, _copied(given), 0.0, "the labels or the prediction")
        assert not found, (
            f"the criterion changed what it was given: {found}; copy before changing in place"
        )

    def test_is_deterministic(self, bench: CriterionBench) -> None:
        """The same prediction and labels have the same loss, whatever the global random state."""
        found = []
        for seed in (1, 2):
            with other_random_state(seed):
                found.append(self._loss(bench, bench.items, bench.all_states).values)
        wrong = difference(found[0], found[1], 0.0, "values")
        assert not wrong, (
            f"two calls with the same input differ: {wrong}; a criterion draws no random numbers"
        )

    def test_is_nearest_to_a_teacher_that_says_the_same(self, bench: CriterionBench) -> None:
        """The distance from a teacher, where one can take part, is least and flat where both say the same."""
        made = self._made(bench)
        if not hasattr(made, "distillation"):
            pytest.skip("it has no `distillation`: no teacher can take part")
        states, others = bench.all_states.clone().requires_grad_(), bench.all_states.flip(0)
        same = self._distance(bench, states, bench.all_states)
        other = self._distance(bench, states, others)
        assert isinstance(same, Loss) and same.values.shape == (len(bench.items),), (
            "distillation: return a Loss with one sum for each item, as the criterion itself does"
        )
        values = torch.stack([same.values, other.values])
        assert values.dtype == torch.float32 and bool(values.isfinite().all()), (
            f"distillation: {values.tolist()}; compute finite distances in float32"
        )
        assert bool((same.values <= other.values + CLOSE).all()), (
            f"distillation: {same.values.tolist()} from a teacher that says the same, {other.values.tolist()} "
            "from one that does not; it must be least at the teacher's own prediction"
        )
        steepness = [_steepness(loss.values, states) for loss in (same, other)]
        assert steepness[0] <= _FLAT * max(steepness[1], 1.0), (
            f"distillation: its gradient is {steepness[0]:.3g} where the teacher says the same; it must be 0 there, so "
            "that nothing is learned from it"
        )

    def _distance(self, bench: CriterionBench, states: Tensor, taught: Tensor) -> Loss:
        """Distance of the predictions for states from those for others."""
        made, (prediction, labels, context) = self._call(bench, bench.items, states)
        with torch.no_grad():
            _, (theirs, _, _) = self._call(bench, bench.items, taught)
        found: Loss = made.distillation(
            prediction, theirs, labels, replace(context, attention=None)
        )
        return found

    def test_state_dict_round_trip(self, bench: CriterionBench) -> None:
        """Everything it learns is in its state dict."""
        first, second = self._made(bench, 1), self._made(bench, 2)
        if not isinstance(first, nn.Module):
            return
        second.load_state_dict(first.state_dict())
        losses = [
            self._loss(bench, bench.items, bench.all_states, one).values for one in (first, second)
        ]
        found = difference(losses[0], losses[1], 1e-6, "values")
        assert not found, (
            f"a criterion that loaded another's state dict differs from it: {found}; use nn.Parameter or buffers"
        )

    def _skip_step(self, bench: CriterionBench) -> None:
        if bench.factory.scope == "step" or bench.component.batch_coupled:
            pytest.skip("it compares items on purpose (scope 'step', or batch_coupled)")

    def _made(self, bench: CriterionBench, seed: int = 1) -> Any:
        return bench.made(seed)

    def _counted(self, bench: CriterionBench, labels: Mapping[str, np.ndarray]) -> Any:
        """The count that a new instance gives for a copy of the labels."""
        own_labels = {name: value.copy() for name, value in labels.items()}
        return self._made(bench).count(own_labels)

    def _loss(
        self,
        bench: CriterionBench,
        items: Items,
        states: Tensor | None = None,
        criterion: Any = None,
    ) -> Loss:
        made, given = self._call(bench, items, states, criterion)
        loss: Loss = made(*given)
        return loss

    def _call(
        self,
        bench: CriterionBench,
        items: Items,
        states: Tensor | None = None,
        criterion: Any = None,
    ) -> tuple[Any, Given]:
        """A criterion, and what it is called with."""
        lengths = tuple(length for length, _ in items)
        given = bench.states(sum(lengths)) if states is None else states
        labels = [labels for _, labels in items]
        label_lengths: dict[str, tuple[int, ...]] = {}
        for name in labels[0]:
            label_lengths[name] = tuple(len(part[name]) for part in labels)
        head = HeadContext(lengths, (BLOCK.name,))
        made = self._made(bench) if criterion is None else criterion
        attention = made_up_attention(made, lengths) if "attention" in made.needs else None
        context = CriterionContext(lengths, label_lengths, attention)
        return made, (bench.predicted(self, given, head), stacked(labels), context)


def _steepness(values: Tensor, states: Tensor) -> float:
    """Length of the gradient of a sum."""
    (gradient,) = torch.autograd.grad(values.sum(), states, retain_graph=True)
    return float(gradient.norm())


def _copied(given: Given) -> list[Mapping[str, Tensor]]:
    """Labels, and the prediction where it is a tensor, as they are now."""
    prediction, labels, _ = given
    own = {"prediction": prediction} if isinstance(prediction, Tensor) else {}
    return [_clones(labels), _clones(own)]


def _clones(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def made_up_attention(criterion: Any, lengths: Sequence[int]) -> list[list[Tensor]]:
    """For each layer that a criterion names and each item: [heads, positions, source positions], rows that add to 1."""
    layers = seen_as(AttentionCriterion, criterion).attention_layers
    attention = []
    for layer in layers:
        attention.append([_weights(layer, length) for length in lengths])
    return attention


def _weights(layer: int, length: int) -> Tensor:
    """The same for equal items, wherever they stand."""
    generator = torch.Generator().manual_seed(100 * (layer + 2) + length)
    scores = torch.randn(2, length, 2 * length + 1, generator=generator)
    return scores.softmax(-1)


class CriterionBench:
    """The criterion under test with made-up items."""

    def __init__(self, suite: CriterionConformance) -> None:
        self._suite = suite
        self.registry = suite.closed_registry()
        self.component: Component = suite.component("criterion", suite.criterion)
        self.factory = self.registry.load("criterion", suite.criterion)

    def made(self, seed: int = 1) -> Any:
        """A new instance."""
        with other_random_state(seed):
            return self.factory({**self.component.options, **self._suite.options})

    @cached_property
    def items(self) -> list[tuple[int, Mapping[str, np.ndarray]]]:
        """(positions, labels) of each item."""
        rng = np.random.default_rng(1)
        return [(n, self._suite.labels(n, i, rng)) for i, n in enumerate(self._suite.lengths)]

    def states(self, positions: int) -> Tensor:
        """Random states [positions, width]."""
        return torch.randn(positions, self._suite.width, generator=torch.Generator().manual_seed(3))

    @cached_property
    def all_states(self) -> Tensor:
        """States of all items."""
        return self.states(sum(self._suite.lengths))

    def predicted(self, suite: CriterionConformance, states: Tensor, ctx: HeadContext) -> Any:
        """The prediction for states."""
        own = type(suite).prediction is not CriterionConformance.prediction
        return suite.prediction(states, ctx) if own else self.predict(states, ctx)

    def predict(self, states: Tensor, ctx: HeadContext) -> Any:
        """What the head makes of states; themselves without a head."""
        return self._head(states, ctx) if self._suite.head else states

    @cached_property
    def _head(self) -> Any:
        declared = self.registry.component("head", self._suite.head).options
        vocabulary = Vocabulary().extend([BLOCK])
        made = build(
            self.registry.load("head", self._suite.head),
            {**declared, **self._suite.head_options},
            vocabulary,
            {},
            hidden=self._suite.width,
        )
        made.requires_grad_(False)
        return made
