"""Checks of trackers: what figures of a run are told to."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ofa_kit.declaration import DeclarationChecks
from ofa_kit.modules import random_states
from ofacore.protocols import Record

RECORDS = (
    Record(1, {"train/task/slot": 2.5, "train/loss": 2.5, "lr": 1e-3}),
    Record(2, {"train/task/slot": 1.5}),
    Record(2, {"valid/task/accuracy": 0.5, "valid/ä task/score": -1.0}),
    Record(3, {"train/task/slot": math.nan, "train/other/slot": math.inf}),
    Record(4, {}),
)


class TrackerConformance(DeclarationChecks):
    """Checks of one tracker, which must be able to work here: no service that it cannot reach.

    Attributes:
        tracker: Name of the tracker component.
        options: In place of the options that its component declares. Default: none.
    """

    tracker: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}

    def test_can_be_built_from_declared_options(self, tmp_path: Path) -> None:
        """The options of the component are those that the class takes."""
        declared = self.component("tracker", self.tracker).options
        unknown = sorted(set(self.options) - set(declared))
        assert not unknown, (
            f"options {unknown} are not declared: add them with defaults to Component(options={{...}})"
        )
        self._new(tmp_path).close()

    def test_takes_every_figure(self, tmp_path: Path) -> None:
        """Figures that are no finite numbers, names with blanks, several records of a step, one without any."""
        self._log(tmp_path)

    def test_goes_on(self, tmp_path: Path) -> None:
        """A run that is resumed builds it anew in the same folder, and tells it steps that it was told before."""
        self._log(tmp_path)
        try:
            self._log(tmp_path, resume_step=2)
        except Exception as error:
            pytest.fail(
                f"in the folder of a run that goes on from step 2 it raised {error!r}: options['resume_step'] is the "
                "step that the run goes on from; what was told of later steps is told again",
                pytrace=False,
            )

    def test_leaves_the_run_alone(self, tmp_path: Path) -> None:
        """It changes neither what it is told nor the random numbers that the training draws."""
        before, kept = random_states(), copy.deepcopy(RECORDS)
        self._log(tmp_path)
        assert before == random_states(), (
            "it drew global random numbers, so the training goes otherwise with it than without: use a generator of "
            "its own"
        )
        changed = [one.step for one, old in zip(RECORDS, kept, strict=True) if str(one) != str(old)]
        assert not changed, f"it changed the records of steps {changed}; copy values before"

    def _log(self, folder: Path, resume_step: int = 0) -> None:
        told = [record for record in RECORDS if record.step > resume_step]
        with closing(self._new(folder, resume_step)) as tracker:
            for record in told:
                try:
                    tracker.log(record)
                except Exception as error:
                    pytest.fail(
                        f"log({record}) raised {error!r}: a tracker takes any figure, leaves out what it cannot show, "
                        "and raises nothing",
                        pytrace=False,
                    )

    def _new(self, folder: Path, resume_step: int = 0) -> Any:
        registry = self.closed_registry()
        component = self.component("tracker", self.tracker)
        options = {**component.options, **self.options, "resume_step": resume_step}
        return registry.load("tracker", component.name)(folder, options)
