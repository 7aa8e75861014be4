"""Prompt tuning: learned vectors before the source, all else frozen, by task or shared."""

from __future__ import annotations

import pytest
import torch

from ofacore import Generalist, Task
from ofacore.evaluation.forced import reference_log_probs
from ofacore.ground.errors import UserError
from ofacore.protocols import RowError

ROWS = [{"a": f"{x} {y}", "b": y} for x in ("red", "cat") for y in ("sun", "sea")]
SIZES = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}
FROZEN = {
    "name": "adamw",
    "lr": 0.05,
    "weight_decay": 0.0,
    "rules": [{"pattern": r"^(?!adapters\.prompt)", "freeze": True}],
}


def made() -> Generalist:
    lines = {
        "one": "[PROMPT:p,length=3] [TEXT:a] -> [TEXT:b]",
        "two": "[PROMPT:q,length=2,first=5] [TEXT:a] -> [TEXT:b]",
    }
    tasks = [Task(name, line, train=ROWS) for name, line in lines.items()]
    options = {"preprocessor/prompt": {"vectors": 8}}
    return Generalist.create(tasks, options=options, dropout=0.0, **SIZES)


def log_probs(model: Generalist, task: str) -> list[float]:
    encoder = model.assembly.encoder(model.plan(task))
    rows = reference_log_probs(model.model.eval(), encoder, ROWS, "b")
    return [sum(row) for row in rows]


def test_prompts_are_trained_alone_and_each_task_reads_its_own(tmp_path):
    model = made()
    before, first = model.model.portable_state(), log_probs(model, "one")
    model.fit(
        6,
        out=tmp_path / "run",
        samples=8,
        precision="fp32",
        threads=1,
        optimizer=FROZEN,
        lr={"name": "constant"},
    )
    after = model.model.portable_state()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["adapters.prompt.vectors"]
    moved = (before[changed[0]] != after[changed[0]]).any(1)
    assert moved.tolist() == [True] * 3 + [False] * 2 + [True] * 2 + [False]
    assert sum(log_probs(model, "one")) > sum(first)
    again = Generalist.from_pretrained(tmp_path / "run")
    assert log_probs(again, "two") == log_probs(model, "two")
    assert again.infer("one", {"a": "red sun"}, max_length=3).values.keys() == {"b"}

    other = log_probs(model, "two")
    with torch.no_grad():
        model.model.adapters["prompt"].vectors[:3].mul_(-3)
    assert log_probs(model, "two") == other
    assert log_probs(model, "one") != log_probs(again, "one")


def test_what_cannot_be_is_told():
    with pytest.raises(UserError, match=r"PROMPT"):
        Generalist.create([Task("t", "[TEXT:a] -> [PROMPT:b]", train=ROWS)], **SIZES)
    model = made()
    line = "[PROMPT:p,length=9] [TEXT:a] -> [TEXT:b]"
    with pytest.raises((RowError, UserError), match="vectors 0 to 8, the model has 8"):
        model.infer(line, {"a": "red"})
