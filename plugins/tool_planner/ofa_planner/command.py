"""``ofa plan-layout``."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import typer

from ofa_cli.output import echo, print_json, print_table
from ofa_planner.estimate import Estimate
from ofa_planner.hardware import Hardware
from ofa_planner.search import Proposal, describe, propose
from ofa_planner.workload import Workload
from ofacore.config.model_section import ModelConfig
from ofacore.plugin import UserError

_GIB = 2**30
_RATES = {"bf16": 312.0, "fp32": 19.5}


def plan_layout(
    preset: Annotated[str, typer.Option(help="Named sizes of the model.")],
    gpus: Annotated[int, typer.Option(help="Number of GPUs.")],
    memory: Annotated[float, typer.Option(help="GiB of each GPU.")] = 80.0,
    global_positions: Annotated[
        int, typer.Option(help="Positions of a step, over all GPUs.")
    ] = 655_360,
    source_positions: Annotated[int, typer.Option(help="Positions of a sample's source.")] = 512,
    target_positions: Annotated[int, typer.Option(help="Positions of a sample's target.")] = 128,
    vocabulary: Annotated[int, typer.Option(help="Tokens.")] = 50_000,
    experts: Annotated[
        int, typer.Option(min=0, help="Learned experts in each layer; 0: none.")
    ] = 0,
    optimizer: Annotated[Literal["muon", "adamw", "sgd"], typer.Option(help="Optimiser.")] = "muon",
    precision: Annotated[Literal["bf16", "fp32"], typer.Option(help="Format of weights.")] = "bf16",
    tflops: Annotated[float, typer.Option(help="Best rate of a GPU; 0: that of an A100.")] = 0.0,
    efficiency: Annotated[float, typer.Option(help="Share of it that products reach.")] = 0.45,
    gpus_per_node: Annotated[int, typer.Option(help="GPUs of a node.")] = 8,
    bandwidth: Annotated[
        float, typer.Option(help="GB a second that a GPU sends within a node.")
    ] = 250.0,
    network: Annotated[
        float, typer.Option(help="GB a second that a GPU sends to other nodes.")
    ] = 25.0,
    show: Annotated[int, typer.Option(min=0, help="Layouts to show.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with every layout.")] = False,
) -> None:
    """Propose parallel layouts: memory, bubbles, communication and speed by a cost model, nothing measured."""
    numbers = {
        "--memory": memory,
        "--global-positions": global_positions,
        "--source-positions": source_positions,
        "--target-positions": target_positions,
        "--efficiency": efficiency,
        "--gpus-per-node": gpus_per_node,
        "--bandwidth": bandwidth,
        "--network": network,
        "--vocabulary": vocabulary,
        "--tflops": tflops or _RATES[precision],
    }
    for name, value in numbers.items():
        if not 0 < value < math.inf:
            raise UserError(f"{name} {value:g}: must be above 0")
    if efficiency > 1:
        raise UserError(f"--efficiency {efficiency:g}: must be at most 1, which is all of --tflops")
    learned: dict[str, Any] = {}
    if experts > 0:
        learned = {"experts": "topk", "experts_number": experts}
    config = ModelConfig(preset=preset, **learned)
    samples = max(1, global_positions // (source_positions + target_positions))
    work = Workload(
        config,
        vocabulary,
        source_positions,
        target_positions,
        samples,
        precision == "bf16",
        optimizer,
    )
    hardware = Hardware(
        memory=memory,
        flops=(tflops or _RATES[precision]) * 1e12,
        efficiency=efficiency,
        node=gpus_per_node,
        bandwidth=bandwidth * 1e9,
        network=network * 1e9,
    )
    found = propose(work, gpus, hardware)
    if json:
        print_json(_report(found))
        return
    echo(
        f"{preset}: {samples} samples of {source_positions} + {target_positions} positions a step, {precision}, "
        f"{optimizer}, on {gpus} GPUs of {memory:g} GiB; computed, not measured"
    )
    _print(found, show)


def _report(found: Proposal) -> dict[str, Any]:
    left_out = [{"layout": each.layout, "why": each.why} for each in found.left_out]
    return {"layouts": [_entry(each) for each in found.fitting], "left out": left_out}


def _entry(each: Estimate) -> dict[str, Any]:

    layout, time, held = each.choice.layout, each.time, each.memory.held
    return {
        "layout": describe(layout),
        "tp": layout.tensor,
        "pp": layout.pipeline,
        "dp": layout.data,
        "ep": layout.expert,
        "sp": layout.sequence,
        "zero": int(layout.zero),
        "fsdp": layout.fsdp,
        "micro-batch": each.choice.micro_batch,
        "checkpoint activations": each.choice.recompute,
        "samples/s": each.samples_per_second,
        "utilisation": each.utilisation,
        "seconds a step": time.total,
        "shares of time": {
            name: getattr(time, name) / time.total
            for name in ("compute", "communication", "bubble", "optimizer")
        },
        "bytes a process": {
            "weights": held.weights,
            "gradients": held.gradients,
            "optimizer": held.optimizer,
            "gathered": held.gathered,
            "activations": each.memory.activations,
            "total": each.memory.total,
        },
        "fullest stage": each.memory.stage,
        "bytes sent a step": each.sent,
    }


def _print(found: Proposal, show: int) -> None:
    titles = (
        "layout",
        "micro",
        "recompute",
        "GiB",
        "samples/s",
        "bubble",
        "comm.",
        "sent a step, GB",
    )
    print_table(titles, [_row(each) for each in found.fitting[:show]])
    if len(found.fitting) > show:
        echo(f"and {len(found.fitting) - show} more that fit (--show, --json)")
    if found.left_out:
        echo("\nleft out")
    for each in found.left_out[:show]:
        echo(f"{each.layout}: {each.why}")
    if len(found.left_out) > show:
        echo(f"and {len(found.left_out) - show} more")


def _row(each: Estimate) -> tuple[str, ...]:

    time = each.time
    sent = ", ".join(f"{kind} {size / 1e9:.2f}" for kind, size in each.sent.items() if size)
    return (
        describe(each.choice.layout),
        str(each.choice.micro_batch),
        "yes" if each.choice.recompute else "no",
        f"{each.memory.total / _GIB:.1f}",
        f"{each.samples_per_second:.0f}",
        f"{time.bubble / time.total:.1%}",
        f"{time.communication / time.total:.1%}",
        sent or "nothing",
    )
