"""Training step against transformers' BART of the same widths, depths and vocabulary.

Run: ``python benchmarks/train_step.py --preset tiny --precision fp32 --rounds 3``

Each side runs in a process of its own, in turn. The peer runs as its users run it (Adam, ``clip_grad_norm_``), and once
more with this project's process settings. Printed: median seconds a step, samples a second, peak memory over that
after imports, and the ratios of the medians; on a machine that does other work, too, the ratio of processor time (best
with ``--threads 1``) says more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from measuring import save, settle

from ofacore.ground.machine import current_memory, peak_memory

VOCABULARY, BATCH, SOURCE, TARGET = 50_265, 8, 62, 31
SIZES = {"tiny": (256, 1024, 4, 4), "base": (768, 3072, 12, 6)}
"""Preset -> hidden, FFN, heads, layers a side."""


def resident() -> float:
    """Megabytes of this process in memory now."""
    return current_memory() / 2**20


def after_imports() -> float:
    """`resident`, once torch has imported what it otherwise imports when it makes an optimiser."""
    import torch._dynamo  # noqa: F401

    return resident()


def measure(step: Callable[[], None], seconds: float, before: float) -> dict[str, object]:
    """Times of repeated steps after two to warm up, and the peak memory above ``before``."""
    step()
    step()
    times: list[float] = []
    busy: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start, worked = time.perf_counter(), time.process_time()
        step()
        times.append(time.perf_counter() - start)
        busy.append(time.process_time() - worked)
    peak = peak_memory() / 2**20 - before
    return {"times": times, "busy": busy, "memory": peak}


def ids(seed: int, length: int):  # noqa: ANN201 - torch is imported in the measured process only
    """Random tokens [batch, length]."""
    import torch

    return torch.randint(
        6, VOCABULARY, (BATCH, length), generator=torch.Generator().manual_seed(seed)
    )


def run_bart(
    preset: str, precision: str, tuned: bool, threads: int, seconds: float
) -> dict[str, object]:
    """The peer: bf16 means autocast, as its users do."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    settle(tuned, threads)
    before = after_imports()
    hidden, ffn, heads, layers = SIZES[preset]
    torch.manual_seed(0)
    model = BartForConditionalGeneration(
        BartConfig(
            vocab_size=VOCABULARY,
            d_model=hidden,
            encoder_ffn_dim=ffn,
            decoder_ffn_dim=ffn,
            dropout=0.1,
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            encoder_layers=layers,
            decoder_layers=layers,
        )
    ).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    source, target = ids(0, SOURCE), ids(1, TARGET)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model(input_ids=source, labels=target).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return measure(step, seconds, before)


def run_ours(
    preset: str, precision: str, tuned: bool, threads: int, seconds: float
) -> dict[str, object]:
    """The universal model with its token adapter, head and criterion, and the optimiser of the training loop."""
    import torch

    from ofacore.config.model_section import ModelConfig
    from ofacore.config.train_section import OptimizerConfig
    from ofacore.ground.vocabulary import Block, Vocabulary
    from ofacore.model.item_needs import ModelNeeds, Part
    from ofacore.model.universal import UniversalModel
    from ofacore.plugin.registry import Registry
    from ofacore.training.optim.optimizer import RunOptimizer

    settle(tuned, threads)
    before = after_imports()
    needs = ModelNeeds((Part("token"),), (Part("token"),), (Part("cross_entropy"),), ("task",))
    vocabulary = Vocabulary().extend([Block("words", VOCABULARY - 6)])
    model = UniversalModel(
        ModelConfig(preset=preset), Registry.discover(), vocabulary, {}, needs
    ).train()
    if precision == "bf16":
        model.to_bf16()
    optimizer = RunOptimizer(model, OptimizerConfig(name="adamw", lr=1e-4, weight_decay=0.0))
    batch = our_batch()
    positions = sum(batch.terms[0].counts)
    torch.manual_seed(0)

    def step() -> None:
        optimizer.zero_grad()
        loss = sum(loss.values.sum() for _, loss in model.losses(batch)) / positions
        loss.backward()
        optimizer.clip(float(optimizer.gradient_norm()))
        optimizer.step(1.0)

    return measure(step, seconds, before)


