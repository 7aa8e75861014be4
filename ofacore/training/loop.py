"""The training loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ofacore.batching.steps import Step
from ofacore.checkpoint import Snapshot
from ofacore.config.train_section import TrainConfig
from ofacore.model.universal import UniversalModel
from ofacore.parallel.agreement import everyones, stop_reason
from ofacore.parallel.process_groups import layout
from ofacore.protocols import TermGroup
from ofacore.training.callbacks.base import Callback
from ofacore.training.gradients import GradientPass
from ofacore.training.optim.ema import Ema
from ofacore.training.optim.lr import lr_factor
from ofacore.training.optim.optimizer import RunOptimizer
from ofacore.training.pipelined import PipelinePass
from ofacore.training.step.aggregation import RunAggregator, TaskGradients
from ofacore.training.step.faults import FaultCounters
from ofacore.training.step.pass_report import StepReport
from ofacore.training.step.teaching import Teaching
from ofacore.training.stop import ECHO, StopRequest, stop_on_signals
from ofacore.training.training_errors import RolloutMissingError

logger = logging.getLogger("ofacore.training")

Rollout = Callable[[Step, nn.Module], Step]
"""The pass before a step, for criteria that need sequences sampled from the model: returns the step with
those sequences as targets and a weight for each. Randomness must come from (seed, step, sample) alone."""


class Trainer:
    """Trains a model on the steps that a loader gives.

    Args:
        model: The model, or what of it this process holds.
        loader: Gives the steps from ``step`` on; after `restore` it must stand at ``cursor``.
        config: Settings.
        folder: Run folder: checkpoints and metrics.
        callbacks: Called in this order.
        loss_weights: Task -> factor on its losses.
        rollout: The pass before each step; see `Rollout`.
        dtype: Format that the weights of an fp32 model take while it trains; default: that which they have.
        aggregator: Makes one gradient of those of the tasks; None: their sum.
        teaching: Teachers that are learned from, too.

    Attributes:
        step: Steps done.
        cursor: Where the data go on.
        stop: Set its ``reason`` to end the run after the current step.
    """

    def __init__(
        self,
        model: UniversalModel,
        loader: Iterable[Step],
        config: TrainConfig,
        folder: Path,
        callbacks: Sequence[Callback] = (),
        loss_weights: Mapping[str, float] | None = None,
        rollout: Rollout | None = None,
        dtype: torch.dtype | None = None,
        aggregator: RunAggregator | None = None,
        teaching: Teaching | None = None,
    ) -> None:
        self.model, self.loader, self.config, self.folder = model, loader, config, folder
        self.callbacks, self.rollout = tuple(callbacks), rollout
        self.optimizer = RunOptimizer(model, config.optimizer, dtype)
        self.ema = self._average() if config.ema else None
        self.faults = FaultCounters(config.faults)
        weights = dict(loss_weights or {})
        passing = PipelinePass if getattr(model, "stage", None) else GradientPass
        self.aggregator = aggregator
        weighs = aggregator is not None and aggregator.weighs_losses
        tasks = TaskGradients(self.optimizer, aggregator) if aggregator and not weighs else None
        self.gradients = passing(
            model, self.optimizer, config.faults, self.faults, config.seed, weights, tasks
        )
        self.gradients.weigher = aggregator if weighs else None
        self.gradients.teaching = teaching
        self.gradients.by_samples = config.loss_average == "samples"
        self.step, self.cursor, self.stop = 0, dict[str, Any](), StopRequest()
        self._idle = False

    def _average(self) -> Ema:
        optimizer, rows = self.optimizer, self.model.portable_rows
        values, owner_of = optimizer.own_values(), optimizer.owner_of
        return Ema(optimizer.parameters, self.config.ema, rows, values, owner_of)

    def run(self) -> int:
        """Train to ``config.steps``, or until something asks to stop; returns the number of steps done."""
        echo = 0.0 if layout().single else ECHO
        with (
            stop_on_signals(StopRequest(), echo) as asked,
            self._closing(),
        ):
            self._tell("on_start")
            began = self._clocks()
            with _ended(iter(self.loader)) as steps:
                for data in steps:
                    self._agree_to_stop(asked)
                    if self.step >= self.config.steps or self.stop:
                        break
                    report = self.train_step(data, began)
                    self._tell("on_step", report)
                    began = self._clocks()
            self._agree_to_stop(asked)
            self._tell("on_end")
            self._agree_to_stop(asked)
        return self.step

    def _agree_to_stop(self, asked: StopRequest) -> None:
        """A signal counts from here on for every process, and not before: callbacks must find the same everywhere."""
        self.stop.reason = stop_reason(self.stop.reason or asked.reason)

    def train_step(self, data: Step, began: tuple[float, float] | None = None) -> StepReport:
        """One update from the samples of one step."""
        began = began or self._clocks()
        self.model.train()
        bad = [row for rows in everyones(list(data.bad)) for row in rows]
        bad_rows = self.faults.note_bad_rows(data.number, bad)
        gradient = self.gradients.run(self._rolled_out(data))
        if gradient.norm == 0.0 and not gradient.faults:
            self._tell_idle()
        factor = lr_factor(self.config.lr, self.step, self.config.steps)
        self.optimizer.clip(gradient.norm)
        self.optimizer.step(factor)
        self.step, self.cursor = self.step + 1, data.cursor.state()
        if self.ema:
            self.ema.update(self.step, self.optimizer.values())
        self.optimizer.zero_grad()
        wall, cpu = (now - then for now, then in zip(self._clocks(), began, strict=True))
        faults = (*bad_rows, *gradient.faults)
        return StepReport(
            self.step,
            gradient.values,
            gradient.norm,
            factor,
            gradient.samples,
            gradient.positions,
            wall,
            cpu,
            faults,
        )

    def _tell_idle(self) -> None:
        """A step without any gradient is no error, but nobody wants many of them; told once."""
        if not self._idle:
            self._idle = True
            logger.warning(
                "step %d: its losses have no gradient in what is trained, so that nothing is learned from it; look at "
                "train.optimizer.rules and model.lora.targets",
                self.step + 1,
            )

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode with the weights that a checkpoint of this moment gives back; training goes on unchanged.

        They are exact (fp32, see `RunOptimizer.exact`) and averaged, if there are averages.
        """
        generator = torch.get_rng_state()
        on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        self.model.eval()
        with self.optimizer.exact(), self.ema.applied() if self.ema else nullcontext():
            yield
        self.model.train()
        torch.set_rng_state(generator)
        torch.cuda.set_rng_state_all(on_gpus)

    def leave(self) -> None:
        """Give the model away with the weights that a checkpoint of this moment gives back; see `evaluating`."""
        self.optimizer.close()
        if self.ema:
            self.ema.place()

    def snapshot(self) -> Snapshot:
        """Everything needed to go on from here; the assembler adds configuration, plan and artifacts to ``state``."""
        ema = self.ema.state() if self.ema else {}
        with self.optimizer.exact():
            weights = self.model.portable_state()
        optimizer, structure = self.optimizer.state(masters=False), self.optimizer.structure()
        return Snapshot(weights, self.described(), optimizer, structure, ema)

    def described(self) -> dict[str, Any]:
        """What a checkpoint holds besides tensors: step, cursor, counters, format, what callbacks remember."""
        callbacks = {
            callback.name: callback.state() for callback in self.callbacks if callback.state()
        }
        state = {
            "step": self.step,
            "cursor": self.cursor,
            "faults": self.faults.state(),
            "callbacks": callbacks,
        }
        return {**state, **self._learned(), "precision": self.optimizer.precision}

    def _learned(self) -> dict[str, Any]:
        """What the aggregator learned, and its name."""
        learned = self.aggregator.state() if self.aggregator else {}
        if self.aggregator is None or not learned:
            return {}
        return {"aggregator": learned, "aggregator_name": self.aggregator.name}

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a checkpoint: weights, optimiser, averages, counters, callbacks and the cursor."""
        with self.optimizer.exact():
            self.model.load_portable(snapshot.model)
            self.optimizer.load_state(snapshot.optimizer, snapshot.optimizer_structure)
            if self.ema:
                self.ema.load_state(snapshot.ema)
        self.go_on(snapshot.state)

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Take over what `described` returned."""
        self.step, self.cursor = int(state["step"]), dict(state["cursor"])
        self.faults.load_state(state.get("faults", {}))
        if self.aggregator:
            self.aggregator.load_state(
                state.get("aggregator", {}), state.get("aggregator_name", "")
            )
        for callback in self.callbacks:
            callback.load_state(state.get("callbacks", {}).get(callback.name, {}))

    def _rolled_out(self, data: Step) -> Step:
        groups = [group for batch in data.batches for group in batch.terms]
        needy = next((g.criterion for g in groups if "rollout" in self._needs(g)), "")
        if needy and self.rollout is None:
            raise RolloutMissingError(needy)
        return self.rollout(data, self.model) if needy and self.rollout else data

    def _needs(self, group: TermGroup) -> frozenset[str]:
        return frozenset(self.model.criterion(group.criterion, group.options).needs)

    @contextmanager
    def _closing(self) -> Iterator[None]:
        try:
            yield
        finally:
            for callback in self.callbacks:
                callback.close()

    def _tell(self, event: str, *facts: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *facts)

    @staticmethod
    def _clocks() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()


@contextmanager
def _ended(steps: Iterator[Step]) -> Iterator[Iterator[Step]]:
    """Steps whose source gives back its threads and processes behind the block, after an error too."""
    try:
        yield steps
    finally:
        if isinstance(steps, Generator):
            steps.close()
