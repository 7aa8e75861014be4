"""Rows of a table to collated batches: rows a second on one core, against `datasets` with a fast tokenizer.

    python benchmarks/tables.py

Both write a row as ``column : column | cell : cell``, with the same tokens. The peer is a `datasets.Dataset` read in
batches of 64: texts, calls of the tokenizer for a batch, padded tensors of ids and of labels. Ours goes the whole way
of a task: row, structure, text, tokens, segments, pieces, one batch with losses. By wall time and by processor time,
which says more on a machine that does other work.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from measuring import in_turn, middle, save, settle, timed

BATCH, ROWS = 64, 1024
LINE = "[STRUCT:row] what class is it? -> [TEXT:class]"
CITIES = ("Oslo", "Porto Alegre", "Nairobi", "Kyoto", "Lima", "Tartu")


def table_rows() -> list[dict[str, Any]]:
    """Rows of eight columns: names, whole numbers, and measures with two places."""
    import numpy as np

    rng = np.random.default_rng(0)
    rows = []
    for number in range(ROWS):
        row: dict[str, Any] = {"id": number, "city": str(rng.choice(CITIES))}
        row["population"] = int(rng.integers(1_000, 5_000_000))
        for name in ("height", "rain", "warmth", "income", "age"):
            row[name] = round(float(rng.normal(50, 20)), 2)
        rows.append({"row": row, "class": str(rng.choice(["coast", "inland"]))})
    return rows


def made(rows: list[dict[str, Any]]) -> Any:
    """A model for the task; its tokenizer serves both sides."""
    from ofacore import Generalist, Task

    return Generalist.create([Task("task", LINE, train=rows)], preset="tiny")


def ours(rows: list[dict[str, Any]]) -> Callable[[], object]:
    """The encoder of the task, then batches."""
    from ofacore.batching.collate import collate
    from ofacore.batching.permutation import item_rng

    encoder = made(rows).assembly.encoders["task"]

    def run() -> object:
        batch = None
        for begin in range(0, ROWS, BATCH):
            examples = []
            for number in range(begin, begin + BATCH):
                rng = item_rng(1, "task", 0, number)
                found = encoder.encode(rows[number], split="train", rng=rng, row_id=str(number))
                examples.append(found)
            batch = collate(examples)
        return batch

    return run


def peer(rows: list[dict[str, Any]]) -> Callable[[], object]:
    """`datasets`, `tokenizers` and a padded tensor."""
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer

    artifact = made(rows).assembly.artifacts["text"]
    tokenizer = Tokenizer.from_buffer(artifact.files["tokenizer.json"])
    tokenizer.enable_padding()
    names = list(rows[0]["row"])
    data = Dataset.from_list([{**row["row"], "class": row["class"]} for row in rows])
    head = " : ".join(names)

    def run() -> object:
        found = None
        for batch in data.iter(batch_size=BATCH):
            cells = zip(*(batch[name] for name in names), strict=True)
            texts = [f"{head} | {' : '.join(map(str, row))}" for row in cells]
            sources = tokenizer.encode_batch([text.lower() for text in texts])
            targets = tokenizer.encode_batch(batch["class"])
            ids = torch.tensor([encoding.ids for encoding in sources])
            labels = torch.tensor([encoding.ids for encoding in targets])
            found = (ids, labels)
        return found

    return run


SIDES = {"ours": ours, "peer": peer}


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
        print(json.dumps(timed(SIDES[args.side](table_rows()), args.seconds)))
        return
    results: dict[str, object] = {}
    rates: dict[str, dict[str, float]] = {}
    found = in_turn(__file__, list(SIDES), args.rounds, ["--seconds", str(args.seconds)])
    for side, runs in found.items():
        rates[side] = {key: ROWS / middle(runs, key) for key in ("times", "busy")}
        wall, busy = rates[side]["times"], rates[side]["busy"]
        print(f"{side}: {wall:7.0f} rows/s, {busy:7.0f} by processor time")
        results[side] = {"rows a second": wall, "by processor time": busy}
    ratios = {key: rates["ours"][key] / rates["peer"][key] for key in ("times", "busy")}
    print(f"ratio {ratios['times']:.2f}, by processor time {ratios['busy']:.2f}; to reach: 1.0")
    results["ratio"] = {"wall": ratios["times"], "by processor time": ratios["busy"]}
    results["to reach"] = 1.0
    save("tables", results)


if __name__ == "__main__":
    main()
