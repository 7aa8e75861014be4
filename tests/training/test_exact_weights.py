"""Runs in bf16: what is returned, saved, loaded and gone on from are the same fp32 weights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ofacore import Generalist, Task
from ofacore.checkpoint import find_latest, load, load_state, save
from ofacore.evaluation.validator import Validator

WORDS = ("red", "green", "blue", "one", "two", "three", "four")
ROWS = [
    {"a": f"{WORDS[i % 7]} {WORDS[i * i % 5]}", "b": WORDS[(i + 1) % 7].upper()} for i in range(37)
]
TRAIN: dict[str, Any] = {
    "samples": 8,
    "precision": "bf16",
    "threads": 1,
    "trackers": ("jsonl",),
    "log_every": 1,
    "lr": {"name": "constant"},
    "validation": {"every": 2, "samples": 8},
}
FROZEN = {"optimizer": {"rules": [{"pattern": "backbone.encoder", "freeze": True}]}}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "plain": ({}, {}, ""),
    "averaged": ({"ema": 0.5}, {}, ""),
    "frozen": ({"ema": 0.5, **FROZEN}, {}, "^(?!backbone.encoder)"),
    "low rank": ({}, {"lora": {"rank": 4, "targets": ["decoder"]}}, "low_rank"),
    "sharded": ({"ema": 0.5, "checkpoint": {"form": "sharded"}}, {}, ""),
}
"""What it is -> settings of the training, settings of the model, what every trained weight is called."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(**model: Any) -> Generalist:
    task = Task("shout", "louder: [TEXT:a] -> [TEXT:b]", train=ROWS, valid=ROWS[:8])
    sizes = {
        "hidden": 32,
        "ffn": 64,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "dropout": 0.1,
    }
    return Generalist.create([task], **{**sizes, **model})


