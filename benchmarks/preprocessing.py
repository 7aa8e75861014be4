"""Text rows, and caption rows with a picture of 256 pixels, to collated batches: samples a second on one core.

    python benchmarks/preprocessing.py

Whole path: the encoder of a task (columns, template, groups, tokens, pieces, loss terms), then one batch of 64. By
wall time and by processor time, which says more on a machine that does other work.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from measuring import in_turn, middle, save, settle, timed

BATCH, ROWS, SIZE = 64, 1024, 256
TARGETS = {"text": 3 * 1760, "caption": 1.5 * 950}
"""Samples a second to reach."""
TEXT = "translate to French: [TEXT:source] -> [TEXT:target]"
CAPTION = f"[IMAGE:img,adapter=image_resnet,size={SIZE},augment=none] what does the image describe? -> [TEXT:caption]"


def sentences(number: int, words: int, seed: int) -> list[str]:
    """Random sentences over 2,000 made-up words."""
    import numpy as np

    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    known = ["".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(2000)]
    return [" ".join(rng.choice(known, words)) for _ in range(number)]


def text_rows() -> list[dict[str, Any]]:
    """Sentences of 12 words in, 8 words out."""
    pairs = zip(sentences(ROWS, 12, 0), sentences(ROWS, 8, 1), strict=True)
    return [{"source": source, "target": target} for source, target in pairs]


def caption_rows() -> list[dict[str, Any]]:
    """Pictures of 256 pixels, decoded, with captions of 8 words."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    pictures = [
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)) for _ in range(64)
    ]
    return [
        {"img": pictures[i % 64], "caption": text} for i, text in enumerate(sentences(ROWS, 8, 2))
    ]


def measured(
    instruction: str, rows: Sequence[Mapping[str, Any]], seconds: float
) -> dict[str, list[float]]:
    """Seconds of each pass over all rows."""
    from ofacore import Generalist, Task
    from ofacore.batching.collate import collate
    from ofacore.batching.permutation import item_rng

    model = Generalist.create([Task("task", instruction, train=list(rows))], preset="tiny")
    encoder = model.assembly.encoders["task"]

    def run() -> None:
        for begin in range(0, ROWS, BATCH):
            part = rows[begin : begin + BATCH]
            collate(
                [
                    encoder.encode(
                        row,
                        split="train",
                        rng=item_rng(1, "task", 0, begin + i),
                        row_id=str(begin + i),
                    )
                    for i, row in enumerate(part)
                ]
            )

    return timed(run, seconds)


SIDES: dict[str, tuple[str, Callable[[], list[dict[str, Any]]]]] = {
    "text": (TEXT, text_rows),
    "caption": (CAPTION, caption_rows),
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side is not None:
        settle(True, 1)
        instruction, rows = SIDES[args.side]
        print(json.dumps(measured(instruction, rows(), args.seconds)))
        return
    results: dict[str, object] = {}
    found = in_turn(__file__, list(SIDES), args.rounds, ["--seconds", str(args.seconds)])
    for side, runs in found.items():
        wall, busy = (ROWS / middle(runs, key) for key in ("times", "busy"))
        print(
            f"{side:8s} {wall:7.0f} samples/s, {busy:7.0f} by processor time; to reach: {TARGETS[side]:.0f}"
        )
        results[side] = {
            "samples a second": wall,
            "by processor time": busy,
            "to reach": TARGETS[side],
        }
    save("preprocessing", results)


if __name__ == "__main__":
    main()
