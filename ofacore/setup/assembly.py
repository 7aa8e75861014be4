"""Everything of a generalist but its weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ofacore.config.component_options import (
    OptionTable,
    by_key,
    component_options,
    in_the_table,
    of_model,
)
from ofacore.config.problems import ConfigError, Problem
from ofacore.config.schema import RunConfig
from ofacore.config.sizes import resolve, with_preset_options
from ofacore.encoding.columns import is_empty_text
from ofacore.encoding.encoder import Encoder
from ofacore.encoding.pieces import Geometry
from ofacore.encoding.slot_kinds import elements_of
from ofacore.encoding.token_runs import RunSettings
from ofacore.ground.artifacts import Artifact
from ofacore.ground.json_text import NotJsonError, json_text
from ofacore.ground.vocabulary import Block, Vocabulary
from ofacore.model.backbone.abilities import restarts
from ofacore.model.backbone.attention_items import layers_of
from ofacore.plan import LossPlan, TaskPlan
from ofacore.plan.neighbours import with_neighbours
from ofacore.plan.planned_run import PlannedRun
from ofacore.plan.shared import with_shared_options
from ofacore.plugin import PluginError, Registry
from ofacore.plugin.blame import Blame, who
from ofacore.protocols import (
    Adapter,
    BuiltOnOthers,
    ColumnFitting,
    Corruption,
    Criterion,
    Growing,
    Options,
    Preprocessor,
    SlotFitting,
    seen_as,
)
from ofacore.setup.bound_neighbours import FittingValues, check_built_on, neighbours
from ofacore.setup.closed_sets import settled, with_closed_sets
from ofacore.setup.data_facts import facts_of, with_facts, with_stored_facts
from ofacore.setup.datasets import DataError, TaskRows, sampled_rows
from ofacore.setup.model_needs import own_criteria
from ofacore.setup.origins import describe_origins, with_stored_options, with_todays_names
from ofacore.setup.strangers import tell_strangers

logger = logging.getLogger("ofacore.training")
FIT_ROWS = 20_000
"""Training rows of each task that preprocessors are fitted on."""


@dataclass
class Assembly:
    """Plans, fitted preprocessors and vocabulary of a set of tasks; `create` makes one, `restore` reads it back."""

    config: RunConfig
    registry: Registry
    plans: dict[str, TaskPlan]
    artifacts: dict[str, Artifact]
    vocabulary: Vocabulary
    preprocessors: dict[str, Preprocessor] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)
    """What the weights were before any training: ``seed``, or ``folder`` and ``weights`` (a digest) of a checkpoint.

    Empty where nobody knows.
    """

    @classmethod
    def create(cls, run: PlannedRun, data: Mapping[str, TaskRows]) -> Assembly:
        """Take closed sets from the training data where none is given, fit every preprocessor.

        Raises:
            UserError: A plan, a preprocessor or the data cannot be used.
        """
        config = with_todays_names(run.config, run.registry)
        registry = run.registry.pinned(component_options(config))
        plans = {
            name: with_closed_sets(plan, data[name], registry) for name, plan in run.plans.items()
        }
        registry = with_shared_options(registry, plans, component_options(config))
        origin = {"seed": config.train.seed}
        assembly = cls(config, registry, plans, {}, Vocabulary(), origin=origin)
        assembly._fit(data)
        for name, plan in run.plans.items():
            plan = settled(plans[name], plan, assembly.preprocessors)
            plans[name] = with_facts(plan, data[name], registry)
            tell_strangers(plans[name], data[name], registry, assembly.preprocessors)
        if assembly._reduced_options():
            assembly.origin = {}  # files give initial values too, and are not kept
        assembly.check_storable()
        return assembly

    @classmethod
    def restore(
        cls, state: Mapping[str, Any], artifacts: Mapping[str, Artifact], registry: Registry
    ) -> Assembly:
        """The assembly whose `state` and artifacts these are."""
        registry = with_stored_options(registry, state.get("components", {}))
        config = with_todays_names(RunConfig.model_validate(state["config"]), registry)
        registry = registry.pinned(component_options(config))
        facts = state.get("from_data", {})
        plans = {
            name: with_stored_facts(plan, facts.get(name, {}))
            for name, plan in PlannedRun.of(config, registry).plans.items()
        }
        registry = with_shared_options(registry, plans, component_options(config))
        blocks = tuple(Block(name, size) for name, size in state["vocabulary"])
        vocabulary = Vocabulary(blocks, state.get("founding"))
        assembly = cls(config, registry, plans, dict(artifacts), vocabulary)
        for name in with_neighbours(_used_preprocessors(plans), registry):
            assembly.preprocessor(name)
        return assembly

    @property
    def run(self) -> PlannedRun:
        """Its configuration, plugins and plans."""
        return PlannedRun(self.config, self.registry, self.plans)

    def state(self) -> dict[str, Any]:
        """JSON-ready; data given as Python objects are left out, options of all components are in the table."""
        config = in_the_table(self.config.model_dump(exclude_unset=True), self.config)
        for name, plan in self.plans.items():
            task = config["tasks"][name]
            task["closed_sets"] = {key: _plain(v) for key, v in plan.closed_sets.items()}
            given = task.get("data", {})
            task["data"] = {
                k: v for k, v in given.items() if k not in ("train", "valid", "test") or _is_json(v)
            }
        reduced = self._reduced_options()
        if reduced:
            config["options"] = {**config.get("options", {}), **by_key(reduced)}
        registry = self.registry.pinned(reduced)
        founding = self.vocabulary.founding
        return {
            "config": config,
            "vocabulary": [[block.name, block.size] for block in self.vocabulary.blocks],
            "from_data": {name: facts_of(plan) for name, plan in self.plans.items()},
            **({} if founding is None else {"founding": founding}),
            "components": describe_origins(
                self.plans, self.config.model, registry, of_model(self.config)
            ),
        }

    def check_storable(self) -> None:
        """A checkpoint can hold the configuration: this is told before training, not at the first one.

        Raises:
            ConfigError: It cannot; names the key.
        """
        try:
            json_text(self.state(), lossless=True)
        except NotJsonError as error:
            message = f"{error.found} cannot be kept in a checkpoint; give text, finite numbers, or lists of these"
            raise ConfigError([Problem(error.path.removeprefix("config."), message)]) from None

    def _reduced_options(self) -> OptionTable:
        """Options of adapters and backbone that keep others in a checkpoint: without files that built the model."""
        found: OptionTable = {}
        backbone = self.config.model.backbone
        reduce = getattr(self.registry.load("backbone", backbone), "stored_options", None)
        if reduce is not None:
            found["backbone", backbone] = dict(
                reduce(self.registry.component("backbone", backbone).options)
            )
        for name in dict.fromkeys(
            slot.adapter for plan in self.plans.values() for slot in plan.slots()
        ):
            options = self.adapter_options(name)
            kept = dict(
                seen_as(Adapter, self.registry.load("adapter", name)).stored_options(options)
            )
            if kept != options:
                found["adapter", name] = kept
        return found

    def preprocessor(self, name: str) -> Preprocessor:
        """A preprocessor bound to this vocabulary; one that no task used so far must need no fitting of its own."""
        if name not in self.preprocessors:
            *others, _ = with_neighbours([name], self.registry)
            for other in others:
                self.preprocessor(other)
            built = self._build(name)
            blocks = self._blocks(name, built)
            missing = [block.name for block in blocks if block.name not in self.vocabulary]
            if missing:
                raise DataError(
                    f"this model has no tokens of '{missing[0]}'; add a task that uses preprocessor '{name}'"
                )
            self._bind(name, built)
            self.preprocessors[name] = built
        return self.preprocessors[name]

    def blocks_of(self, name: str) -> tuple[Block, ...]:
        """Vocabulary blocks of a preprocessor."""
        return self._blocks(name, self.preprocessor(name))

    def _blocks(self, name: str, built: Preprocessor) -> tuple[Block, ...]:
        with Blame(who(self.registry, "preprocessor", name), "blocks"):
            return built.blocks(self.artifacts.get(name))

    def _bind(self, name: str, built: Preprocessor) -> None:
        """Give a preprocessor the vocabulary, its artifact, and the bound ones that it builds on."""
        artifact = self.artifacts.get(name)
        with Blame(who(self.registry, "preprocessor", name), "bind"):
            if isinstance(built, BuiltOnOthers):
                built.bind_with(self.vocabulary, artifact, neighbours(name, self.registry, self))
            else:
                built.bind(self.vocabulary, artifact)

    def encoder(self, plan: TaskPlan) -> Encoder:
        """The encoder of a task, or of a free instruction planned as a task."""
        for slot in plan.slots():
            self.preprocessor(slot.preprocessor)
        names = with_neighbours(_used_preprocessors({plan.name: plan}), self.registry)
        options = {name: self._preprocessor_options(name) for name in names}
        plan = self.with_loss_options(plan)
        return Encoder.of(
            plan,
            self.registry,
            self.preprocessors,
            self.geometry(plan),
            self._criteria(plan),
            self._corruptions(plan),
            self.run_settings(),
            options,
        )

    def run_settings(self) -> RunSettings:
        """What the model says of every sequence."""
        model = with_preset_options(self.config.model)
        return RunSettings(
            model.max_positions,
            model.source_boundaries,
            model.separator,
            model.target_start,
            restarts(model, self.registry),
        )

    @cached_property
    def encoders(self) -> dict[str, Encoder]:
        """Encoders of all tasks."""
        return {name: self.encoder(plan) for name, plan in self.plans.items()}

    def configure(self, config: RunConfig, registry: Registry) -> None:
        """Take other settings of the loop: encoders that know some of those before are made anew."""
        self.config, self.registry = config, registry
        self.__dict__.pop("encoders", None)

    def geometry(self, plan: TaskPlan) -> dict[str, Geometry]:
        """Adapter -> shapes and coordinates, for every adapter of a plan."""
        names = dict.fromkeys(slot.adapter for slot in plan.slots())
        return {
            name: Geometry(self.registry.load("adapter", name), self.adapter_options(name))
            for name in names
        }

    def adapter_options(self, name: str) -> dict[str, Any]:
        """Options of an adapter: those of the configuration before the declared ones."""
        return dict(self.registry.component("adapter", name).options)

    def head_options(self, name: str) -> dict[str, Any]:
        """Options of a head, as `adapter_options`."""
        return dict(self.registry.component("head", name).options)

    def criterion_options(self, name: str) -> dict[str, Any]:
        """Options of a criterion, as `adapter_options`; the run's label smoothing goes before that of the manifest."""
        found = dict(self.registry.component("criterion", name).options)
        in_table = self.config.options.get(f"criterion/{name}", {})
        if "label_smoothing" in found and "label_smoothing" not in in_table:
            found["label_smoothing"] = self.config.train.label_smoothing
        return found

    def with_loss_options(self, plan: TaskPlan) -> TaskPlan:
        """The plan, each of its losses with every option of its criterion."""
        losses = tuple(self._with_options(loss, plan) for loss in plan.losses)
        contrast = None if plan.contrast is None else self._with_options(plan.contrast, plan)
        own = {name: self._task_options(name, plan) for name in own_criteria(plan)}
        return replace(plan, losses=losses, contrast=contrast, criterion_options=own)

    def _with_options(self, loss: LossPlan, plan: TaskPlan) -> LossPlan:
        usual = self.criterion_options(loss.criterion)
        own = self._task_options(loss.criterion, plan)
        return replace(loss, options={**usual, **own, **loss.options})

    def _task_options(self, criterion: str, plan: TaskPlan) -> dict[str, Any]:
        """Options of a criterion that a task or the run sets for all its losses, and may set anew later."""
        usual = self.criterion_options(criterion)
        if "label_smoothing" not in usual:
            return {}
        own = plan.label_smoothing
        return {"label_smoothing": usual["label_smoothing"] if own is None else own}

    def attention_layers(self, name: str, options: Options) -> tuple[int, ...]:
        """Decoder layers whose cross-attention a criterion asks for.

        Raises:
            UserError: The model has no such layer.
        """
        criterion = self.registry.make("criterion", name, options)
        if "attention" not in criterion.needs:
            return ()
        return layers_of(criterion, name, resolve(self.config.model).decoder_layers)

    def _build(self, name: str) -> Preprocessor:
        built: Preprocessor = self.registry.make("preprocessor", name)
        check_built_on(name, built, self.registry)
        return built

    def _preprocessor_options(self, name: str) -> dict[str, Any]:
        """Options of a preprocessor, as `adapter_options`."""
        return dict(self.registry.component("preprocessor", name).options)

    def _fit(self, data: Mapping[str, TaskRows]) -> None:
        names = with_neighbours(_used_preprocessors(self.plans), self.registry)
        seed = self.config.train.seed
        rngs = {name: np.random.default_rng([seed, number]) for number, name in enumerate(names)}
        self._fit_each(rngs, self.plans, data)
        for name, built in self.preprocessors.items():
            self._bind(name, built)

    def fit_further(self, plans: Mapping[str, TaskPlan], data: Mapping[str, TaskRows]) -> None:
        """Fit what tasks that join need and the model lacks; what it has is not fitted again, and at most learns more.

        Args:
            plans: Of the tasks that join; `plans` has them already.
            data: Their rows.
        """
        needed = with_neighbours(_used_preprocessors(plans), self.registry)
        before = {name: plan for name, plan in self.plans.items() if name not in plans}
        known = with_neighbours(_used_preprocessors(before), self.registry)
        seed = self.config.train.seed
        self._grow([name for name in needed if name in known], plans, data)
        for name in known:
            self.preprocessor(name)
        rngs = {name: _rng_of(name, seed) for name in needed if name not in known}
        self._fit_each(rngs, plans, data)
        for name in rngs:
            self._bind(name, self.preprocessors[name])

    def _grow(
        self,
        names: Sequence[str],
        plans: Mapping[str, TaskPlan],
        data: Mapping[str, TaskRows],
    ) -> None:
        """Let preprocessors that the model has learn what tasks that join need besides.

        Raises:
            PluginError: One changes what it had.
        """
        made = {name: self._build(name) for name in names}
        values = FittingValues(
            made, plans, self.registry, lambda name: _values(name, plans, data, self.registry)
        )
        for name, built in made.items():
            if not isinstance(built, Growing):
                continue
            before, owner = self._blocks(name, built), who(self.registry, "preprocessor", name)
            with Blame(owner, "grow"):
                grown = built.grow(
                    self.artifacts.get(name),
                    values.with_tasks(name),
                    _rng_of(name, self.config.train.seed),
                )
            if grown is not None:
                self.artifacts[name] = grown
            after = self._blocks(name, built)
            if after[: len(before)] != before:
                wanted = f"they must begin with those of before, {_named(before)}"
                raise PluginError(f"{owner}: grow gives blocks {_named(after)}; {wanted}")
            self.vocabulary = self.vocabulary.extend(after)

    def _fit_each(
        self,
        rngs: Mapping[str, np.random.Generator],
        plans: Mapping[str, TaskPlan],
        data: Mapping[str, TaskRows],
    ) -> None:
        """Build and fit preprocessors on the rows of some tasks, and give their blocks a place; name -> its numbers."""
        made = {name: self._build(name) for name in rngs}
        fitting = FittingValues(
            made,
            plans,
            self.registry,
            lambda name: _values(name, plans, data, self.registry),
        )
        for name, built in made.items():
            rng = rngs[name]
            with Blame(who(self.registry, "preprocessor", name), "fit"):
                if isinstance(built, SlotFitting):
                    artifact = built.fit_slots(fitting.with_slots(name), rng)
                elif isinstance(built, ColumnFitting):
                    artifact = built.fit_columns(fitting.with_columns(name), rng)
                else:
                    artifact = built.fit((value for *_, value in fitting.with_columns(name)), rng)
            if artifact is not None:
                self.artifacts[name] = artifact
            self.vocabulary = self.vocabulary.extend(self._blocks(name, built))
            self.preprocessors[name] = built

    def _criteria(self, plan: TaskPlan) -> dict[str, Criterion]:
        """By name; those of losses by name and options."""
        wanted: dict[str, tuple[str, Options]] = {}
        for name in own_criteria(plan):
            wanted[name] = (name, self.criterion_options(name))
        for loss in plan.all_losses():
            wanted[loss.key] = (loss.criterion, loss.options)
        return {
            key: self.registry.make("criterion", name, options)
            for key, (name, options) in sorted(wanted.items())
        }

    def _corruptions(self, plan: TaskPlan) -> dict[str, Corruption]:
        names = {slot.corruption for slot in plan.slots() if slot.corruption}
        return {name: self.registry.make("corruption", name) for name in names}


