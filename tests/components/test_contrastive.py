"""Matching of the two sides of a contrast."""

import pytest
import torch
from torch.nn import functional

from ofacore.ground.vocabulary import Vocabulary
from ofacore.parts import Contrastive, EmbeddingHead
from ofacore.protocols import BuildContext, CriterionContext, HeadContext

CONTEXT = CriterionContext((), {})


def labels(number: int, identity: list[int] | None = None) -> dict[str, torch.Tensor]:
    return {
        "pair": torch.arange(number).repeat(2),
        "side": torch.arange(2).repeat_interleave(number),
        "identity": torch.tensor(identity or list(range(2 * number))),
    }


def vectors(number: int) -> torch.Tensor:
    return functional.normalize(
        torch.randn(2 * number, 8, generator=torch.Generator().manual_seed(1)), dim=-1
    )


def test_equals_clip_loss() -> None:
    x, criterion = vectors(5), Contrastive({"temperature": 0.2})
    scores = x[:5] @ x[5:].T / 0.2
    expected = torch.cat(
        [
            functional.cross_entropy(scores, torch.arange(5), reduction="none"),
            functional.cross_entropy(scores.T, torch.arange(5), reduction="none"),
        ]
    )
    torch.testing.assert_close(criterion(x, labels(5), CONTEXT).values, expected)


def test_order_of_items_does_not_matter() -> None:
    x, order, criterion = vectors(4), torch.tensor([3, 0, 7, 5, 1, 6, 2, 4]), Contrastive()
    turned = {name: value[order] for name, value in labels(4).items()}
    torch.testing.assert_close(
        criterion(x[order], turned, CONTEXT).values, criterion(x, labels(4), CONTEXT).values[order]
    )


def test_a_duplicate_of_the_answer_is_no_wrong_answer() -> None:
    x = vectors(3)
    x[4] = x[3]
    same = labels(3, [0, 1, 2, 3, 3, 5])
    found = Contrastive()(x, same, CONTEXT).values
    without = torch.tensor([0, 2, 3, 5])
    rest = Contrastive()(x[without], labels(2, [0, 2, 3, 5]), CONTEXT).values
    torch.testing.assert_close(found[0], rest[0])


def test_an_item_without_partner_is_an_error() -> None:
    with pytest.raises(ValueError, match="partner"):
        Contrastive()(
            vectors(2)[:3], {name: value[:3] for name, value in labels(2).items()}, CONTEXT
        )


def test_pooling_is_the_mean_of_each_item() -> None:
    head = EmbeddingHead(BuildContext(6, {"size": 4}, Vocabulary(), None))
    x = torch.randn(7, 6)
    found = head(x, HeadContext((3, 4)))
    expected = functional.normalize(
        head.projection(torch.stack([x[:3].mean(0), x[3:].mean(0)])), dim=-1
    )
    torch.testing.assert_close(found, expected)
