"""Generation of 32 tokens against transformers' BART of the same widths, depths and vocabulary.

    python benchmarks/generation.py --preset tiny --rounds 3

Batch 8, source of 62 tokens, greedy and beam 5, length forced; random weights. Each side runs in a process of its own,
in turn. The peer runs as its users run it, and once more with this project's process settings. Printed: median tokens a
second and the ratios of the medians, by wall time and by processor time (which says more on a machine that does other
work). Our beam makes one step more than the peer: it scores the end of the value behind its 32 tokens.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from measuring import in_turn, middle, save, settle, timed
from train_step import BATCH, SIZES, SOURCE, VOCABULARY, ids, our_batch

LENGTH, BEAM = 32, 5
STRATEGIES = ("greedy", "beam")


def bart(preset: str) -> dict[str, Callable[[], object]]:
    """The peer's calls."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    hidden, ffn, heads, layers = SIZES[preset]
    torch.manual_seed(0)
    model = BartForConditionalGeneration(
        BartConfig(
            vocab_size=VOCABULARY,
            d_model=hidden,
            encoder_ffn_dim=ffn,
            decoder_ffn_dim=ffn,
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            encoder_layers=layers,
            decoder_layers=layers,
        )
    ).eval()
    source = ids(0, SOURCE)

    def generate(beams: int) -> None:
        found = model.generate(
            source,
            attention_mask=torch.ones_like(source),
            do_sample=False,
            num_beams=beams,
            max_new_tokens=LENGTH,
            min_new_tokens=LENGTH,
        )
        assert found.shape == (BATCH, LENGTH + 1)

    return {"greedy": lambda: generate(1), "beam": lambda: generate(BEAM)}


def ours(preset: str) -> dict[str, Callable[[], object]]:
    """Decode session and token generator, as inference uses them."""
    import numpy as np
    import torch

    from ofacore.config.model_section import ModelConfig
    from ofacore.decoding.session import Session
    from ofacore.ground.vocabulary import Block, Vocabulary
    from ofacore.model.backbone.blocked import blocked_weights
    from ofacore.model.item_needs import ModelNeeds, Part
    from ofacore.model.universal import UniversalModel
    from ofacore.parts import TokenAdapter, TokenGenerator
    from ofacore.plugin.registry import Registry
    from ofacore.protocols import RowContext, RowRequest, SlotPlan, TargetSpec

    needs = ModelNeeds((Part("token"),), (Part("token"),), (Part("cross_entropy"),), ("task",))
    vocabulary = Vocabulary().extend([Block("words", VOCABULARY - 6)])
    model = UniversalModel(
        ModelConfig(preset=preset), Registry.discover(), vocabulary, {}, needs
    ).eval()
    source = our_batch().source
    slot = SlotPlan("text", "TEXT", "target", 1, "text", "token", head="token", loss=True)
    context = RowContext({}, "task", "infer", np.random.default_rng(0))
    requests = [RowRequest(slot, context, TargetSpec(blocks=("words",)))] * BATCH

    @torch.no_grad()
    def generate(strategy: Any) -> None:
        options = {"strategy": strategy, "beam": BEAM, "min_length": LENGTH, "max_length": LENGTH}
        session = Session(
            model, lambda _, shape: TokenAdapter.coordinates(shape, {}), source, BATCH, task="task"
        )
        with blocked_weights(model):
            found = TokenGenerator(options)(session, requests, torch.Generator().manual_seed(0))
        assert all(len(row[0].value) == LENGTH for row in found)

    return {"greedy": lambda: generate("greedy"), "beam": lambda: generate("beam")}


SIDES: dict[str, tuple[Callable[[str], dict[str, Callable[[], object]]], bool]] = {
    "bart": (bart, False),
    "bart tuned": (bart, True),
    "ofacore": (ours, True),
}


def compare(args: argparse.Namespace) -> None:
    """All sides in turn, several rounds: print and save medians and ratios."""
    arguments = [
        "--preset",
        args.preset,
        "--threads",
        str(args.threads),
        "--seconds",
        str(args.seconds),
    ]
    found = in_turn(__file__, list(SIDES), args.rounds, arguments)
    results: dict[str, object] = {
        "preset": args.preset,
        "threads": args.threads,
        "rounds": args.rounds,
    }
    print(
        f"{args.preset}, {args.threads} threads, {args.rounds} rounds: {LENGTH} tokens, batch {BATCH}"
    )
    for strategy in STRATEGIES:
        each = {side: [run[strategy] for run in runs] for side, runs in found.items()}
        wall, busy = (
            {side: middle(runs, key) for side, runs in each.items()} for key in ("times", "busy")
        )
        for side, seconds in wall.items():
            print(
                f"{strategy:6s} {side:11s} {BATCH * LENGTH / seconds:8.1f} tokens/s  processor {busy[side]:6.2f} s"
            )
        ratios = {
            peer: {"wall": wall[peer] / wall["ofacore"], "processor": busy[peer] / busy["ofacore"]}
            for peer in ("bart", "bart tuned")
        }
        for peer, by in ratios.items():
            print(
                f"{strategy:6s} ofacore / {peer}: {by['wall']:.2f} times, {by['processor']:.2f} by processor time"
            )
        tokens = {side: BATCH * LENGTH / seconds for side, seconds in wall.items()}
        results[strategy] = {"tokens a second": tokens, "processor seconds": busy, "ratios": ratios}
    save(f"generation_{args.preset}", results)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=list(SIZES), default="tiny")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="of each strategy, side and round"
    )
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side is None:
        compare(args)
        return
    build, tuned = SIDES[args.side]
    settle(tuned, args.threads)
    calls = build(args.preset)
    print(json.dumps({strategy: timed(calls[strategy], args.seconds) for strategy in STRATEGIES}))


if __name__ == "__main__":
    main()
