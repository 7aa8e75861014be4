"""Attention that computes its bias again backwards is attention."""

import pytest
import torch

from ofacore.model.backbone import attention, recomputed
from ofacore.model.backbone.bias import Bias
from tests.model.layouts import Chunk, Sample, collate, model


def parts(masked: bool, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    q, k, v, table = random(2, 3, 7, 8), random(2, 3, 9, 8), random(2, 3, 9, 5), random(11, 3)
    indices = tuple(
        torch.randint(0, 11, (2, 7, 9), generator=generator, dtype=torch.int32) for _ in range(2)
    )
    mask = None
    if masked:
        seen = torch.rand(2, 1, 7, 9, generator=generator) < 0.7
        seen[..., 0] = True
        mask = torch.zeros(seen.shape, dtype=torch.float64).masked_fill(~seen, -torch.inf)
    return q, k, v, table, mask, indices


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("piece", [1, 200, 1 << 21])
def test_output_and_every_gradient_are_those_of_plain_attention(
    masked: bool, piece: int, monkeypatch
) -> None:
    monkeypatch.setattr(recomputed, "_PIECE", piece)
    q, k, v, table, mask, indices = parts(masked)
    bias = Bias(mask, table, indices)
    plain = (q @ k.transpose(-1, -2) + bias.dense()).softmax(-1) @ v
    found = recomputed.recomputed_attention(q, k, v, bias)
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)
    given = torch.randn(
        plain.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64
    )
    wanted = torch.autograd.grad(plain, (q, k, v, table), given)
    for own, other in zip(torch.autograd.grad(found, (q, k, v, table), given), wanted, strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-5)


def test_features_apart_are_features_behind() -> None:
    q, k, v, table, mask, indices = parts(True)
    own, other = (part.detach()[..., :3].clone().requires_grad_() for part in (q, k))
    bias, leaves = Bias(mask, table, indices), (q, k, v, own, other, table)
    apart = recomputed.recomputed_attention(q, k, v, bias, (own, other))
    behind = recomputed.recomputed_attention(
        torch.cat([q, own], -1), torch.cat([k, other], -1), v, bias
    )
    torch.testing.assert_close(apart, behind, rtol=0, atol=0)
    given = torch.randn(
        apart.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64
    )
    wanted = torch.autograd.grad(behind, leaves, given)
    for found, expected in zip(torch.autograd.grad(apart, leaves, given), wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_views_of_a_projection_are_not_kept() -> None:
    """Queries, keys and values are views of one tensor, of which nothing is kept but what each of them holds."""
    *_, table, mask, indices = parts(False)
    whole = torch.randn(2, 9, 3, 3, 8, dtype=torch.float64, requires_grad=True)
    q, k, v = (part.transpose(1, 2) for part in (whole * 1.0).unbind(3))
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        recomputed.recomputed_attention(q[:, :, :7] * 1.0, k, v, Bias(mask, table, indices))
    assert all(part.untyped_storage().nbytes() < whole.untyped_storage().nbytes() for part in kept)


def test_nothing_of_the_size_of_the_scores_is_kept() -> None:
    q, k, v, table, mask, indices = [
        part.detach().float().requires_grad_() for part in parts(False)[:4]
    ] + [
        None,
        parts(False)[5],
    ]
    kept: list[torch.Size] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        recomputed.recomputed_attention(q, k, v, Bias(mask, table, indices))
    assert (2, 3, 7, 9) not in kept and torch.Size((2, 7, 9)) in kept


def test_long_rows_compute_what_short_rows_do(monkeypatch) -> None:
    """The same model with the recomputing path for rows of any length: losses and gradients."""
    samples = [
        Sample(
            (Chunk(torch.arange(6, 26).numpy()),),
            (Chunk(torch.arange(7, 20).numpy(), causal=True),),
        )
    ]
    results = []
    for limit in (128 * 128, 0):
        monkeypatch.setattr(attention, "_EXPLICIT_UP_TO", limit)
        built = model(positions="untied", scale_fc=True).eval()
        ((_, loss),) = built.losses(collate(samples))
        loss.values.sum().backward()
        results.append(
            (loss.values, {n: p.grad for n, p in built.named_parameters() if p.grad is not None})
        )
    torch.testing.assert_close(results[1][0], results[0][0])
    assert results[0][1].keys() == results[1][1].keys()
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(results[1][1][name], gradient, atol=1e-4, rtol=1e-3, msg=name)
