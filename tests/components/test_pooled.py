"""Classification from pooled positions of the source."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ofacore.components.vectors.pooled import PooledCrossEntropy, PoolingHead
from ofacore.generalist.facade import Generalist
from ofacore.ground.errors import UserError
from ofacore.model.tokens.embedding import TokenEmbedding
from ofacore.protocols import Block, BuildContext, CriterionContext, HeadContext, Vocabulary
from ofacore.setup.task import Task

VOCABULARY = Vocabulary().extend([Block("c", 3), Block("d", 4)])


def _head(**options: object) -> PoolingHead:
    return PoolingHead(BuildContext(8, options, VOCABULARY, TokenEmbedding(VOCABULARY, 8)))


@pytest.mark.parametrize(
    ("begin", "end", "rows"),
    [(0, 0, slice(0, 1)), (1, 2, slice(1, 3)), (1, -1, slice(1, None)), (0, 9, slice(0, None))],
)
def test_chosen_positions_of_each_item_are_averaged(begin: int, end: int, rows: slice) -> None:
    hidden, head = torch.randn(9, 8), _head(begin=begin, end=end)
    found = head(hidden, HeadContext((4, 5), ("c",)))
    expected = torch.stack([part[rows].mean(0) for part in hidden.split((4, 5))])
    torch.testing.assert_close(found.hidden, expected)
    assert found.ids.tolist() == list(range(9))


def test_norms_stand_before_and_behind_the_mean() -> None:
    hidden = torch.randn(5, 8)
    found = _head(begin=0, end=-1, norm_before=True, norm_after=True)(hidden, HeadContext((5,), ()))
    normed = torch.nn.functional.layer_norm(hidden, (8,)).mean(0, keepdim=True)
    torch.testing.assert_close(found.hidden, torch.nn.functional.layer_norm(normed, (8,)))


def test_the_loss_of_an_item_is_torchs_cross_entropy() -> None:
    prediction = _head()(torch.randn(6, 8), HeadContext((2, 4), ("c", "d")))
    labels = {"ids": torch.tensor([7, 12])}
    loss = PooledCrossEntropy({"label_smoothing": 0.1})(
        prediction, labels, CriterionContext((2, 4), {"ids": (1, 1)})
    )
    expected = torch.nn.functional.cross_entropy(
        prediction.logits(), labels["ids"], label_smoothing=0.1, reduction="none"
    )
    torch.testing.assert_close(loss.values, expected)
    assert PooledCrossEntropy().count({"ids": np.array([3])}) == 1


def test_what_cannot_be_pooled_is_told() -> None:
    with pytest.raises(UserError, match="begin=2 and end=1 leave no position"):
        _head(begin=2, end=1)
    with pytest.raises(UserError, match="an item of 1 positions has none at begin=1"):
        _head(begin=1, end=-1)(torch.randn(4, 8), HeadContext((3, 1), ()))
    with pytest.raises(
        UserError, match="a label has 2 tokens, not 1; give the slot preprocess=category"
    ):
        PooledCrossEntropy().count({"ids": np.array([3, 4])})
    each = _head()(torch.randn(6, 8), HeadContext((1,) * 6, ()))
    labels, context = {"ids": torch.tensor([7, 8])}, CriterionContext((2, 4), {"ids": (1, 1)})
    with pytest.raises(UserError, match="6 predictions for 2 items.* head=pooling,generator"):
        PooledCrossEntropy()(each, labels, context)


@pytest.mark.usefixtures("bf16_units")
def test_a_task_learns_and_answers_without_its_decoder(tmp_path: Path) -> None:
    pytest.importorskip("ofa_modality_text")
    rows = [
        {"a": word, "kind": "fruit" if word in ("apple", "plum") else "animal"}
        for word in ("apple", "plum", "cat", "dog")
    ] * 4
    losses = [{"criterion": "pooled_cross_entropy", "hidden": "a", "labels": "kind"}]
    instruction = "[TEXT:a] -> [TEXT:kind,preprocess=category,head=pooling,generator=pooling]"
    task = Task("kinds", instruction, train=rows, losses=losses)
    model = Generalist.create(
        [task],
        "tiny",
        hidden=32,
        ffn=32,
        heads=2,
        encoder_layers=1,
        decoder_layers=1,
        dropout=0.0,
        heads_options={"pooling": {"end": -1, "norm_after": True}},
    )
    before = {
        name: value.clone() for name, value in model.model.named_parameters() if "decoder" in name
    }
    model.fit(
        60, out=tmp_path / "run", samples=8, workers=0, optimizer=SimpleNamespace(lr=3e-3).__dict__
    )
    outputs = model.infer("kinds", [{"a": row["a"]} for row in rows[:4]], n_best=2)
    assert [output.text for output in outputs] == ["fruit", "fruit", "animal", "animal"]
    after = dict(model.model.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    model.save(tmp_path / "saved")
    again = Generalist.from_pretrained(tmp_path / "saved")
    assert again.infer("kinds", {"a": "plum"}).text == "fruit"
