"""Checks of task families."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ofa_kit.bench import SIZES
from ofa_kit.declaration import DeclarationChecks
from ofa_kit.registry import ClosedRegistry
from ofa_kit.sample_rows import sample_rows
from ofacore.config.problems import ConfigError
from ofacore.config.task_section import TaskConfig
from ofacore.generalist.facade import Generalist
from ofacore.ground.errors import UserError
from ofacore.instruction import InstructionError, Slot, format, parse
from ofacore.plan import TaskPlan, plan_task
from ofacore.plan.generation import generation_of, target_slots, untaken
from ofacore.plugin import LoadError, PluginError, Registry, TaskManifest, TaskPreset, suggest
from ofacore.setup.task import Task

ROWS = 4
OPTIONS = ("decoder_plain_with_loss", "prompt_slot", "drop_prompt")


class TaskConformance(DeclarationChecks):
    """Checks of all presets of a task family.

    Attributes:
        requires: Plugins that the presets use. No others take part then. Default: everything that is installed.
        rows: Preset -> sample rows to train on; columns that they leave out are made of the sample values of the slot
            types. Default: all are.
        untrained: Presets that are planned but not trained, with the reason. Default: none.
        model: Keys of the model section of a configuration. Default: a model of one layer, 32 wide.
    """

    rows: ClassVar[Mapping[str, Sequence[Mapping[str, Any]]]] = {}
    untrained: ClassVar[Mapping[str, str]] = {}
    model: ClassVar[Mapping[str, Any]] = {}

    def closed_registry(self) -> ClosedRegistry:
        """The plugin, with what it requires or else with everything that is installed."""
        if self.requires:
            return super().closed_registry()
        found = Registry.discover()
        installed = []
        for name in {row.name for row in found.rows}:
            installed += [manifest for _, manifest in found.find(name) if manifest]
        return ClosedRegistry(*sorted(installed, key=lambda m: m.name)).register(self.manifest())

    def bench(self) -> TaskBench:
        """Presets and registry."""
        return TaskBench(self)

    def test_instructions_parse(self, bench: TaskBench) -> None:
        """Every instruction is well-formed, and says the same after formatting."""
        for preset in bench.presets:
            assert preset.instructions, (
                f"preset '{preset.name}' has no instruction; give at least one"
            )
            for text in templates(preset):
                try:
                    tree = parse(text)
                except InstructionError as error:
                    raise AssertionError(
                        f"preset '{preset.name}': this instruction cannot be read:\n{error}"
                    ) from error
                assert parse(format(tree)) == tree, (
                    f"preset '{preset.name}': '{text}' does not survive formatting"
                )

    def test_presets_plan(self, bench: TaskBench) -> None:
        """Every preset becomes a plan: its slot types, attributes, metrics and losses exist."""
        for preset in bench.presets:
            bench.plan(preset)

    def test_presets_are_described(self, bench: TaskBench) -> None:
        """`ofa tasks list` shows what a preset does."""
        for preset in bench.presets:
            assert preset.doc, (
                f"preset '{preset.name}' has no doc; say in a few words what is learned from what"
            )

    def test_columns_are_described(self, bench: TaskBench) -> None:
        """Every slot is a column that is described, and every column that a metric or transform reads too."""
        for preset in bench.presets:
            for name in slot_names(preset):
                assert name in preset.columns, (
                    f"preset '{preset.name}': the slot '{name}' is not described; add "
                    f"columns={{'{name}': 'what it holds'}} "
                    f"{suggest(name, preset.columns)}"
                )
            for name in preset.columns:
                assert preset.columns[name], (
                    f"preset '{preset.name}': column '{name}' has an empty description"
                )

    def test_metrics_exist(self, bench: TaskBench) -> None:
        """Metrics are installed, judge a target slot and get options that they declare."""
        for preset in bench.presets:
            templates = bench.plan(preset).templates
            targets = {slot.name for template in templates for slot in template.targets()}
            contrasts = [
                template.contrast for template in templates if template.contrast is not None
            ]
            contrasted = {
                side.name for contrast in contrasts for side in (contrast.left, contrast.right)
            }
            for use in preset.metrics:
                where = f"preset '{preset.name}', metric '{use.metric}'"
                assert use.metric in bench.registry.names("metric"), (
                    f"{where} is not installed: {suggest(use.metric, bench.registry.names('metric'))}"
                )
                assert use.slot in targets | contrasted, (
                    f"{where} judges '{use.slot}', which is no learned target: {sorted(targets)}"
                )
                declared = bench.registry.component("metric", use.metric).options
                unknown = sorted(set(use.options) - set(declared))
                assert not unknown, (
                    f"{where} gets options {unknown}; it declares {sorted(declared)}"
                )
                _load(bench.registry, "metric", use.metric, where)

    def test_transforms_exist(self, bench: TaskBench) -> None:
        """Transforms, of columns and of rows, are installed and get options that they declare."""
        for preset in bench.presets:
            for column, names in preset.transforms.items():
                for name in names:
                    _load(
                        bench.registry,
                        "transform",
                        name,
                        f"preset '{preset.name}', column '{column}'",
                    )
            for name, options in preset.row_transforms.items():
                where = f"preset '{preset.name}', row transform '{name}'"
                _load(bench.registry, "row_transform", name, where)
                declared = bench.registry.component("row_transform", name).options
                unknown = sorted(set(options) - set(declared))
                assert not unknown, (
                    f"{where} gets options {unknown}; it declares {sorted(declared)}"
                )

    def test_closed_sets_belong_to_targets(self, bench: TaskBench) -> None:
        """A closed set belongs to a target slot that asks for one, and has two different values at least."""
        for preset in bench.presets:
            plan = bench.plan(preset)
            targets = {
                slot.name: slot for template in plan.templates for slot in template.targets()
            }
            for name, values in preset.closed_sets.items():
                where = f"preset '{preset.name}', closed set of '{name}'"
                assert name in targets, (
                    f"{where}: there is no learned target of that name; there are {sorted(targets)}"
                )
                assert len(set(values)) == len(values) >= 2, (
                    f"{where}: {values!r:.80}: give two different values at least"
                )

    def test_generation_options_are_valid(self, bench: TaskBench) -> None:
        """Options of generation and of the task exist and have good values."""
        for preset in bench.presets:
            try:
                slots = target_slots(bench.plan(preset))
                problems = untaken(
                    "generation", preset.generation, slots, bench.registry, f"'{preset.name}'"
                )
                assert not problems, f"preset '{preset.name}': {'; '.join(map(str, problems))}"
                generation_of(slots, bench.registry, preset.generation)
            except ConfigError as error:
                raise AssertionError(f"preset '{preset.name}': {error}") from error
            unknown = sorted(set(preset.options) - set(OPTIONS))
            assert not unknown, (
                f"preset '{preset.name}': no task option {unknown}; there are {', '.join(OPTIONS)}"
            )
            assert preset.weight > 0, (
                f"preset '{preset.name}': weight {preset.weight}; a preset of weight 0 never learns"
            )

    def test_starter_data_are_declared(self, bench: TaskBench) -> None:
        """Starter data and baseline are functions, and a baseline says what it does; nothing is fetched here."""
        for preset in bench.presets:
            where = f"preset '{preset.name}'"
            for what, target in (("data", preset.data), ("baseline", preset.baseline)):
                if target:
                    assert callable(_resolve(bench.registry, target, where)), (
                        f"{where}: {what} '{target}' is no function"
                    )
            assert not preset.starter or preset.data, (
                f"{where} is a starter task but has no data; name its function"
            )
            assert bool(preset.baseline) == bool(preset.baseline_doc), (
                f"{where}: give baseline and baseline_doc, or neither"
            )
            assert not preset.baseline or preset.data, (
                f"{where} has a baseline but no data that it could be measured on"
            )

    def test_trains_two_steps(self, bench: TaskBench, tmp_path: Path) -> None:
        """All presets together train two steps on sample rows."""
        tasks = [
            Task(p.name, preset=p.name, train=bench.rows(p))
            for p in bench.presets
            if p.name not in self.untrained
        ]
        if not tasks:
            pytest.skip("every preset is in `untrained`")
        try:
            model = Generalist.create(tasks, registry=bench.registry, **{**SIZES, **self.model})
            steps: dict[str, Any] = {
                "samples": 2 * len(tasks),
                "trackers": [],
                "threads": 1,
                "precision": "fp32",
            }
            model.fit(2, out=tmp_path, faults={"bad_rows": "raise", "nan": "raise"}, **steps)
        except UserError as error:
            raise AssertionError(
                f"the presets do not train on their sample rows: {error}\nIf the rows made from "
                "sample values do not fit, set rows = {'preset': [{column: value}]} in the suite"
            ) from error


class TaskBench:
    """The presets of a family and what they need."""

    def __init__(self, suite: TaskConformance) -> None:
        self._suite = suite
        self.registry = suite.closed_registry()
        manifest = suite.manifest()
        if not isinstance(manifest, TaskManifest):
            pytest.fail(
                f"'{manifest.name}' is a {type(manifest).__name__}; TaskConformance needs a TaskManifest"
            )
        self.presets: Sequence[TaskPreset] = manifest.presets

    def plan(self, preset: TaskPreset) -> TaskPlan:
        """The plan of a preset."""
        try:
            return plan_task(preset.name, TaskConfig(preset=preset.name), self.registry)
        except (PluginError, InstructionError) as error:
            raise AssertionError(
                f"preset '{preset.name}' cannot be planned: {error}\nCorrect the preset, or install what it needs "
                f"and name it in the dependencies of pyproject.toml{self._left_out()}"
            ) from error

    def _left_out(self) -> str:
        named = ", ".join(map(str, self._suite.requires))
        return (
            f"; this test leaves out all plugins but those in its `requires`: {named}"
            if named
            else ""
        )

    def rows(self, preset: TaskPreset) -> list[dict[str, Any]]:
        """Rows to train on."""
        given = self._suite.rows.get(preset.name) or [{}]
        try:
            made = sample_rows(self.plan(preset), self.registry, max(ROWS, len(given)))
            return [{**row, **given[i % len(given)]} for i, row in enumerate(made)]
        except ValueError as error:
            raise AssertionError(
                f"preset '{preset.name}': {error}; set rows = {{'{preset.name}': [...]}}"
            ) from error


def templates(preset: TaskPreset) -> Iterator[str]:
    """Texts of the instructions."""
    return (entry if isinstance(entry, str) else entry[0] for entry in preset.instructions)


def slot_names(preset: TaskPreset) -> list[str]:
    """Names of all slots, in order."""
    nodes = [node for text in templates(preset) for node in parse(text).walk()]
    return list(dict.fromkeys(node.name for node in nodes if isinstance(node, Slot)))


def _load(registry: Registry, kind: str, name: str, where: str) -> Any:
    try:
        return registry.load(kind, name)
    except PluginError as error:
        raise AssertionError(f"{where}: {error}") from error


def _resolve(registry: Registry, target: str, where: str) -> Callable[..., Any]:
    try:
        return registry.resolve(target)  # type: ignore[no-any-return]
    except LoadError as error:
        raise AssertionError(f"{where}: {error}; correct the string") from error