def our_batch():  # noqa: ANN201 - torch is imported in the measured process only
    """The peer's batch in our form: one source and one target piece a sample."""
    import torch

    from ofacore.protocols import AdapterCall, Batch, BatchSide, Layout, SampleInfo, TermGroup

    def side(tokens: torch.Tensor, causal: bool) -> BatchSide:
        rows, length = tokens.shape
        total = rows * length
        sequence = torch.arange(rows).repeat_interleave(length)
        places = torch.arange(length).repeat(rows)
        zeros, index = torch.zeros(total, dtype=torch.int64), torch.arange(total)
        layout = Layout(
            sequence,
            sequence,
            places[:, None].expand(-1, 3),
            torch.full((total,), causal),
            torch.ones(total, dtype=torch.bool),
            zeros,
            ("token",),
            zeros,
            ("task",),
            ("task/text",) * rows,
            (index.view(rows, length),),
            rows,
        )
        call = AdapterCall("token", {"tokens": tokens.flatten()}, ((length,),) * rows, index)
        return BatchSide(layout, (call,))

    source, target = side(ids(0, SOURCE), False), side(ids(1, TARGET), True)
    target.layout.memory, target.layout.memory_rows = torch.arange(BATCH), source.layout.rows
    lengths, numbers = (TARGET,) * BATCH, tuple(range(BATCH))
    group = TermGroup(
        "token",
        "cross_entropy",
        "target",
        {},
        ("words",),
        torch.arange(BATCH * TARGET),
        lengths,
        {"ids": ids(2, TARGET).flatten()},
        {"ids": lengths},
        ("task/text",) * BATCH,
        lengths,
        (1.0,) * BATCH,
        numbers,
    )
    return Batch(source, target, (group,), tuple(SampleInfo("task", str(n)) for n in numbers))


SIDES: dict[str, tuple[Callable[..., dict[str, object]], bool]] = {
    "bart": (run_bart, False),
    "bart tuned": (run_bart, True),
    "ofacore": (run_ours, True),
}


def compare(args: argparse.Namespace) -> None:
    """All sides in turn, several rounds, medians and ratios."""
    found: dict[str, list[dict[str, list[float]]]] = {name: [] for name in SIDES}
    for _ in range(args.rounds):
        for name in SIDES:
            command = [
                sys.executable,
                __file__,
                "--side",
                name,
                "--preset",
                args.preset,
                "--precision",
                args.precision,
                "--threads",
                str(args.threads),
                "--seconds",
                str(args.seconds),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    medians = {
        name: statistics.median(t for run in runs for t in run["times"])
        for name, runs in found.items()
    }
    busy = {
        name: statistics.median(t for run in runs for t in run["busy"])
        for name, runs in found.items()
    }
    memory = {
        name: statistics.median(run["memory"] for run in runs) for name, runs in found.items()
    }
    print(f"{args.preset} {args.precision}, {args.threads} threads, {args.rounds} rounds")
    for name, median in medians.items():
        print(
            f"{name:11s} {median:7.3f} s/step {BATCH / median:7.1f} samples/s  peak {memory[name]:6.0f} MB"
        )
    ratios = {}
    for peer in ("bart", "bart tuned"):
        wall, cpu = medians[peer] / medians["ofacore"], busy[peer] / busy["ofacore"]
        ratios[peer] = {"wall": wall, "processor": cpu, "memory": memory["ofacore"] / memory[peer]}
        print(
            f"ofacore / {peer}: {wall:.2f} times the samples/s, {cpu:.2f} times by processor time"
        )
    save(
        f"train_step_{args.preset}_{args.precision}",
        {
            "preset": args.preset,
            "precision": args.precision,
            "threads": args.threads,
            "rounds": args.rounds,
            "seconds a step": medians,
            "processor seconds": busy,
            "peak megabytes": memory,
            "ratios": ratios,
        },
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=list(SIZES), default="tiny")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side is None:
        compare(args)
        return
    run, tuned = SIDES[args.side]
    print(json.dumps(run(args.preset, args.precision, tuned, args.threads, args.seconds)))


if __name__ == "__main__":
    main()
