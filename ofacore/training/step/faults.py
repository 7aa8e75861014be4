"""Counting what goes wrong, against the limits of the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ofacore.config.train_section import FaultConfig
from ofacore.protocols import SampleInfo
from ofacore.sources.data_errors import BadRow
from ofacore.training.training_errors import FaultLimitError


@dataclass(frozen=True)
class Fault:
    """One thing that went wrong, and how it was dealt with."""

    kind: str
    """``bad_row``, ``nan``, ``gradient`` or ``out_of_memory``."""
    step: int
    task: str
    row_id: str
    reason: str

    def __str__(self) -> str:
        return f"step {self.step}, task '{self.task}', row {self.row_id}: {self.reason}"


@dataclass
class FaultCounters:
    """How often each kind of fault happened in the run; saved in checkpoints, so limits hold over a resume."""

    limits: FaultConfig
    totals: dict[str, int] = field(default_factory=dict)
    by_task: dict[str, int] = field(default_factory=dict)
    """``kind/task`` -> number."""
    bad: dict[tuple[str, str], None] = field(default_factory=dict)
    """Task and name of every bad row: one that comes again in every epoch is still one."""

    def note_bad_rows(self, step: int, rows: Iterable[BadRow]) -> list[Fault]:
        """Count rows that the loader replaced; returns those that are met for the first time.

        Raises:
            FaultLimitError: More different ones than ``train.faults.bad_row_limit``.
        """
        met = {(row.task, row.row_id): row for row in rows}
        new = [row for key, row in met.items() if key not in self.bad]
        self.bad |= dict.fromkeys(met)
        faults = [Fault("bad_row", step, row.task, row.row_id, row.reason) for row in new]
        return self._count(
            faults, "bad_row", self.limits.bad_row_limit, "train.faults.bad_row_limit"
        )

    def note_skipped(
        self, step: int, kind: str, samples: Iterable[SampleInfo], reason: str, component: str = ""
    ) -> list[Fault]:
        """Count samples that were left out of a step; ``component`` is to blame for it, if one is known.

        Raises:
            FaultLimitError: More than ``train.faults.nan_limit``.
        """
        faults = [Fault(kind, step, sample.task, sample.row_id, reason) for sample in samples]
        return self._count(
            faults, "nan", self.limits.nan_limit, "train.faults.nan_limit", component
        )

    def note_memory(self, step: int, samples: Iterable[SampleInfo]) -> list[Fault]:
        """Count a micro-batch that had to be split; once, under its first sample."""
        first = next(iter(samples))
        fault = Fault(
            "out_of_memory", step, first.task, first.row_id, "micro-batch split in halves"
        )
        return self._count([fault], "out_of_memory", None, "")

    def state(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "totals": dict(self.totals),
            "by_task": dict(self.by_task),
            "bad": [list(key) for key in self.bad],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self.totals, self.by_task = dict(state.get("totals", {})), dict(state.get("by_task", {}))
        self.bad = {(str(task), str(row)): None for task, row in state.get("bad", ())}

    def _count(
        self, faults: list[Fault], total: str, limit: int | None, key: str, component: str = ""
    ) -> list[Fault]:
        for fault in faults:
            self.totals[total] = self.totals.get(total, 0) + 1
            name = f"{fault.kind}/{fault.task}"
            self.by_task[name] = self.by_task.get(name, 0) + 1
        if faults and limit is not None and self.totals[total] > limit:
            kinds = {
                "bad_row": "bad rows",
                "nan": "samples with a loss or gradient that is not finite",
            }
            raise FaultLimitError(
                kinds[total], self.totals[total], limit, key, str(faults[-1]), component
            )
        return faults
