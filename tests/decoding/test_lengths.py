"""Values that are longer than the model takes are refused, whatever asks for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ofacore import Generalist, Task
from ofacore.ground.errors import UserError

SMALL: dict[str, Any] = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "heads": 2,
}


def test_more_frames_than_the_model_has_positions_are_refused() -> None:
    rows = [
        {"a": "walk", "m": np.random.default_rng(k).normal(size=(12, 3)), "n": 12} for k in range(4)
    ]
    model = Generalist.create(
        [Task("t", "[TEXT:a] -> [MOTION:m,length=n]", train=rows)], max_positions=64, **SMALL
    )
    assert model.infer("t", {"a": "walk", "n": "64"}, steps=1)["m"].shape == (64, 3)
    with pytest.raises(
        UserError, match="slot 'm': 65 positions are asked for, but the model takes 64"
    ):
        model.infer("t", {"a": "walk", "n": 65}, steps=1)


def test_an_answer_ends_where_learned_positions_do(caplog: pytest.LogCaptureFixture) -> None:
    """Behind them every token would stand at the same place."""
    rows = [{"a": "walk", "b": "walk on and on", "c": "on"}] * 4
    options = {**SMALL, "positions": "untied", "max_positions": 16}
    model = Generalist.create([Task("t", "[TEXT:a] -> [TEXT:b]", train=rows)], **options)
    free = {"min_length": 12, "max_length": 100, "strategy": "greedy"}
    for strategy in ("greedy", "beam"):
        caplog.clear()
        out = model.infer("t", {"a": "walk"}, **{**free, "strategy": strategy, "beam": 2})
        assert len(out.fields["b"].turns[0][0].log_probs) == 15
        assert (
            "slot 'b': an answer was cut at 15 tokens" in caplog.text
            and "100 were asked for" in caplog.text
        )
    caplog.clear()
    model.infer("t", {"a": "walk"}, max_length=8)
    assert not caplog.text
    with pytest.raises(
        UserError, match="slot 'b': .* more positions are needed, but the model has 16"
    ):
        model.infer(
            "[TEXT:a] -> [TEXT:b,closed_set]",
            {"a": "walk"},
            closed_set={"b": ["zqxjkvb" * 8, "on"]},
        )
    with pytest.raises(UserError, match="slot 'b'.*give shorter values"):
        model.infer("[TEXT:a] -> [TEXT:b,no_loss] [TEXT:c]", {"a": "walk", "b": "abcdefgh" * 4})
    rotary = Generalist.create(
        [Task("t", "[TEXT:a] -> [TEXT:b]", train=rows)], **{**options, "positions": "rotary"}
    )
    assert (
        len(
            rotary.infer("t", {"a": "walk"}, min_length=40, max_length=40)
            .fields["b"]
            .turns[0][0]
            .log_probs
        )
        == 40
    )
