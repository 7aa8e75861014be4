"""All layouts of so many GPUs, with the settings that make each of them fastest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ofa_planner.choice import Choice
from ofa_planner.estimate import Estimate, Memory, estimate, memory_of
from ofa_planner.hardware import GIB, Hardware
from ofa_planner.workload import Workload
from ofacore.config.schema import ParallelConfig, RunConfig
from ofacore.config.train_section import TrainConfig
from ofacore.ground.errors import UserError
from ofacore.parallel.process_grid import LayoutError, ProcessGrid
from ofacore.setup.layout_check import layout_problems


@dataclass(frozen=True)
class LeftOut:
    """A layout that is not proposed."""

    layout: str
    why: str
    memory: float = 0.0
    """Bytes that it needs at the least; 0 where it cannot work with any memory."""


@dataclass(frozen=True)
class Proposal:
    """What fits, the fastest first, and what does not."""

    fitting: tuple[Estimate, ...]
    left_out: tuple[LeftOut, ...]


class NothingFitsError(UserError):
    """No layout fits; names what is missing, and the nearest."""


def propose(work: Workload, gpus: int, hardware: Hardware) -> Proposal:
    """Every layout of ``gpus`` processes at its best micro-batch, with recomputation where that helps.

    Raises:
        NothingFitsError: Nothing fits the memory.
        ModelSizeError: Unknown preset.
        LayoutError: Fewer than one GPU.
    """
    if gpus < 1:
        raise LayoutError(f"--gpus {gpus}: at least 1")
    fitting, left_out = [], []
    for sizes in _sizes(work, gpus):
        problem = _problem(work, gpus, *sizes)
        if problem:
            left_out.append(LeftOut(name_of(*sizes), problem))
            continue
        for layout in _variants(gpus, *sizes):
            best = _best(work, layout, hardware)
            if isinstance(best, Estimate):
                fitting.append(best)
            else:
                left_out.append(_too_large(layout, best, hardware))
    if not fitting:
        raise NothingFitsError(_nearest(left_out, gpus, hardware))
    return Proposal(
        tuple(sorted(fitting, key=lambda each: -each.samples_per_second)), tuple(left_out)
    )


def name_of(tensor: int, pipeline: int, data: int, expert: int = 1, more: str = "") -> str:
    """A layout in short: ``TP2 PP4 DP8``."""
    return f"TP{tensor} PP{pipeline} DP{data}" + (f" EP{expert}" if expert > 1 else "") + more


def describe(layout: ProcessGrid) -> str:
    """A layout in short, with everything that is switched on."""
    more = "".join(
        f" {name}"
        for name, on in (("SP", layout.sequence), ("ZeRO-1", layout.zero), ("FSDP", layout.fsdp))
        if on
    )
    return name_of(layout.tensor, layout.pipeline, layout.data, layout.expert, more)


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _first_above(most: int, sizes: Sequence[int]) -> int:
    """0: there is none."""
    return next((size for size in sizes if size > most), 0)


def _sizes(work: Workload, gpus: int) -> Iterator[tuple[int, int, int, int]]:
    """Tensor, pipeline, data, expert; of sizes that cannot work the smallest alone, to say why."""
    limits = {
        "tensor": work.sizes.heads,
        "pipeline": work.sizes.encoder_layers + work.sizes.decoder_layers,
    }
    divisors = _divisors(gpus)
    first = {name: _first_above(most, divisors) for name, most in limits.items()}
    for tensor in divisors:
        for pipeline in _divisors(gpus // tensor):
            small = tensor <= limits["tensor"], pipeline <= limits["pipeline"]
            shown = (tensor, pipeline) in ((first["tensor"], 1), (1, first["pipeline"]))
            if all(small) or shown:
                data = gpus // tensor // pipeline
                for expert in _divisors(data) if work.experts else [1]:
                    if expert <= work.experts or expert == 1:
                        yield tensor, pipeline, data, expert


def _problem(work: Workload, gpus: int, tensor: int, pipeline: int, data: int, expert: int) -> str:
    config = RunConfig(
        model=work.config,
        train=TrainConfig(samples=work.samples),
        parallel=ParallelConfig(nproc=gpus, tp=tensor, pp=pipeline, ep=expert),
    )
    return "; ".join(problem.message for problem in layout_problems(config, {}))


def _variants(
    gpus: int, tensor: int, pipeline: int, data: int, expert: int
) -> Iterator[ProcessGrid]:
    for sequence in (False, True) if tensor > 1 else (False,):
        base = ProcessGrid(gpus, tensor, pipeline, expert, sequence)
        yield base
        if data > 1:
            yield replace(base, zero=True)
            if pipeline == 1 and expert == 1:
                yield replace(base, fsdp=True)


def _best(work: Workload, layout: ProcessGrid, hardware: Hardware) -> Estimate | Memory:
    """The fastest choice that fits, or the memory of the smallest."""
    found = []
    for choice in _choices(work, layout):
        if memory_of(work, choice).total <= hardware.usable:
            found.append(estimate(work, choice, hardware))
    if not found:
        return min(
            (memory_of(work, choice) for choice in _choices(work, layout)),
            key=lambda each: each.total,
        )
    return min(found, key=lambda each: (each.time.total, each.memory.total))


def _choices(work: Workload, layout: ProcessGrid) -> Iterator[Choice]:
    own, micro_batch = -(-work.samples // layout.data), 1
    while micro_batch < 2 * own:
        for recompute in (False, True):
            yield Choice(layout, min(micro_batch, own), recompute)
        micro_batch *= 2


def _too_large(layout: ProcessGrid, memory: Memory, hardware: Hardware) -> LeftOut:
    why = (
        f"needs {memory.total / GIB:.1f} GiB on stage {memory.stage}, even with micro-batches of one sample and "
        f"recomputation; {hardware.usable / GIB:.1f} of {hardware.memory:g} GiB are usable"
    )
    return LeftOut(describe(layout), why, memory.total)


def _nearest(left_out: list[LeftOut], gpus: int, hardware: Hardware) -> str:
    short = [each for each in left_out if each.memory]
    if not short:
        return f"no layout of {gpus} GPUs works: " + "; ".join(
            f"{each.layout}: {each.why}" for each in left_out[:3]
        )
    best = min(short, key=lambda each: each.memory)
    missing = (best.memory - hardware.usable) / GIB
    return (
        f"nothing fits {gpus} GPUs of {hardware.memory:g} GiB: the nearest, {best.layout}, {best.why}, so "
        f"{missing:.1f} GiB are missing on each GPU; use more or larger GPUs, shorter samples or a smaller preset"
    )
