"""Cross-entropy against torch's own."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from ofacore.parts import CrossEntropy, LabelError, TokenPrediction, linear_cross_entropy
from ofacore.protocols import CriterionContext, TermGroup
from ofacore.training.step.weighing import TermSums


def inputs(m: int = 13, v: int = 29, width: int = 8):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(m, width, generator=generator, requires_grad=True)
    weight = torch.randn(v, width, generator=generator, requires_grad=True)
    return (
        hidden,
        weight,
        torch.randint(0, v, (m,), generator=generator),
        torch.rand(m, generator=generator),
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("budget", [1, 4 * 29 * 5, 2**20])
def test_equals_torch_whatever_the_budget(smoothing: float, budget: int) -> None:
    hidden, weight, labels, scale = inputs()
    loss, nll, right = linear_cross_entropy(hidden, weight, labels, smoothing, budget)
    logits = hidden @ weight.T
    expected = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(nll, functional.cross_entropy(logits, labels, reduction="none"))
    assert torch.equal(right, (logits.argmax(1) == labels).float())
    found = torch.autograd.grad((loss * scale).sum(), (hidden, weight), retain_graph=True)
    again = torch.autograd.grad((loss * scale).sum(), (hidden, weight))
    reference = torch.autograd.grad((expected * scale).sum(), (hidden, weight))
    for a, b, c in zip(found, again, reference, strict=True):
        torch.testing.assert_close(a, c)
        torch.testing.assert_close(b, c)


def test_bf16_is_close_to_fp32() -> None:
    hidden, weight, labels, _ = inputs()
    low = [part.detach().bfloat16().requires_grad_() for part in (hidden, weight)]
    loss, _, _ = linear_cross_entropy(*low, labels)
    reference = functional.cross_entropy(hidden @ weight.T, labels, reduction="none")
    torch.testing.assert_close(loss, reference, atol=0.1, rtol=0.02)
    found = torch.autograd.grad(loss.sum(), low)
    expected = torch.autograd.grad(reference.sum(), (hidden, weight))
    for a, b in zip(found, expected, strict=True):
        assert float((a.float() - b).norm() / b.norm()) < 0.02


def prediction(hidden, weight) -> TokenPrediction:
    return TokenPrediction(hidden, weight, torch.cat([torch.arange(6), torch.arange(46, 69)]))


def test_labels_are_vocabulary_ids_and_sums_are_per_item() -> None:
    hidden, weight, labels, _ = inputs()
    scores = prediction(hidden, weight)
    loss = CrossEntropy({})(scores, {"ids": scores.ids[labels]}, CriterionContext((4, 0, 9), {}))
    each = functional.cross_entropy(hidden @ weight.T, labels, reduction="none")
    torch.testing.assert_close(
        loss.values, torch.stack([each[:4].sum(), each.new_zeros(()), each[4:].sum()])
    )
    assert not loss.parts["nll"].requires_grad


def test_a_label_outside_the_blocks_is_named() -> None:
    hidden, weight, labels, _ = inputs()
    with pytest.raises(ValueError, match="token 10 "):
        CrossEntropy({})(
            prediction(hidden, weight),
            {"ids": torch.full_like(labels, 10)},
            CriterionContext((13,), {}),
        )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_closed_sets_share_the_softmax_among_allowed_tokens_alone(smoothing: float) -> None:
    hidden, weight, labels, _ = inputs()
    scores, rng = prediction(hidden, weight), np.random.default_rng(0)
    allowed = [
        np.unique([*rng.integers(0, 29, int(rng.integers(1, 6))), int(label)]) for label in labels
    ]
    given = {
        "ids": scores.ids[labels],
        "allowed": scores.ids[torch.from_numpy(np.concatenate(allowed))],
        "allowed_lengths": torch.tensor([len(a) for a in allowed]),
    }
    loss = CrossEntropy({"label_smoothing": smoothing})(
        scores, given, CriterionContext((1,) * 13, {})
    )
    logits = hidden @ weight.T
    expected = [
        functional.cross_entropy(
            logits[i, a], torch.tensor(a.tolist().index(int(labels[i]))), label_smoothing=smoothing
        )
        for i, a in enumerate(allowed)
    ]
    torch.testing.assert_close(loss.values, torch.stack(expected))
    assert bool(torch.autograd.grad(loss.values.sum(), hidden)[0].isfinite().all())


def test_what_is_shown_of_closed_sets_is_a_mean_over_decisions_alone() -> None:
    """Every second token has no alternative: it is never wrong, and neither makes a coin toss look better."""
    hidden, weight, labels, _ = inputs()
    scores = prediction(hidden, weight)
    allowed = [
        [int(label)] if k % 2 else [int(label), (int(label) + 1) % 29]
        for k, label in enumerate(labels)
    ]
    given = {
        "ids": scores.ids[labels],
        "allowed": scores.ids[torch.tensor(sum(allowed, []))],
        "allowed_lengths": torch.tensor([len(a) for a in allowed]),
    }
    loss = CrossEntropy({})(scores, given, CriterionContext((13,), {}))
    pairs = (hidden @ weight.T)[torch.arange(0, 13, 2)[:, None], torch.tensor(allowed[::2])]
    right = float((pairs[:, 0] > pairs[:, 1]).sum())
    index = torch.arange(13)
    own = (("t/s",), (13,), (1.0,), (0,))
    group = TermGroup("token", "cross_entropy", "target", {}, (), index, (13,), given, {}, *own)
    sums = TermSums()
    sums.add(group, loss, [True])
    shown = sums.report()
    assert shown["train/t/s/accuracy"] == pytest.approx(right / 7)
    assert shown["train/t/s"] == pytest.approx(
        float(-pairs.detach().log_softmax(1)[:, 0].mean()), rel=1e-5
    )


def test_a_label_that_is_not_allowed_is_an_error() -> None:
    hidden, weight, labels, _ = inputs()
    scores = prediction(hidden, weight)
    given = {
        "ids": scores.ids[labels],
        "allowed": scores.ids[(labels + 1) % 29],
        "allowed_lengths": torch.ones(13, dtype=torch.int64),
    }
    with pytest.raises(LabelError):
        CrossEntropy({})(scores, given, CriterionContext((13,), {}))


def test_dropping_the_worst_lowers_the_count() -> None:
    hidden, weight, labels, _ = inputs()
    scores, criterion = prediction(hidden, weight), CrossEntropy({"drop_worst_ratio": 0.4})
    loss = criterion(scores, {"ids": scores.ids[labels]}, CriterionContext((13,), {}))
    each = functional.cross_entropy(hidden @ weight.T, labels, reduction="none")
    assert criterion.count({"ids": labels.numpy()}) == 8
    torch.testing.assert_close(loss.values[0], each.sort().values[:8].sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_bent_logits_are_scored_as_torch_scores_them(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 8, generator=generator) for n in (5, 12))
    labels = torch.tensor([3, 7, 11, 4, 9])
    hidden.requires_grad_()
    prediction = TokenPrediction(hidden, weight, torch.arange(12), silent=(0, 2), cap=1.5)
    loss, nll, right = prediction.cross_entropy(labels, smoothing)
    kept = [n for n in range(12) if n not in (0, 2)]
    bent = (torch.tanh(hidden @ weight.T / 1.5) * 1.5)[:, kept]
    places = torch.tensor([kept.index(n) for n in labels.tolist()])
    expected = functional.cross_entropy(bent, places, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(nll, functional.cross_entropy(bent, places, reduction="none"))
    assert right.tolist() == (bent.argmax(-1) == places).float().tolist()
    torch.testing.assert_close(prediction.logits_of(torch.tensor(kept)), bent)
    # what is never predicted has no part in the gradient
    (gradient,) = torch.autograd.grad(loss.sum(), hidden)
    assert torch.isfinite(gradient).all()
