"""Weights laid out for decoding change no result and are gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ofacore import Generalist, Task
from ofacore.model.backbone.blocked import blocked_weights
from ofacore.parallel import products
from tests.model.layouts import collate, model
from tests.model.test_decoding import OPTIONS, line, rows_of, start, token_states

ROWS = [{"a": f"word {n}", "b": f"{n} drow"} for n in range(12)]


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Tensor]]:
    """Small weights are laid out at once; the weights that were."""
    found: list[torch.Tensor] = []
    real = products._onednn

    def noted(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        found.append(weight)
        return real(x, weight, bias)

    monkeypatch.setattr(products, "LARGE", 1)
    monkeypatch.setattr(products, "SEEN", 0)
    monkeypatch.setattr(products, "LONG", 16)
    monkeypatch.setattr(products, "_onednn", noted)
    yield found
    assert found


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@torch.no_grad()
def test_decoding_is_the_same(options: dict, used: list[torch.Tensor]) -> None:
    built, rows = model(**options).eval(), rows_of(3, 4)
    expected = built.hidden(collate(rows)).target.view(3, 4, -1)
    cache = start(built, rows)
    tokens = torch.from_numpy(np.stack([row.target[0].values for row in rows]))
    found = []
    with blocked_weights(built):
        for n in range(4):
            states = token_states(built, tokens[:, n : n + 1], line(n, 1, 3))
            found.append(built.backbone.extend(states, line(n, 1, 3), cache, adapter="token"))
    torch.testing.assert_close(torch.cat(found, 1), expected, atol=1e-5, rtol=1e-4)


def marks(built: torch.nn.Module) -> list[str]:
    return [name for name, parameter in built.named_parameters() if hasattr(parameter, "blocked")]


def test_nothing_stays_after_an_error(used: list[torch.Tensor]) -> None:
    built = model().eval()
    with pytest.raises(KeyError), blocked_weights(built):
        assert marks(built)
        with blocked_weights(built):
            pass
        assert marks(built), "the inner scope ended the outer one"
        with torch.no_grad():
            built.embedding.output_part(("words",))
        raise KeyError
    assert not marks(built) and built.embedding.kept_parts is None
    used.append(torch.empty(0))


@pytest.mark.usefixtures("bf16_units")
def test_inference_after_more_training_uses_the_new_weights(
    used: list[torch.Tensor], tmp_path: Path
) -> None:
    task = Task("turn", "turn it [TEXT:a] -> [TEXT:b,max_length=6]", train=ROWS)
    sizes = {"hidden": 64, "ffn": 128, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    trained = Generalist.create([task], **sizes)
    before = trained.infer(task, ROWS[:4])
    trained.fit(steps=3, out=tmp_path / "one")
    after = trained.infer(task, ROWS[:4])
    fresh = Generalist.create([task], **sizes)
    fresh.fit(steps=3, out=tmp_path / "other")
    assert [out.text for out in after] == [out.text for out in fresh.infer(task, ROWS[:4])]
    assert [out.score for out in after] != [out.score for out in before]
