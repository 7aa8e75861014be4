"""Rows of a table to collated batches: rows a second on one core, against `datasets` with a fast tokenizer.

    python benchmarks/tables.py

Both write a row as ``column : column | cell : cell``, with the same tokens. The peer is a `datasets.Dataset` read in
batches of 64: texts, calls of the tokenizer for a batch, padded tensors of ids and of labels. Ours goes the whole way
of a task: row, structure, text, tokens, segments, pieces, one batch with losses. By wall time and by processor time,
which says more on a machine that does other work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from measuring import against_peer

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


SIDES = {"ours": lambda: ours(table_rows()), "peer": lambda: peer(table_rows())}

if __name__ == "__main__":
    against_peer(__file__, __doc__, SIDES, ROWS, "rows")
