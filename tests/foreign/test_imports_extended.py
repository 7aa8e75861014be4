"""Imported models take more tasks: one dictionary whose tokens all compete goes on saying the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ofa_foreign.exporting import export_run
from ofa_foreign.importing import import_run
from ofacore import Generalist, Task
from ofacore.batching.collate import collate
from ofacore.batching.permutation import item_rng
from tests.foreign.bart import save_bart

ROWS = [
    {"source": "a b ab", "target": "c d", "kind": "x"},
    {"source": "d", "target": "b", "kind": "y"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("imports")
    save_bart(made / "theirs")
    import_run(made / "theirs", made / "run")
    return made


@torch.no_grad()
def logits(model: Generalist, task: str) -> Tensor:
    encoder = model.assembly.encoders[task]
    names = {slot.name for slot in encoder.plan.slots() if slot.plain is None}
    rows = [{k: v for k, v in zip(sorted(names), ("a b", "c d"), strict=True)}]
    example = encoder.encode(rows[0], split="test", rng=item_rng(0, task, 0, 0), row_id="0")
    batch = collate([example])
    hidden = model.model.eval().hidden(batch)
    return model.model.predict(batch.terms[0], hidden).logits()


def test_an_imported_bart_says_the_same_with_more_tasks(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = Generalist.from_pretrained(folder / "run")
    sort = Task("sort", "which? [TEXT:source] -> [CATEGORY:kind]", train=ROWS)
    grown = old.extend([sort])
    (name,) = old.tasks
    assert torch.equal(logits(old, name), logits(grown, name))
    assert old.infer(name, _row(old, name)).values == grown.infer(name, _row(grown, name)).values
    assert grown.infer("sort", {"source": "a b"})["kind"] in ("x", "y")
    before, after = old.model.portable_state(), grown.model.portable_state()
    assert all(torch.equal(before[key], after[key]) for key in before)
    grown.save(folder / "grown")
    slim = folder / "slim"
    export_run(folder / "grown", slim, "ofa", tasks=[name])
    assert torch.equal(logits(Generalist.from_pretrained(slim), name), logits(old, name))
    export_run(folder / "run", folder / "as-it-came", "hf-bart")
    assert not caplog.messages, "nothing joined"
    export_run(folder / "grown", folder / "without-sort", "hf-bart")
    (told,) = caplog.messages
    assert told.startswith("left out,") and "since: embedding.category:2:" in told


def _row(model: Generalist, name: str) -> dict[str, str]:
    plan = model.assembly.plans[name]
    return {s.name: "a b" for s in plan.slots() if s.side == "source" and s.plain is None}