def unequal(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


@pytest.mark.parametrize("kind", KINDS)
def test_one_truth(kind: str, tmp_path: Path) -> None:
    train, model, names = KINDS[kind]
    run = made(**model)
    before = run.model.portable_state()
    run.fit(4, out=tmp_path / "run", **{**TRAIN, **train})
    returned = run.model.portable_state()
    assert {value.dtype for value in returned.values() if value.is_floating_point()} == {
        torch.float32
    }
    trained = unequal(before, returned)
    assert trained and all(re.search(names, name) for name in trained)
    assert any(not torch.equal(returned[n], returned[n].bfloat16().float()) for n in trained)

    again = Generalist.from_pretrained(tmp_path / "run")
    assert unequal(again.model.portable_state(), returned) == []
    saved = Generalist.from_pretrained(run.save(tmp_path / "saved"))
    assert unequal(saved.model.portable_state(), returned) == []

    records = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    shown = next(r for r in reversed(records) if "valid/shout/b/loss" in r)["valid/shout/b/loss"]
    again.data, again.assembly.config = run.data, run.assembly.config
    assert (
        Validator(run)(4)["valid/shout/b/loss"]
        == shown
        == Validator(again)(4)["valid/shout/b/loss"]
    )


@pytest.mark.parametrize("kind", ["frozen", "sharded"])
def test_a_run_in_the_middle_goes_on_bit_for_bit(kind: str, tmp_path: Path) -> None:
    train = {**TRAIN, **KINDS[kind][0]}
    whole = made()
    whole.fit(4, out=tmp_path / "whole", **train)
    made().fit(2, out=tmp_path / "parts", **train)
    second = made()
    second.fit(4, out=tmp_path / "parts", resume=True, **train)
    assert unequal(whole.model.portable_state(), second.model.portable_state()) == []


def test_the_same_model_learns_in_a_second_run(tmp_path: Path) -> None:
    run = made()
    run.fit(1, out=tmp_path / "first", **TRAIN)
    first = run.model.portable_state()
    run.fit(1, out=tmp_path / "second", **TRAIN)
    assert len(unequal(first, run.model.portable_state())) == len(first)


def test_a_run_that_fails_leaves_exact_weights(tmp_path: Path) -> None:
    run = made()
    before = run.model.portable_state()
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(Exception, match="validation gives no such value"):
        run.fit(1, out=tmp_path / "run", **{**TRAIN, "checkpoint": {"best": "nothing"}})
    assert unequal(before, run.model.portable_state()) == []


def test_what_is_not_trained_keeps_its_bits_and_buffers_too(tmp_path: Path) -> None:
    run = made(output_bias=True)
    rng = torch.Generator().manual_seed(3)
    drawn = {
        n: torch.randn(v.shape, generator=rng) / 8 for n, v in run.model.portable_state().items()
    }
    run.model.load_portable(drawn)
    buffers = {name: value.clone() for name, value in run.model.named_buffers()}
    rules = [{"pattern": "^(?!.*decoder)", "freeze": True}]
    run.fit(1, out=tmp_path / "run", **{**TRAIN, "optimizer": {"rules": rules}})
    after = run.model.portable_state()
    assert [name for name in unequal(drawn, after) if "decoder" not in name] == []
    assert buffers and all(
        torch.equal(value, buffers[name]) for name, value in run.model.named_buffers()
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["muon", "adamw", "sgd"])
def test_a_frozen_parameter_is_bit_equal_after_training(
    method: str, precision: str, tmp_path: Path
) -> None:
    run = made()
    before = run.model.portable_state()
    rules = [{"pattern": "(encoder|embedding|types)", "freeze": True}]
    optimizer = {"name": method, "weight_decay": 0.5, "rules": rules}
    settings = {**TRAIN, "precision": precision, "ema": 0.9, "optimizer": optimizer}
    run.fit(2, out=tmp_path / "run", **{**settings, "validation": {"every": 0}})
    changed = set(unequal(before, run.model.portable_state()))
    frozen = {name for name in before if re.search(rules[0]["pattern"], name)}
    assert frozen and changed and not frozen & changed
    stored = Generalist.from_pretrained(tmp_path / "run").model.portable_state()
    assert not frozen & set(unequal(before, stored))


def as_once_written(folder: Path, place: Path) -> None:
    """A checkpoint as earlier versions wrote it in bf16: rounded weights, masters with the optimiser's state."""
    now = load(folder)
    kept = {name for name, value in now.model.items() if value.is_floating_point()}
    masters = {f"{name}|master": now.model[name] for name in kept}
    weights = {
        name: value.bfloat16() if name in kept else value for name, value in now.model.items()
    }
    state = {key: value for key, value in now.state.items() if key != "precision"}
    save(place, replace(now, model=weights, optimizer={**now.optimizer, **masters}, state=state))


@pytest.mark.parametrize("form", ["portable", "sharded"])
def test_checkpoints_of_earlier_versions_go_on_as_they_were(form: str, tmp_path: Path) -> None:
    from ofacore.generalist.storing import convert

    train = {**TRAIN, "ema": 0.5}
    whole = made()
    whole.fit(4, out=tmp_path / "whole", **train)
    made().fit(2, out=tmp_path / "run", **train)
    latest = find_latest(tmp_path / "run")
    assert latest is not None and load_state(latest)["precision"] == "bf16"
    if form == "portable":
        as_once_written(latest, latest)
    else:
        as_once_written(latest, tmp_path / "old")
        latest.rename(tmp_path / "aside")
        convert(tmp_path / "old", latest, sharded=True)
    second = made()
    second.fit(4, out=tmp_path / "run", resume=True, **{**train, "precision": "auto"})
    assert unequal(whole.model.portable_state(), second.model.portable_state()) == []


def test_auto_stays_in_the_format_that_the_run_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(processor: str, steps: int, folder: str, precision: str = "auto") -> str:
        monkeypatch.setenv("OFA_BF16", processor)
        made().fit(
            steps, out=tmp_path / folder, resume=steps > 1, **{**TRAIN, "precision": precision}
        )
        return capsys.readouterr().err.splitlines()[0]

    def format_of(folder: str) -> str:
        latest = find_latest(tmp_path / folder)
        assert latest is not None
        return load_state(latest)["precision"]

    for begun, other in (("on", "off"), ("off", "on")):
        name = {"on": "bf16", "off": "fp32"}[begun]
        assert told(begun, 1, begun).startswith(
            f"computing in {name} (train.precision: auto; bf16 OFA_BF16={begun}"
        )
        assert format_of(begun) == name
        assert told(other, 2, begun).startswith(
            f"computing in {name} (train.precision: auto, as this run began"
        )
        assert format_of(begun) == name
    changed = told("on", 3, "on", "fp32")
    assert (
        changed == "computing in fp32 (train.precision: fp32; until now in bf16)"
        and format_of("on") == "fp32"
    )
