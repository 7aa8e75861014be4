"""A training step of a T5 as backbone against the same model trained by transformers alone: samples a second.

Run: python benchmarks/transformers_step.py [--lengths even|mixed] [--rounds 3] [--seconds 5]

Forward and backward of 16 rows. Even: all of 64 tokens, to reach 0.95. Mixed: of 8 to 128, to reach 1.3; transformers
pads all rows to the longest, as its collator does.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import mkdtemp

import numpy as np
import torch
from measuring import in_turn, settle, timed

ROWS, VOCABULARY = 16, 2000
WANTED = {"even": 0.95, "mixed": 1.3}


def samples(lengths: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Source and target ids of each row."""
    rng = np.random.default_rng(0)
    low, high = (64, 65) if lengths == "even" else (8, 129)
    sizes = rng.integers(low, high, (ROWS, 2))
    return [tuple(rng.integers(300, VOCABULARY, size) for size in pair) for pair in sizes]


def folder() -> Path:
    """A T5 with a tokenizer of bytes and names."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import T5Config, T5ForConditionalGeneration

    place = Path(mkdtemp())
    torch.manual_seed(1)
    ends = {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
    sizes = {"d_model": 256, "d_kv": 64, "d_ff": 1024, "num_layers": 4, "num_heads": 4}
    config = T5Config(vocab_size=VOCABULARY, dropout_rate=0.0, **sizes, **ends)
    T5ForConditionalGeneration(config).save_pretrained(place)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<pad>", "</s>", *letters]
    tokenizer = Tokenizer(models.BPE(vocab={n: k for k, n in enumerate(names)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(place / "tokenizer.json"))
    return place


def ours(lengths: str) -> Callable[[], object]:
    """A step here, over a batch that is collated beforehand."""
    from ofacore import Generalist, Task
    from ofacore.batching.collate import collate

    rows = [{"a": source, "b": target} for source, target in samples(lengths)]
    task = Task("t", "[TEXT:a] -> [TEXT:b]", train=rows)
    model = Generalist.create([task], backbone={"name": "transformers", "path": str(folder())})
    encoder, rng = model.assembly.encoders["t"], np.random.default_rng(0)
    examples = [
        encoder.encode(row, split="test", rng=rng, row_id=str(n)) for n, row in enumerate(rows)
    ]
    batch, own = collate(examples), model.model.train()

    def step() -> None:
        own.zero_grad()
        sum(loss.values.sum() for _, loss in own(batch)).backward()

    return step


def peer(lengths: str) -> Callable[[], object]:
    """The same by transformers."""
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(folder()).train()
    given = samples(lengths)
    pad = torch.nn.utils.rnn.pad_sequence
    sources = [torch.tensor([*source, 1]) for source, _ in given]
    targets = [torch.tensor([*target, 1]) for _, target in given]
    ids = pad(sources, batch_first=True)
    mask = pad([torch.ones_like(source) for source in sources], batch_first=True)
    labels = pad(targets, batch_first=True, padding_value=-100)

    def step() -> None:
        model.zero_grad()
        model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()

    return step


def main() -> None:
    """Run both sides in turn, in processes of their own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", choices=list(WANTED), default="mixed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--side", choices=["ours", "peer"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side is not None:
        settle(True, 1)
        work = {"ours": ours, "peer": peer}[args.side](args.lengths)
        print(json.dumps(timed(work, args.seconds)))
        return
    given = ["--lengths", args.lengths, "--seconds", str(args.seconds)]
    found = in_turn(str(Path(__file__)), ["ours", "peer"], args.rounds, given)
    best = {side: median(min(one["busy"]) for one in rounds) for side, rounds in found.items()}
    ratio = best["peer"] / best["ours"]
    print(
        f"{args.lengths}: ours {ROWS / best['ours']:.1f}, transformers {ROWS / best['peer']:.1f} samples/s of a core"
    )
    print(f"ratio {ratio:.2f}, wanted {WANTED[args.lengths]}")
    sys.exit(ratio < WANTED[args.lengths])


if __name__ == "__main__":
    main()
