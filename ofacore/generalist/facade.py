"""The one object a user holds: create, fit, infer, encode, evaluate, save, load.

Importing this loads no torch; what computes is imported where it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import ValidationError

from ofacore.config.closed_values import members
from ofacore.config.component_options import component_options
from ofacore.config.model_section import ModelConfig
from ofacore.config.problems import ConfigError
from ofacore.config.schema import RunConfig
from ofacore.config.section import Section
from ofacore.config.train_section import TrainConfig
from ofacore.config.validation import explained
from ofacore.ground.errors import UserError
from ofacore.instruction import format, parse
from ofacore.plan import TaskPlan, compile_task
from ofacore.plan.generation import generation_of, target_slots, untaken, usual_options
from ofacore.plugin import Registry, suggest
from ofacore.setup.task import Task
from ofacore.sources.frames import is_frame, records

if TYPE_CHECKING:
    import torch

    from ofacore.decoding.inference import Inference
    from ofacore.evaluation.report import ScoreRow
    from ofacore.model.universal import UniversalModel
    from ofacore.setup.assembly import Assembly
    from ofacore.setup.datasets import TaskRows

logger = logging.getLogger("ofacore.evaluation")
Rows = Sequence[Mapping[str, Any]]
Checked = TypeVar("Checked", bound=Section)


class Generalist:
    """A model with everything around it.

    Example:
        ``model = Generalist.create([Task("shout", "louder: [TEXT:a] -> [TEXT:b]", train=rows)], preset="tiny")``
    """

    def __init__(
        self, assembly: Assembly, model: UniversalModel, data: Mapping[str, TaskRows] | None = None
    ) -> None:
        self.assembly, self.model = assembly, model
        self.data = dict(data or {})
        """Task -> rows."""
        self.aside: dict[str, TaskRows | None] = {}
        """Tasks that training leaves out, with their rows as far as they are open; they answer and are scored."""
        self.trained: tuple[str, ...] | None = None
        """Tasks that the next training takes samples from; None: all that have training rows."""
        self.source: Path | None = None
        """The checkpoint that the weights were read from, or written to by `fit`; None: they are in none."""

    @classmethod
    def create(
        cls,
        tasks: Sequence[Task] = (),
        preset: str = "tiny",
        *,
        config: RunConfig | None = None,
        registry: Registry | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        **model: Any,
    ) -> Generalist:
        """A new model for some tasks: preprocessors are fitted, weights initialised.

        Args:
            tasks: What it shall learn.
            preset: Size of the model.
            config: A whole configuration in place of ``tasks`` and ``preset``.
            registry: Plugins to use; default: all that are installed.
            options: Options of components, ``{"adapter/image_conv": {"channels": 32}}``; in ``config`` they have a key.
            model: Further keys of the model's configuration, ``dropout=0.0``.

        Raises:
            UserError: A task, plan or data cannot be used.
        """
        from ofacore.decoding.checking import check_generation
        from ofacore.evaluation.metric_check import try_metrics
        from ofacore.setup.assembly import Assembly
        from ofacore.setup.datasets import open_tasks
        from ofacore.setup.run_check import checked_run

        if config is None:
            _check_names(tasks)
            sizes = _section(ModelConfig, {"preset": preset, **model}, "model")
            values: dict[str, Any] = {
                "tasks": {task.name: task.config for task in tasks},
                "model": sizes,
            }
            given = values if options is None else {**values, "options": options}
            config = _section(RunConfig, given, "")
        if not config.tasks:
            raise UserError(
                "a model needs at least one task; give Task(name, instruction, train=rows)"
            )
        registry = registry or Registry.discover(config.plugins.prefer)
        run = checked_run(config, registry)
        data = open_tasks(run)
        assembly = Assembly.create(run, data)
        try_metrics(assembly, data)
        check_generation(assembly, data)
        return cls(assembly, build_model(assembly), data)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks it was made for."""
        return tuple(self.assembly.plans)

    @property
    def registry(self) -> Registry:
        """The plugins, whose components have the options that this model was made with."""
        return self.assembly.registry

    def extend(
        self,
        tasks: Sequence[Task],
        *,
        keep: Sequence[str] | Literal["all"] = (),
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Generalist:
        """This model with more tasks: what they need is added, what is there stays as it is.

        Vocabulary blocks, adapters, heads, experts and artifacts are appended; until it is trained, every old task
        answers bit for bit as here. This model is left as it is.

        Args:
            tasks: What it shall learn besides; their names are new.
            keep: Old tasks that `fit` goes on training, ``"all"`` for every one; the others stay and answer.
            options: Options of components that are new to the model, ``{"adapter/image_conv": {"channels": 32}}``.

        Raises:
            UserError: A task, plan or data cannot be used, or something asks for another model.
        """
        from ofacore.generalist.extending import extend

        _check_names(tasks)
        values = {"tasks": {task.name: task.config for task in tasks}, "keep": keep}
        if not isinstance(keep, str):
            values["keep"] = tuple(keep)
        given = values if options is None else {**values, "options": options}
        return extend(self, _section(RunConfig, given, ""))

    def only(self, tasks: Sequence[str]) -> Generalist:
        """The slim model of some of its tasks, which answers as this one does: without what the others alone need.

        Raises:
            UserError: No such task, or none is named.
        """
        from ofacore.generalist.extending import only

        return only(self, _name_list(tasks))

    def fit(
        self,
        steps: int | None = None,
        *,
        out: str | Path | None = None,
        resume: bool = False,
        data: Mapping[str, Any] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        tasks: Sequence[str] | None = None,
        **train: Any,
    ) -> Path:
        """Train on the tasks' data.

        Args:
            steps: Steps in all; default: those of the configuration.
            out: Run folder; default: ``runs/<name>``.
            resume: Go on from the folder's latest checkpoint.
            data: Task -> training rows, in any form that `Task` takes: these tasks alone are trained, unless ``tasks``
                names more; default: the rows that the tasks name.
            options: Options of trackers and of the schedule, ``{"tracker/wandb": {"project": "mine"}}``.
            tasks: Which tasks to train; default: those of ``data``, or all but those that `extend` left out.
            train: Further keys of the training configuration, ``samples=32``, or ``epochs=3`` in place of ``steps``.

        Returns:
            The run folder.

        Raises:
            UserError: A task, a key or the data cannot be used.
        """
        from ofacore.generalist.fitting import fit
        from ofacore.generalist.run_length import settle_steps
        from ofacore.plan.checking import check_loop_options
        from ofacore.setup.datasets import rows_of

        chosen = self._chosen(data, tasks)
        given = {**train, **({} if steps is None else {"steps": steps})}
        base = self.assembly.config.train.model_dump(exclude_unset=True)
        if given.keys() & {"steps", "epochs"}:
            base = {key: value for key, value in base.items() if key not in ("steps", "epochs")}
        before, registry = self.assembly.config, self.assembly.registry
        table = {
            key: {**before.options.get(key, {}), **asked} for key, asked in (options or {}).items()
        }
        if problems := check_loop_options(table, registry):
            raise ConfigError(problems)
        config = before.model_copy(
            update={"train": _section(TrainConfig, {**base, **given}, "train")}
        )
        if table:
            config = config.model_copy(update={"options": {**config.options, **table}})
        pinned = registry.pinned(component_options(config)) if table else registry
        data_before, aside_before, trained_before = dict(self.data), self.aside, self.trained
        self.assembly.configure(config, pinned)
        try:
            names = chosen or [name for name in self.tasks if name not in self.aside]
            rows = rows_of(self.assembly.run, self.data, names, data, "train", training=True)
            self.data |= {name: self._with_held_out(name, found) for name, found in rows.items()}
            self.aside = {name: rows for name, rows in self.aside.items() if name not in names}
            self.trained = chosen
            settle_steps(self)
            folder = Path(out) if out else Path(config.out.format(name=config.name))
            return fit(self, folder, resume=resume)
        except UserError:
            self.assembly.configure(before, registry)
            self.data, self.aside, self.trained = data_before, aside_before, trained_before
            raise

    def _chosen(
        self, data: Mapping[str, Any] | None, tasks: Sequence[str] | None
    ) -> tuple[str, ...] | None:
        """The tasks to train; None: all.

        Raises:
            UserError: There is no such task, or one that has new rows is not among them.
        """
        asked = [tasks] if isinstance(tasks, str) else list(tasks or ())
        for name in [*(data or ()), *asked]:
            if name not in self.tasks:
                hint = suggest(name, self.tasks) or f"there are {', '.join(self.tasks)}"
                raise UserError(f"no task '{name}' in this model; {hint}")
        idle = next((name for name in data or () if asked and name not in asked), None)
        if idle is not None:
            raise UserError(f"data has rows for '{idle}', which tasks does not name: add it there")
        return tuple(asked or data or ()) or None

    def _with_held_out(self, name: str, rows: TaskRows) -> TaskRows:
        """New training rows beside the held-out rows that the task had before, also while it was left out."""
        known = self.data.get(name) or self.aside.get(name)
        if known is None or known is rows:
            return rows
        return replace(known, splits={**known.splits, **rows.splits})

    def infer(
        self,
        instruction: str | Task,
        data: Mapping[str, Any] | Rows,
        *,
        want: Sequence[str] | None = None,
        closed_set: Mapping[str, Sequence[Any]] | None = None,
        batch_size: int = 64,
        **generation: Any,
    ) -> Any:
        """Answer an instruction, or a task by name, for one row or many.

        Args:
            instruction: A template, a task, or the name of one.
            data: One row (slot name -> value), a list of rows or a data frame; of several, a list of `Output` comes.
            want: Slots that optional groups of the target are generated for; default: all.
            closed_set: Slot -> allowed values.
            batch_size: Rows decoded together.
            generation: Options of generation, such as ``strategy="beam"`` or ``guidance=2.0``: each goes to the target
                slots whose generators have it.

        Raises:
            InstructionError: The instruction is not well-formed or names what does not exist.
            EncodeError: A row cannot be used.
            UserError: The model lacks what the instruction needs.
        """
        plan, rows = self.plan(instruction, closed_set), _rows(data)
        if not any(template.tree.target for template in plan.templates):
            raise UserError(
                f"'{instruction}' has no target, so there is nothing to answer; encode() gives embeddings"
            )
        outputs = self.inference(plan, want=want, batch_size=batch_size, **generation)(rows)
        return outputs[0] if isinstance(data, Mapping) else outputs

    def inference(
        self,
        plan: TaskPlan,
        *,
        want: Sequence[str] | None = None,
        batch_size: int = 64,
        **generation: Any,
    ) -> Inference:
        """What answers rows of a plan.

        Raises:
            UserError: No generator of its target takes one of the options, or not such a value.
        """
        from ofacore.decoding.inference import Inference

        slots, registry = target_slots(plan), self.assembly.registry
        whose = f"'{plan.name}'" if plan.name in self.tasks else f"'{plan.templates[0].text}'"
        if problems := untaken("generation", generation, slots, registry, whose):
            raise ConfigError(problems)
        layers = (usual_options(plan), self.assembly.config.generation, plan.generation, generation)
        options = generation_of(slots, registry, *layers)
        self.model.eval()
        encoder = self.assembly.encoder(plan)
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size}: at least one row is decoded at a time")
        chosen = None if want is None else frozenset(_name_list(want))
        self._check_targets(plan, "want", chosen or ())
        vocabulary = self.assembly.vocabulary
        return Inference(self.model, encoder, registry, vocabulary, options, chosen, batch_size)

    def plan(
        self, instruction: str | Task, closed_set: Mapping[str, Sequence[Any]] | None = None
    ) -> TaskPlan:
        """The plan of a task by name, of a task that has this template, or of a free instruction."""
        asked = getattr(instruction, "name", instruction)
        if not isinstance(asked, str):
            raise UserError(
                f"expected an instruction, a task or its name, got {type(instruction).__name__}"
            )
        plan = self.assembly.plans.get(asked) or self._plan_of_template(asked)
        if closed_set:
            self._check_targets(plan, "closed_set", closed_set)
            sets = {name: self._members(plan, name, given) for name, given in closed_set.items()}
            plan = replace(plan, closed_sets={**plan.closed_sets, **sets})
        self._check_parts(plan)
        return plan

    def _plan_of_template(self, instruction: str) -> TaskPlan:
        if "->" not in instruction and "[" not in instruction:
            hint = suggest(instruction, self.tasks) or f"there are {', '.join(self.tasks)}"
            raise UserError(f"'{instruction}' is no task of this model and no instruction; {hint}")
        written = format(parse(instruction))
        for plan in self.assembly.plans.values():
            for template in plan.templates:
                if format(template.tree) == written:
                    return replace(plan, templates=(template,))
        return compile_task("free", [instruction], self.assembly.registry)

    def _check_targets(self, plan: TaskPlan, what: str, names: Iterable[str]) -> None:
        known = dict.fromkeys(
            slot.name for slot in plan.slots() if slot.side == "target" and slot.plain is None
        )
        unknown = next((name for name in names if name not in known), None)
        if unknown is not None:
            hint = suggest(unknown, known) or f"there are {', '.join(known)}"
            raise UserError(f"{what}: no target slot '{unknown}'; {hint}")

    def _members(self, plan: TaskPlan, name: str, given: Any) -> tuple[Any, ...]:
        """The members of a closed set that was given with a call, tried on the slots that choose among them."""
        from ofacore.encoding.closed_set_members import member_problem
        from ofacore.setup.closed_sets import choosing

        try:
            values = members(given)
        except ValueError as error:
            raise UserError(
                f"closed_set['{name}']: found {type(given).__name__}, expected {error}"
            ) from None
        slots = choosing(plan, name)
        if not slots:
            remedy = f"write [TYPE:{name},closed_set] in the instruction"
            raise UserError(f"closed_set['{name}']: the slot takes any value; {remedy}")
        used = {slot.preprocessor: self.assembly.preprocessor(slot.preprocessor) for slot in slots}
        if problem := member_problem(values, slots, used):
            raise UserError(f"closed_set['{name}']: {problem}")
        return values

    def _check_parts(self, plan: TaskPlan) -> None:
        adapters = [slot.adapter for slot in plan.slots()]
        heads = [slot.head for slot in plan.slots() if slot.loss]
        if plan.contrast is not None:
            heads.append(plan.contrast.head)
        for kind, names, known in (
            ("adapter", adapters, self.model.adapters),
            ("head", heads, self.model.heads),
        ):
            missing = next((name for name in names if name not in known), None)
            if missing is not None:
                raise UserError(
                    f"this model has no {kind} '{missing}': no task that it was trained on needed it"
                )

    def encode(
        self,
        instruction: str | Task,
        data: Mapping[str, Any] | Rows,
        *,
        slot: str = "",
        batch_size: int = 64,
    ) -> torch.Tensor:
        """Vectors of rows: the mean of the encoder's states over the source, or of a contrast what it has trained.

        Args:
            instruction: A template, a task, or the name of one.
            data: One row (slot name -> value) or a list of rows.
            slot: Of a contrast ``[A|B]``: the side to embed; empty: the only one that the rows have.
            batch_size: Rows that go through the encoder together.

        Returns:
            fp32 [H] for one row, [rows, H] for a list. Vectors of a contrast have length one with the default head, so
            that their product is the cosine that was trained.

        Raises:
            UserError: No or no such side is named, or the model was never trained on a contrast.
        """
        from ofacore.decoding.embedding import embed_rows

        plan = self.plan(instruction)
        self.model.eval()
        rows = _rows(data)
        vectors = embed_rows(self.model, self.assembly.encoder(plan), rows, batch_size, slot)
        return vectors[0] if isinstance(data, Mapping) else vectors

    def evaluate(
        self,
        task: str | Sequence[str] | None = None,
        *,
        split: str = "test",
        limit: int | None = None,
        baseline: bool = True,
        data: Mapping[str, Any] | None = None,
        **generation: Any,
    ) -> list[ScoreRow]:
        """Scores on held-out rows, with 95 % intervals.

        Args:
            task: One task, or several; default: all that have metrics and held-out rows.
            split: Which rows.
            limit: Most rows of each task.
            baseline: Score the presets' baselines too.
            data: Task -> rows to score on, in any form that `Task` takes; default: those that the tasks name.
            generation: Options of generation, for the tasks whose generators have them.

        Raises:
            UserError: No such task or split, rows are named nowhere, or an option that none of the tasks takes.
            EvaluationError: Some metrics could not be computed; its ``scores`` hold everything that could.
        """
        from ofacore.generalist.evaluating import evaluations, scores_of

        tasks = [] if task is None else _name_list(task)
        found = list(
            evaluations(
                self,
                tasks,
                split=split,
                limit=limit,
                baseline=baseline,
                data=data,
                generation=generation,
            )
        )
        for notice in (notice for evaluation in found for notice in evaluation.notices):
            logger.warning("%s", notice)
        return scores_of(found)

    def save(self, folder: str | Path) -> Path:
        """Write weights, plans, vocabulary and artifacts; `from_pretrained` reads them."""
        from ofacore.generalist.storing import save

        return save(self, Path(folder))

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, registry: Registry | None = None, which: str = "latest"
    ) -> Generalist:
        """Load a saved model or a run folder.

        Args:
            folder: What `save` wrote, a run folder, or one of its checkpoints.
            registry: Plugins to use; default: all that are installed.
            which: Of a run folder: ``latest``, ``best``, or the step of a checkpoint.
        """
        from ofacore.generalist.storing import load

        return load(Path(folder), registry, which)


