"""In a repeat of dense slots the plain text carries the choice of another turn, and its loss is part of the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ofacore import Generalist, Task


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
