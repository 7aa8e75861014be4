"""Whether a configured model can be divided as its ``parallel`` section says; told before anything starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache

from ofacore.components.manifest import MANIFEST as CORE
from ofacore.config import Problem
from ofacore.config.model_section import ModelConfig
from ofacore.config.schema import ParallelConfig, RunConfig
from ofacore.config.sizes import ModelSizeError, Sizes, expert_sizes, resolve
from ofacore.model.backbone.divisions import asked, cannot_divide
from ofacore.parallel.cutting import refusal, refusal_in_step
from ofacore.parallel.process_grid import LayoutError, ProcessGrid
from ofacore.plan import TaskPlan
from ofacore.plan.planned_run import PlannedRun
from ofacore.plugin import Registry, suggest


def layout_of(config: ParallelConfig, environment: Mapping[str, str] = os.environ) -> ProcessGrid:
    """The layout that a run is configured for.

    The number of processes is that of the launcher which started this one (``WORLD_SIZE``), else ``nproc``.

    Raises:
        LayoutError: The numbers do not fit together.
    """
    started = (
        int(environment["WORLD_SIZE"])
        if "RANK" in environment and "WORLD_SIZE" in environment
        else 0
    )
    if started and config.nproc not in (1, started):
        raise LayoutError(
            f"--nproc {config.nproc}, but {started} processes were started; leave --nproc out"
        )
    return ProcessGrid(
        world=started or config.nproc,
        tensor=config.tp,
        pipeline=config.pp,
        expert=config.ep,
        sequence=config.sp,
        zero=bool(config.zero),
        fsdp=config.fsdp,
    )


def layout_problems(
    config: RunConfig,
    environment: Mapping[str, str] = os.environ,
    registry: Registry | None = None,
) -> list[Problem]:
    """Everything that keeps a run's layout from working, with the numbers and the nearest that would work.

    Args:
        config: The run.
        environment: Of this process.
        registry: What is installed; default: the core alone.
    """
    try:
        layout = layout_of(config.parallel, environment)
        sizes = resolve(config.model)
    except LayoutError as error:
        return [Problem("parallel", str(error))]
    except ModelSizeError:
        return []
    found = [
        *_tensor(layout, sizes, config.model),
        *_pipeline(layout, sizes),
        *_experts(config, layout),
    ]
    found += _backbone(config, layout, registry or _core())
    found += _by_task(config, layout)
    if layout.sequence and layout.tensor == 1:
        found.append(
            Problem(
                "parallel.sp", "positions are split over a tensor group: --sp needs --tp 2 or more"
            )
        )
    if layout.data > config.train.samples:
        found.append(
            Problem(
                "train.samples",
                f"{config.train.samples} samples in a step leave some of {layout.data} data ranks "
                f"(--nproc {layout.world}, --tp {layout.tensor}, --pp {layout.pipeline}) idle; "
                f"set {layout.data} or more",
            )
        )
    return found


def _by_task(config: RunConfig, layout: ProcessGrid) -> list[Problem]:
    """What each task has for itself finds the positions of a task in the stream of a whole layer."""
    lora, prefix = config.model.lora, config.model.prefix
    used = {
        "lora": lora.rank and lora.per == "task",
        "prefix": prefix.length and prefix.per == "task",
    }
    cut = {"tp": layout.tensor > 1, "pp": layout.pipeline > 1, "fsdp": layout.fsdp}
    keys = ", ".join(f"parallel.{key}" for key, divides in cut.items() if divides)
    if not keys:
        return []
    problem = f"what differs by task needs whole layers, which {keys} divides; use data ranks alone, or per: all"
    return [Problem(f"model.{part}.per", problem) for part, by_task in used.items() if by_task]


def aggregator_problems(
    config: RunConfig, registry: Registry, layout: ProcessGrid | None = None
) -> list[Problem]:
    """Whether every process has whole gradients, where an aggregator is to see them; the rest must be right.

    Implementations are loaded where it matters, since an aggregator itself says that it is a plain sum.

    Args:
        config: Of the run.
        registry: What is installed.
        layout: How processes share the work; default: as configured.
    """
    name, layout = config.train.aggregator.name, layout or layout_of(config.parallel)
    cut = {
        "tp": layout.tensor > 1,
        "pp": layout.pipeline > 1,
        "ep": layout.expert > 1,
        "fsdp": layout.fsdp,
    }
    if not any(cut.values()):
        return []
    loaded = registry.load("aggregator", name)
    if getattr(loaded, "plain_sum", False) or getattr(loaded, "weighs_losses", False):
        return []
    keys = ", ".join(f"parallel.{key}" for key, used in cut.items() if used)
    problem = (
        f"aggregator '{name}' needs the whole gradients of every task, but {keys} leaves each process a part of them; "
        "use data ranks alone (with zero, where wanted), or train.aggregator=sum"
    )
    return [Problem("train.aggregator.name", problem)]


def teacher_problems(config: RunConfig, layout: ProcessGrid | None = None) -> list[Problem]:
    """Teachers of tasks that are not there or have another teacher, and layouts in which none can take part.

    Args:
        config: Of the run.
        layout: How processes share the work; default: as configured.
    """
    teachers = config.train.teachers
    if not teachers:
        return []
    found, layout = list[Problem](), layout or layout_of(config.parallel)
    cut = {"tp": layout.tensor > 1, "pp": layout.pipeline > 1, "ep": layout.expert > 1}
    keys = ", ".join(f"parallel.{key}" for key, used in cut.items() if used)
    if keys:
        problem = f"every process holds its teachers whole, which {keys} does not allow; use data ranks alone"
        found.append(Problem("train.teachers", problem))
    seen: dict[str, int] = {}
    for number, teacher in enumerate(teachers):
        path = f"train.teachers.{number}.tasks"
        for task in teacher.tasks:
            if task not in config.tasks:
                hint = suggest(task, config.tasks) or f"there are {', '.join(config.tasks)}"
                found.append(Problem(path, f"no task '{task}'", hint=hint))
            elif task in seen:
                problem = f"task '{task}' has a teacher already, train.teachers.{seen[task]}"
                found.append(Problem(path, problem))
            seen.setdefault(task, number)
    return found


def criterion_problems(run: PlannedRun, layout: ProcessGrid | None = None) -> list[Problem]:
    """Criteria of a run's tasks that do not work as processes share the work; the rest of the run must be right.

    Implementations are loaded where it matters, since a criterion itself says what it needs.

    Args:
        run: Its tasks.
        layout: How processes share the work; default: as configured.
    """
    layout = layout or layout_of(run.config.parallel)
    together = {"--ep": layout.expert > 1, "--fsdp": layout.fsdp}
    flags = [flag for flag, used in together.items() if used]
    if layout.pipeline == 1 and not flags:
        return []
    found: list[Problem] = []
    for name, plan in run.plans.items():
        for criterion in _criteria(plan):
            needs = sorted(run.registry.load("criterion", criterion).needs)
            if layout.pipeline > 1:
                found += [Problem(f"tasks.{name}", refusal(criterion, need)) for need in needs]
            elif "rollout" in needs:
                found.append(Problem(f"tasks.{name}", refusal_in_step(criterion, flags[0])))
    return found


def _criteria(plan: TaskPlan) -> list[str]:
    """Of all slots that carry loss, and of the losses that are set."""
    named = [
        *(slot.criterion for slot in plan.slots() if slot.loss),
        *(loss.criterion for loss in plan.losses),
    ]
    return list(dict.fromkeys(name for name in named if name))


def _tensor(layout: ProcessGrid, sizes: Sizes, model: ModelConfig) -> list[Problem]:
    """The vocabulary fits always: it is padded."""
    tp = layout.tensor
    if tp == 1:
        return []
    shared = {"attention heads": sizes.heads}
    if model.experts == "none":
        shared["feed-forward units"] = sizes.ffn
    else:
        shared["feed-forward units of an expert"] = expert_sizes(model, sizes).ffn
        shared["feed-forward units beside the experts"] = model.experts_shared
    fits = near(tp, lambda n: not any(size % n for size in shared.values()))
    return [
        Problem(
            "parallel.tp",
            f"{size} {what} cannot be shared by --tp {tp} processes; nearest that works: {fits}",
        )
        for what, size in shared.items()
        if size % tp
    ]


def _pipeline(layout: ProcessGrid, sizes: Sizes) -> list[Problem]:
    stages, layers = layout.pipeline, sizes.encoder_layers + sizes.decoder_layers
    if stages == 1 or stages <= layers:
        return []
    own = f"{sizes.encoder_layers} encoder + {sizes.decoder_layers} decoder layers"
    fits = near(stages, lambda n: n <= layers)
    return [
        Problem(
            "parallel.pp",
            f"{own} cannot be cut into --pp {stages} stages; nearest that works: {fits}",
        )
    ]


def _backbone(config: RunConfig, layout: ProcessGrid, registry: Registry) -> list[Problem]:
    """Ways to divide the work that the backbone's manifest does not name."""
    name, found = config.model.backbone, []
    every = {
        known: registry.component("backbone", known).divides for known in registry.names("backbone")
    }
    for division, key, value in asked(layout):
        if division not in every.get(name, ()):
            others = [known for known, divides in every.items() if division in divides]
            found.append(
                Problem(f"parallel.{key}", cannot_divide(f"backbone '{name}'", key, value, others))
            )
    return found


@lru_cache(maxsize=1)
def _core() -> Registry:
    return Registry.of(CORE)


def _experts(config: RunConfig, layout: ProcessGrid) -> list[Problem]:
    """Of experts by modality the number is known when the model is built; that of the others here."""
    kind = config.model.experts
    number = {"task": len(config.tasks), "modality": None}.get(kind, config.model.experts_number)
    if layout.expert == 1:
        return []
    if kind == "none":
        problem = (
            f"--ep {layout.expert}, but the model has no experts; set model.experts, or --ep 1"
        )
        return [Problem("parallel.ep", problem)]
    if number is not None and layout.expert > number:
        fits = near(layout.expert, lambda n: n <= number and layout.data % n == 0)
        what = f"{number} experts leave some of --ep {layout.expert} ranks without one"
        return [Problem("parallel.ep", f"{what}; nearest that works: {fits}")]
    return []


def near(size: int, works: Callable[[int], bool]) -> str:
    """The nearest sizes below and above that work; above, none beyond four times the size is looked for."""
    below = next((n for n in range(size - 1, 0, -1) if works(n)), None)
    above = next((n for n in range(size + 1, 4 * size + 1) if works(n)), None)
    return " or ".join(str(n) for n in (below, above) if n is not None)