def build_model(assembly: Assembly) -> UniversalModel:
    """A model with initial weights for everything that an assembly's plans need, on the device of this process."""
    from ofacore.model.universal import UniversalModel
    from ofacore.parallel.process import compute_device
    from ofacore.setup.model_needs import model_needs

    needs = model_needs(assembly.plans.values(), assembly)
    config = assembly.config
    model = UniversalModel(
        config.model,
        assembly.registry,
        assembly.vocabulary,
        assembly.artifacts,
        needs,
        config.train.seed,
    )
    return model.to(compute_device())


def _section(kind: type[Checked], values: Mapping[str, Any], key: str) -> Checked:
    """A section of the configuration from keywords.

    Raises:
        ConfigError: With every unknown key and bad value.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        path = (key,) if key else ()
        raise ConfigError(explained(error, values, path)) from None


def _rows(data: Mapping[str, Any] | Rows) -> list[Mapping[str, Any]]:
    """One row or many, as a list.

    Raises:
        UserError: Something in it is no row.
    """
    if not isinstance(data, Iterable):
        raise UserError(
            f"a {type(data).__name__} is no row: give a dictionary, slot name -> value, or a list of them"
        )
    if isinstance(data, Mapping):
        return [data]
    given = records(data) if is_frame(data) else data
    rows: list[Mapping[str, Any]] = list(given)
    wrong = next((i for i, row in enumerate(rows) if not isinstance(row, Mapping)), None)
    if wrong is not None:
        odd = data if isinstance(data, str) else rows[wrong]
        found = type(odd).__name__
        raise UserError(f"row {wrong}: a {found}, but a row is a dictionary: slot name -> value")
    return rows


def _name_list(names: str | Sequence[str]) -> list[str]:
    """One name or many, as a list.

    Raises:
        UserError: Rows stand in their place.
    """
    if isinstance(names, Mapping):
        raise UserError("expected names of tasks; their rows are given as data={task: rows}")
    return [names] if isinstance(names, str) else list(names)


def _check_names(tasks: Sequence[Task]) -> None:
    wrong = next((task for task in tasks if not isinstance(task, Task)), None)
    if wrong is not None:
        raise UserError(
            f"a {type(wrong).__name__} is no task; give Task(name, instruction, train=rows)"
        )
    names = [task.name for task in tasks]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise UserError(f"two tasks are called '{double}'; a task's name is unique in a model")


__all__ = ["Generalist", "build_model"]