def _rng_of(name: str, seed: int) -> np.random.Generator:
    """Numbers that depend on a name and a seed alone, not on what else joins."""
    return np.random.default_rng([seed, *name.encode()])


def _named(blocks: Sequence[Block]) -> str:
    return ", ".join(block.name for block in blocks) or "none"


def _used_preprocessors(plans: Mapping[str, TaskPlan]) -> list[str]:
    """In the order in which tasks need them."""
    return list(
        dict.fromkeys(slot.preprocessor for plan in plans.values() for slot in plan.slots())
    )


def _values(
    name: str, plans: Mapping[str, TaskPlan], data: Mapping[str, TaskRows], registry: Registry
) -> Iterator[tuple[str, str, Any]]:
    """Every value that a preprocessor will see: plain text, closed sets, columns of the training rows.

    Yields:
        (task, column, value); plain text has no column.
    """
    for task, plan in plans.items():
        slots = [slot for slot in plan.slots() if slot.preprocessor == name]
        yield from ((task, "", slot.plain) for slot in slots if slot.plain is not None)
        columns = dict.fromkeys(slot.name for slot in slots if slot.plain is None)
        for column in columns:
            allowed = plan.closed_sets.get(column)
            listed = (
                allowed if isinstance(allowed, Sequence) and not isinstance(allowed, str) else ()
            )
            yield from ((task, column, value) for value in listed)
        elements = {
            slot.name: registry.slot(slot.type).is_element for slot in slots if slot.plain is None
        }
        empty, rows = set(columns), 0
        for row in sampled_rows(plan, data[task], registry, FIT_ROWS) if columns else ():
            rows += 1
            empty = {column for column in empty if is_empty_text(row.get(column))}
            for column in columns:
                yield from (
                    (task, column, value)
                    for value in elements_of(row.get(column), elements[column])
                )
        for column in sorted(empty) if rows > 1 else ():
            logger.warning(
                "task '%s': '%s' is the empty text in all %d training rows looked at",
                task,
                column,
                rows,
            )


def _plain(values: Any) -> Any:
    return list(values) if isinstance(values, tuple) else values


def _is_json(value: Any) -> bool:
    if value is not None and not isinstance(value, str | list | tuple):
        return False
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return value is None or isinstance(value, str) or all(isinstance(part, str) for part in value)
