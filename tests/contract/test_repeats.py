"""Repeats in the target: what carries the choice of another turn, and what those see that stand behind the repeat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ofacore import Generalist, Task
from ofacore.evaluation.forced import reference_log_probs
from ofacore.plugin import Registry


def test_plain_text_before_dense_slots_of_a_repeat_is_learned(tmp_path: Path) -> None:
    walk = np.linspace(0.0, 1.0, 36).reshape(12, 3)
    rows = [
        {"w": word, "m": [walk + place for place in range(turns)]}
        for word, turns in (("one", 1), ("two", 2))
    ]
    sizes = {
        "preset": "tiny",
        "hidden": 32,
        "ffn": 32,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
    }
    model = Generalist.create(
        [Task("walk", "[TEXT:w] -> ( and [MOTION:m,length=12] )*", train=rows)], **sizes
    )
    assert {part.name for part in model.model.needs.criteria} >= {"cross_entropy"}
    model.fit(steps=1, samples=2, out=tmp_path / "run", precision="fp32")


@pytest.mark.parametrize("start", ["bos", "eos bos"])
@pytest.mark.parametrize("turns", [0, 1, 2])
@pytest.mark.parametrize(
    "line", ["([WORD:tags])* [WORD:post]", "(and [WORD:tags])* so [WORD:post]"]
)
def test_what_follows_a_repeat_sees_what_it_saw_in_training(
    line: str, turns: int, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFA_PLUGIN_DEV", "codes=tests.contract.codes:MANIFEST")
    rows = [
        {"what": "head", "tags": ["ab", "c"], "post": "b"},
        {"what": "face", "tags": ["d"], "post": "ccc"},
    ]
    model = Generalist.create(
        [Task("tell", f"[WORD:what] -> {line}", train=rows)],
        registry=Registry.discover(),
        preset="tiny",
        hidden=32,
        ffn=64,
        heads=2,
        encoder_layers=1,
        decoder_layers=2,
        target_start=start,
    )
    monkeypatch.setattr(
        "ofacore.decoding.target._decide", lambda s, rows, *_: [turns == 0] * len(rows)
    )
    options = {"max_length": 3, "min_length": 1, "unk_penalty": 99.0, "strategy": "beam"}
    outputs = model.infer("tell", rows, max_turns=max(turns, 1), **options)
    for row, output in zip(rows, outputs, strict=True):
        written = {**row, **output.values}
        (found,) = reference_log_probs(
            model.model, model.assembly.encoders["tell"], [written], "post"
        )
        assert output.candidates["post"][0].log_prob == pytest.approx(sum(found), abs=1e-4)
