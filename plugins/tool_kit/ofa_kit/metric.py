"""Checks of metrics."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from ofa_kit.compare import difference
from ofa_kit.declaration import DeclarationChecks
from ofacore.protocols import Metric, seen_as

CLOSE = 1e-6


class MetricConformance(DeclarationChecks):
    """Checks of one metric on given predictions.

    Attributes:
        metric: Name of the metric component.
        options: In place of the options that its component declares. Default: none.
        predictions: At least four decoded values, not all of them right.
        references: As many references.
        rows: As many rows. Default: empty rows.
        perfect: Predictions without fault. Default: the references.
        bounds: Smallest and largest value of the score. Default: no limits.
    """

    metric: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}
    predictions: ClassVar[Sequence[Any]] = ()
    references: ClassVar[Sequence[Any]] = ()
    rows: ClassVar[Sequence[Mapping[str, Any]]] = ()
    perfect: ClassVar[Sequence[Any]] = ()
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    def test_declares_its_direction(self) -> None:
        """`best` checkpoints and tables need to know which way is up."""
        direction = getattr(self._class(), "higher_is_better", None)
        assert isinstance(direction, bool), (
            f"metric '{self.metric}': higher_is_better is {direction!r}; set it to True or False on the class"
        )

    def test_says_what_it_judges(self) -> None:
        """`needs`, `redrawn`, `candidates` and `reference_column` are what the core understands."""
        kind = seen_as(Metric, self._class())
        assert kind.needs in ("", "log_probs", "candidates", "embeddings"), (
            f"metric '{self.metric}': needs = {kind.needs!r}; 'log_probs', 'candidates', 'embeddings', or leave it out"
        )
        built = seen_as(Metric, self._new())
        assert isinstance(built.redrawn, bool), (
            f"metric '{self.metric}': redrawn is {built.redrawn!r}; True, False, or leave it out"
        )
        for name in ("candidates", "reference_column"):
            column = getattr(built, name)
            assert isinstance(column, str), (
                f"metric '{self.metric}': {name} is {column!r}; give the name of a column"
            )
        assert kind.needs != "candidates" or built.candidates, (
            f"metric '{self.metric}' needs candidates: let its instances have the name of their column as `candidates`"
        )

    def test_can_be_built_from_declared_options(self) -> None:
        """A run refuses options that the component does not declare."""
        declared = self.component("metric", self.metric).options
        unknown = sorted(set(self.options) - set(declared))
        assert not unknown, (
            f"options {unknown} are not declared: add them with defaults to Component(options={{...}})"
        )
        try:
            self._class()(dict(declared))
        except Exception as error:
            raise AssertionError(
                f"it cannot be built from its declared options {dict(declared)}: {error!r}; a run gives these alone: "
                "declare every option with a default in Component(options={...})"
            ) from error

    def test_values_are_numbers_by_name(self) -> None:
        """`compute` gives names and floats; the first is the score."""
        values = self._seen(range(self._count())).compute()
        assert isinstance(values, dict) and values, (
            f"compute returned {values!r}; return {{name: value}}, the score first"
        )
        wrong = {
            name: value
            for name, value in values.items()
            if not isinstance(name, str) or type(value) is not float
        }
        assert not wrong, (
            f"compute gave {wrong}; names are texts and values Python floats: float(value)"
        )
        score, (low, high) = next(iter(values.values())), self.bounds
        assert low <= score <= high, f"the score {score} is outside bounds {self.bounds}"

    def test_merge_equals_whole(self) -> None:
        """Two halves, merged, are what one pass over everything gives: ranks score their own samples."""
        count = self._count()
        whole = self._seen(range(count))
        for cut in (1, count // 2, count - 1):
            merged = self._seen(range(cut))
            merged.merge(self._seen(range(cut, count)))
            self._same(
                whole,
                merged,
                f"merged after {cut} of {count} samples",
                "add up sums and counts in merge, not means",
            )

    def test_merging_nothing_changes_nothing(self) -> None:
        """A rank may have seen no sample."""
        count = self._count()
        whole = self._seen(range(count))
        for first, second in ((range(count), range(0)), (range(0), range(count))):
            merged = self._seen(first)
            merged.merge(self._seen(second))
            self._same(
                whole,
                merged,
                "merged with an empty one",
                "let merge cope with instances that saw nothing",
            )

    def test_order_does_not_matter(self) -> None:
        """Samples in any order, one by one or together, give the same values."""
        count = self._count()
        whole = self._seen(range(count))
        self._same(
            whole,
            self._seen(reversed(range(count))),
            "with the samples in reverse order",
            "depend on no order",
        )
        single = self._new()
        for i in range(count):
            self._update(single, [i])
        self._same(
            whole, single, "with one sample an update", "collect sums and counts over updates"
        )

    def test_empty_is_no_error(self) -> None:
        """Without a sample there are the same names, and no exception."""
        try:
            values = self._new().compute()
        except Exception as error:
            raise AssertionError(
                f"compute of nothing raised {error!r}; return nan for every name"
            ) from error
        names = set(self._seen(range(self._count())).compute())
        assert set(values) == names, (
            f"compute of nothing gives {set(values)}, else {names}; give the same names, with nan"
        )

    def test_compute_can_be_repeated(self) -> None:
        """`compute` changes nothing: it is called during training and again at its end."""
        metric = self._seen(range(self._count()))
        first, second = metric.compute(), metric.compute()
        found = difference(first, second, 0.0, "the values")
        assert not found, (
            f"a second compute gives other values: {found}; compute may not change what was collected"
        )

    def test_faultless_predictions_score_best(self) -> None:
        """The direction that the class declares is the true one."""
        perfect = list(self.perfect or self.references)
        best = self._score(self._seen(range(self._count()), perfect))
        given = self._score(self._seen(range(self._count())))
        if math.isnan(best) or math.isnan(given):
            pytest.skip("the score is nan here")
        right = best >= given if self._class().higher_is_better else best <= given
        assert right, (
            f"faultless predictions score {best}, the faulty ones {given}, but higher_is_better is "
            f"{self._class().higher_is_better}: turn it round, or set `perfect` to predictions without fault"
        )

    def test_items_are_one_a_sample(self) -> None:
        """Bootstrap intervals need a number for each sample, or none at all."""
        count = self._count()
        found = list(self._seen(range(count)).items())
        assert len(found) in (0, count), (
            f"items gave {len(found)} numbers for {count} samples; give one a sample, or ()"
        )

    def test_what_it_is_given_is_left_as_it_is(self) -> None:
        """Predictions and rows go on to other metrics."""
        given = copy.deepcopy((list(self.predictions), list(self.references), self._rows()))
        before = copy.deepcopy(given)
        self._new().update(*given)
        found = difference(before, given, 0.0, "what it was given")
        assert not found, f"update changed {found}; copy before changing in place"

    def test_can_be_sent_to_another_process(self) -> None:
        """Ranks send what they have seen."""
        metric = self._seen(range(self._count()))
        try:
            twin = pickle.loads(pickle.dumps(metric))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            pytest.fail(
                f"it cannot be sent to another process: {error}; keep plain data in it",
                pytrace=False,
            )
        self._same(
            metric,
            twin,
            "sent to another process",
            "keep all that it has seen in attributes of the instance",
        )

    def _class(self) -> Any:
        return self.closed_registry().load("metric", self.component("metric", self.metric).name)

    def _new(self) -> Any:
        return self._class()({**self.component("metric", self.metric).options, **self.options})

    def _rows(self) -> list[Mapping[str, Any]]:
        return list(self.rows) or [{} for _ in self.references]

    def _count(self) -> int:
        count = len(self.references)
        if count < 4 or len(self.predictions) != count or len(self._rows()) != count:
            pytest.fail(
                f"{type(self).__name__}: give at least four predictions and as many references (and rows); there are "
                f"{len(self.predictions)}, {count} and {len(self._rows())}",
                pytrace=False,
            )
        return count

    def _update(self, metric: Any, chosen: Any, predictions: Sequence[Any] | None = None) -> None:
        numbers = list(chosen)
        given = self.predictions if predictions is None else predictions
        rows = self._rows()
        if numbers:
            metric.update(
                [given[i] for i in numbers],
                [self.references[i] for i in numbers],
                [rows[i] for i in numbers],
            )

    def _seen(self, chosen: Any, predictions: Sequence[Any] | None = None) -> Any:
        metric = self._new()
        self._update(metric, chosen, predictions)
        return metric

    @staticmethod
    def _score(metric: Any) -> float:
        return float(next(iter(metric.compute().values())))

    @staticmethod
    def _same(first: Any, second: Any, when: str, remedy: str) -> None:
        found = difference(first.compute(), second.compute(), CLOSE, "the values")
        assert not found, f"other values {when}: {found}; {remedy}"
