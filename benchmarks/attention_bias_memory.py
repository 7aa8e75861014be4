"""Peak memory of a training step of ``ofa-base`` on one picture of 480 pixels: 900 positions, biases in every layer.

    python benchmarks/attention_bias_memory.py

The picture comes through the ResNet-101 of that size, whose activations are computed again in the backward pass on all
sides, or through linear patches of 16 pixels, which are 900 positions too and leave the transformer's own memory.

Three sides, each in a process of its own, with the same weights, input and gradients:

- ``recomputed``: the model as it is;
- ``kept``: each layer's bias is an ordinary tensor of [rows, heads, positions, positions], looked up for every pair,
  zeroed between runs and handed to torch's attention, as this model did it at first: autograd keeps what it needs;
- ``held``: the least that plain tensors take: biases without that product, held until the backward pass is over as the
  original does, and the attention weights that autograd keeps.

``tensors`` is the most memory that the step's own tensors took at a time, counted by torch at each allocation: it does
not depend on what else the machine does. ``step`` is the peak of the process over what it held before the step (weights
and gradients), ``whole`` that over what it held after its imports. All in megabytes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

from measuring import in_turn, save, settle

from ofacore.ground.machine import current_memory, peak_memory

SIZE, QUESTION, CAPTION, TOKENS = 480, 8, 16, 59_451
SIDES = ("recomputed", "kept", "held")
ADAPTERS = {"image_resnet": {"depth": 101, "recompute": True}, "image_patch_embed": {"patch": 16}}


def resident() -> float:
    """Megabytes of this process in memory now."""
    return current_memory() / 2**20


def peak() -> float:
    """Most megabytes that this process ever held."""
    return peak_memory() / 2**20


def allocated(step: Callable[[], None]) -> float:
    """Most megabytes of tensors that exist at a time during a step, above those that exist before it."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    waiting, totals = list(profiler.profiler.kineto_results.experimental_event_tree()), []
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if event.typed[0].name == "Allocation":
            totals.append(
                (event.start_time_ns, event.typed[1].total_allocated, event.typed[1].alloc_size)
            )
    totals.sort()
    before = totals[0][1] - totals[0][2]
    return (max(total for _, total, _ in totals) - before) / 2**20


def make_plain(side: str) -> list[Any]:
    """Leave every layer's bias to autograd, or hold it; returns where biases are held."""
    import torch
    from torch.nn import functional

    from ofacore.model.backbone import attention, bias

    held: list[Any] = []

    def kept(q: Any, k: Any, v: Any, added: bias.Bias, features: Any) -> Any:
        q, k = (torch.cat(pair, -1) for pair in zip((q, k), features, strict=True))
        total = added.mask
        for index in added.indices:
            inside = (index != len(added.table) - 1).unsqueeze(-1).to(q.dtype)
            part = (functional.embedding(index, added.table) * inside).permute(0, 3, 1, 2)
            total = part if total is None else total + part
        return functional.scaled_dot_product_attention(q, k, v, total, scale=1.0)

    def hold(q: Any, k: Any, v: Any, added: bias.Bias, features: Any) -> Any:
        q, k = (torch.cat(pair, -1) for pair in zip((q, k), features, strict=True))
        held.append(added.dense())
        return (q @ k.transpose(-1, -2) + held[-1]).softmax(-1) @ v

    attention.recomputed_attention = kept if side == "kept" else hold
    return held


def model_and_batch(adapter: str) -> tuple[Any, Any]:
    """The model, and one picture with a question and a caption."""
    import numpy as np

    from ofacore.batching.collate import collate
    from ofacore.config.model_section import ModelConfig
    from ofacore.ground.vocabulary import Block, Vocabulary
    from ofacore.model.item_needs import ModelNeeds, Part
    from ofacore.model.universal import UniversalModel
    from ofacore.plugin import Registry
    from ofacore.protocols import Example, Piece, SlotPlan, TermItem

    registry = Registry.discover()
    options = {**registry.component("adapter", adapter).options, **ADAPTERS[adapter], "bare": True}
    config = ModelConfig(preset="ofa-base", adapters={adapter: options})
    needs = ModelNeeds(
        (Part("token"), Part(adapter)), (Part("token"),), (Part("cross_entropy"),), ("t",)
    )
    model = UniversalModel(
        config, registry, Vocabulary().extend([Block("tokens", TOKENS)]), {}, needs
    ).train()
    rng = np.random.default_rng(0)

    def words(number: int, side: str, length: int) -> Piece:
        slot = SlotPlan(str(number), "TEXT", side, number, "", "token")
        where = np.repeat(np.arange(length)[:, None], 3, axis=1)
        return Piece(
            slot,
            "token",
            {"tokens": rng.integers(6, TOKENS, length)},
            (length,),
            where,
            side == "target",
        )

    pixels = {
        "pixels": rng.integers(0, 256, SIZE * SIZE * 3).astype(np.uint8),
        "statistics": np.zeros(1, np.int64),
    }
    where = registry.load("adapter", adapter).coordinates((SIZE, SIZE), options)
    slot = SlotPlan("0", "IMAGE", "source", 0, "", adapter)
    picture = Piece(slot, adapter, pixels, (SIZE, SIZE), where)
    labels = {"ids": rng.integers(6, TOKENS, CAPTION)}
    term = TermItem(
        "t/y", "target", (0,), "token", "cross_entropy", labels, CAPTION, blocks=("tokens",)
    )
    source = ((picture, words(1, "source", QUESTION)),)
    return model, collate(
        [Example("t", "0", source, (words(2, "target", CAPTION),), (term,))], packing=False
    )


def run(side: str, adapter: str, threads: int) -> dict[str, float]:
    """Megabytes and seconds of one side."""
    import torch

    import ofacore.model.universal  # noqa: F401 - imports are not the model's memory

    settle(True, threads)
    imported = resident()
    held = [] if side == "recomputed" else make_plain(side)
    model, batch = model_and_batch(adapter)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = resident()

    def step() -> None:
        sum(loss.values.sum() for _, loss in model.losses(batch)).backward()
        held.clear()

    start = time.perf_counter()
    step()
    seconds = time.perf_counter() - start
    measured = {"step": peak() - before, "whole": peak() - imported, "seconds": seconds}
    return {"tensors": allocated(step), **measured}


def main() -> None:
    """Run all sides in turn; print and save the medians and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--adapter", choices=ADAPTERS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(run(arguments.side, arguments.adapter, arguments.threads)))
        return
    results = {}
    for adapter in [arguments.adapter] if arguments.adapter else ADAPTERS:
        common = ["--adapter", adapter, "--threads", str(arguments.threads)]
        found = in_turn(__file__, SIDES, arguments.rounds, common)
        lowest = {
            side: {key: min(one[key] for one in runs) for key in runs[0]}
            for side, runs in found.items()
        }
        ratios = {
            side: {key: lowest["recomputed"][key] / values[key] for key in values}
            for side, values in lowest.items()
            if side != "recomputed"
        }
        for side, values in lowest.items():
            print(
                f"{adapter} {side:12}"
                + "".join(f"{key} {value:8.1f}   " for key, value in values.items())
            )
        for side, values in ratios.items():
            print(
                f"recomputed / {side}: "
                + "   ".join(f"{key} {value:.3f}" for key, value in values.items())
            )
        results[adapter] = {"lowest": lowest, "ratios": ratios}
    save("attention_bias_memory", results)


if __name__ == "__main__":
    main()
