"""The smallest assembly and model around one slot type, each part made when a check first asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ofacore.config.model_section import ModelConfig
from ofacore.config.schema import RunConfig
from ofacore.encoding.encoder import Encoder
from ofacore.encoding.pieces import Geometry
from ofacore.ground.errors import UserError
from ofacore.plan.planned_run import PlannedRun
from ofacore.plugin import Component, SlotType
from ofacore.protocols import Example, Piece, Preprocessor, RowContext, SlotPlan, Split
from ofacore.setup.assembly import Assembly
from ofacore.setup.datasets import TaskRows, open_tasks
from ofacore.setup.task import Task

if TYPE_CHECKING:
    from torch import nn

    from ofa_kit.slot_suite import SlotSuite
    from ofacore.model.universal import UniversalModel

READ, WRITE, OTHER = "read", "write", "other"
"""Tasks of a bench: the value is read; it is written; it is absent."""
COLUMN = "value"
ROWS = 4
SIZES = {
    "hidden": 32,
    "ffn": 32,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "dropout": 0.0,
}


class SlotBench:
    """Everything around the slot type of a suite.

    Args:
        suite: Says what is tested.
        adapter: Adapter in place of the slot type's default.
        generator: Generator in place of the slot type's default.
    """

    def __init__(self, suite: SlotSuite, adapter: str = "", generator: str = "") -> None:
        self.suite, self._adapter, self._generator = suite, adapter, generator
        self.registry = suite.closed_registry()

    @cached_property
    def slot_type(self) -> SlotType:
        """The slot type under test."""
        return self.suite.slot_type()

    @cached_property
    def values(self) -> list[Any]:
        """Values to encode: those of the suite, else the sample."""
        return self.suite.given_values()

    @cached_property
    def serving(self) -> Component:
        """The preprocessor's component."""
        return self.registry.component("preprocessor", self.slots[READ].preprocessor)

    @cached_property
    def writable(self) -> bool:
        """Whether a value can be a target."""
        from ofacore.plan import compile_instruction

        read = compile_instruction(self.instruction(READ), self.registry).named(COLUMN)
        assert read is not None
        default = self.registry.component("preprocessor", read.preprocessor)
        return {"head", "criterion", "generator"} <= set(default.uses) | (
            {"generator"} if self._generator else set()
        )

    def instruction(self, task: str, further: str = "") -> str:
        """The instruction of a task; ``further`` attributes are written in its slot."""
        written, context = self.suite.attributes, self.suite.context
        attributes = "".join(
            f",{part}"
            for part in filter(
                None, [further, written, self._adapter and f"adapter={self._adapter}"]
            )
        )
        slot = f"[{self.slot_type.name}:{COLUMN}{attributes}]"
        generator = f"generator={self._generator}" if self._generator else ""
        target = ",".join(filter(None, [slot[:-1], self.suite.target_attributes, generator])) + "]"
        return {
            READ: f"{context} {slot} -> [PROBE:probe]",
            WRITE: f"{context} [PROBE:probe] -> {target}",
            OTHER: "[PROBE:other] -> [PROBE:probe]",
        }[task]

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that the slot type allows."""
        return (READ, *([WRITE] if self.writable else []), OTHER)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """At least four rows."""
        count = max(ROWS, len(self.values))
        return [
            {
                **self.suite.row,
                COLUMN: self.values[i % len(self.values)],
                "probe": i % 4,
                "other": (i + 1) % 4,
            }
            for i in range(count)
        ]

    @cached_property
    def config(self) -> RunConfig:
        """One task for each way of using the slot."""
        tasks = {
            name: Task(name, self.instruction(name), train=self.rows).config for name in self.tasks
        }
        model = ModelConfig.model_validate({**SIZES, **self.suite.model_keys()})
        return RunConfig(tasks=tasks, model=model)

    @cached_property
    def run(self) -> PlannedRun:
        """The tasks' plans."""
        return PlannedRun.of(self.config, self.registry)

    @cached_property
    def data(self) -> dict[str, TaskRows]:
        """Rows of the tasks."""
        return open_tasks(self.run)

    @cached_property
    def assembly(self) -> Assembly:
        """Plans, fitted preprocessors, vocabulary."""
        return Assembly.create(self.run, self.data)

    @cached_property
    def slots(self) -> dict[str, SlotPlan]:
        """Task -> plan of the slot under test."""
        from ofacore.plan import compile_instruction

        plans = {
            task: compile_instruction(self.instruction(task), self.registry)
            for task in self.tasks
            if task != OTHER
        }
        found = {task: plan.named(COLUMN) for task, plan in plans.items()}
        return {task: slot for task, slot in found.items() if slot is not None}

    @property
    def preprocessor(self) -> Preprocessor:
        """The preprocessor, fitted and bound."""
        return self.assembly.preprocessor(self.slots[READ].preprocessor)

    def encoder(self, task: str) -> Encoder:
        """The encoder of a task."""
        return self.assembly.encoders[task]

    def encoder_with(self, task: str, further: str) -> Encoder | None:
        """The encoder of a task with further attributes in its slot; None where they cannot be planned."""
        from ofacore.plan import compile_task

        try:
            return self.assembly.encoder(
                compile_task(task, self.instruction(task, further), self.registry)
            )
        except UserError:
            return None

    def example(
        self, task: str, row: Mapping[str, Any], split: Split = "valid", seed: int = 0
    ) -> Example:
        """One encoded row."""
        rng = np.random.default_rng(seed)
        return self.encoder(task).encode(
            row, split=split, rng=rng, row_id="values", keep_context=True
        )

    def examples(self, task: str, split: Split = "valid") -> list[Example]:
        """All rows, encoded."""
        return [self.example(task, row, split) for row in self.rows]

    def context(
        self, row: Mapping[str, Any], task: str = READ, split: Split = "valid"
    ) -> RowContext:
        """What surrounds a value: row transforms applied, and what other slots of the source publish."""
        encoder = self.encoder(task)
        template = encoder.plan.templates[0]
        ctx = encoder.context(row, template, split, np.random.default_rng(0))
        sources = encoder.expand(template, replace(ctx, split="infer")).sources
        others = [item for items in sources for item in items if item.slot.name != COLUMN]
        encoder.occurrences(others, ctx, template)
        return ctx

    @cached_property
    def groups(self) -> list[tuple[str, list[Piece]]]:
        """(adapter, pieces of the slot's values): read, and written where it can be; with changed copies."""
        found = []
        for task in self.slots:
            pieces = [p for e in self.examples(task) for p in _pieces(e) if p.slot.name == COLUMN]
            for adapter in dict.fromkeys(piece.adapter for piece in pieces):
                own = [piece for piece in pieces if piece.adapter == adapter]
                found.append((adapter, [*own, *(changed(piece, i) for i, piece in enumerate(own))]))
        return found

    def geometry(self, adapter: str) -> Geometry:
        """Shapes and coordinates of an adapter."""
        return Geometry(
            self.registry.load("adapter", adapter), self.assembly.adapter_options(adapter)
        )

    def module(self, adapter: str, seed: int = 1) -> nn.Module:
        """An adapter with initial values of a seed, in evaluation mode."""
        from ofa_kit.modules import build

        options = self.assembly.adapter_options(adapter)
        found: nn.Module = build(
            self.registry.load("adapter", adapter),
            options,
            self.assembly.vocabulary,
            self.assembly.artifacts,
            seed,
        )
        return found.eval()

    @cached_property
    def model(self) -> UniversalModel:
        """The whole model, in evaluation mode."""
        return self.model_of(seed=1)

    def model_of(self, seed: int) -> UniversalModel:
        """A model with initial values of a seed."""
        from ofacore.generalist.facade import build_model

        train = self.config.train.model_copy(update={"seed": seed})
        assembly = replace(self.assembly, config=self.config.model_copy(update={"train": train}))
        model = build_model(assembly)
        model.eval()
        return model


def _pieces(example: Example) -> Sequence[Piece]:
    return [piece for sequence in (*example.source, example.target) for piece in sequence]


def changed(piece: Piece, number: int) -> Piece:
    """A piece of the same shape with other content: real numbers and bytes are changed, whole numbers stay."""
    return replace(
        piece,
        features={name: _changed(np.asarray(v), number) for name, v in piece.features.items()},
    )


def _changed(array: np.ndarray, number: int) -> np.ndarray:
    if array.dtype.kind == "f":
        return (array * (0.5 + 0.1 * (number % 4)) + 0.1).astype(array.dtype)
    if array.dtype == np.uint8:
        return np.uint8(255) - array
    return array
