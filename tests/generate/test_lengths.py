"""Values that are longer than the model takes are refused, whatever asks for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ofacore import Generalist, Task
from ofacore.errors import UserError

SMALL: dict[str, Any] = {
    "preset": "tiny", "hidden": 32, "ffn": 64, "encoder_layers": 1, "decoder_layers": 1, "heads": 2,
}  # fmt: skip


def test_more_frames_than_the_model_has_positions_are_refused() -> None:
    rows = [{"a": "walk", "m": np.random.default_rng(k).normal(size=(12, 3)), "n": 12} for k in range(4)]
    model = Generalist.create([Task("t", "[TEXT:a] -> [MOTION:m,length=n]", train=rows)], max_positions=64, **SMALL)
    assert model.infer("t", {"a": "walk", "n": "64"}, steps=1)["m"].shape == (64, 3)
    with pytest.raises(UserError, match="slot 'm': 65 positions are asked for, but the model takes 64"):
        model.infer("t", {"a": "walk", "n": 65}, steps=1)
