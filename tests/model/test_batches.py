"""What a sample gets does not depend on what it shares a batch with."""

import numpy as np
import pytest
import torch

from ofacore.model.item_needs import ModelNeeds
from tests.model.layouts import NEEDS, collate, model, per_sample, random_sample, with_source_rows

OPTIONS = [
    {"positions": "rotary"},
    {"positions": "untied", "share_attn_bias": True},
    {"positions": "untied", "entangle_positions": True, "norm": "post"},
    {"experts": "modality"},
    {"experts": "task", "norm_type": "rmsnorm"},
    {"experts": "topk", "experts_k": 2},
    {"experts": "place", "experts_number": 3},
    {
        "norm": "post",
        "scale_attn": True,
        "scale_fc": True,
        "scale_heads": True,
        "scale_resids": True,
        "qk_norm": False,
    },
    {
        "tied_head": False,
        "checkpoint_activations": True,
        "activation": "silu",
        "layernorm_embedding": False,
    },
    {"preset": "ofa-tiny"},
]


def samples(number: int = 6, seed: int = 0) -> list:
    rng = np.random.default_rng(seed)
    tasks = ("t", "u")
    return [random_sample(rng, source=index != 2, task=tasks[index % 2]) for index in range(number)]


def target(built, batch):
    return per_sample(batch, built.hidden(batch).target)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_batch_row_is_single_sample(options: dict) -> None:
    built, rows = model(**options).eval(), samples()
    together = target(built, collate(rows))
    for sample, states in zip(rows, together, strict=True):
        (alone,) = target(built, collate([sample]))
        torch.testing.assert_close(states, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_packed_is_unpacked(options: dict) -> None:
    built, rows = model(**options).eval(), samples()
    plain = collate(rows)
    packed = with_source_rows(
        collate(rows, [[[0, 3], [5]], [[1, 2, 4]]]), [[[4, 0, 2]], [[1], [3]]]
    )
    torch.testing.assert_close(
        built.hidden(plain).target, built.hidden(packed).target, atol=1e-5, rtol=1e-4
    )


def test_order_does_not_matter() -> None:
    built, rows = model().eval(), samples()
    order = [3, 0, 5, 2, 1, 4]
    straight = target(built, collate(rows))
    turned = target(built, collate([rows[index] for index in order]))
    for place, index in enumerate(order):
        torch.testing.assert_close(turned[place], straight[index], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_present_parameter_learns(options: dict) -> None:
    built = model(
        **options,
        attention_dropout=0.1,
        encoder_drop_path=0.2,
        decoder_drop_path=0.1,
        activation_dropout=0.1,
    )
    built = built.train()
    torch.manual_seed(0)
    for _ in range(4):
        batch = collate(samples(8))
        sum(loss.values.sum() for _, loss in built.losses(batch)).backward()
    unused = ("types.source/box", "heads.pooled", "table.3")
    for name, parameter in built.named_parameters():
        if not name.startswith(unused):
            assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name


def gradients(built, batches) -> dict[str, torch.Tensor]:
    built.zero_grad()
    total = sum(
        group.counts[i]
        for batch in batches
        for group in batch.terms
        for i in range(len(group.counts))
    )
    for batch in batches:
        (sum(loss.values.sum() for _, loss in built.losses(batch)) / total).backward()
    return {name: p.grad.clone() for name, p in built.named_parameters() if p.grad is not None}


def test_gradients_do_not_depend_on_micro_batches() -> None:
    built, rows = model(), samples(8)
    whole = gradients(built, [collate(rows)])
    for cuts in ([1, 4], [2, 3, 7], list(range(1, 8))):
        parts = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, 8], strict=True)]
        split = gradients(built, [collate(part) for part in parts])
        assert split.keys() == whole.keys()
        for name, value in split.items():
            torch.testing.assert_close(value, whole[name], atol=1e-6, rtol=1e-4, msg=name)


def test_absent_modality_is_as_if_it_did_not_exist() -> None:
    rng = np.random.default_rng(3)
    batch = collate([random_sample(rng, dense=False) for _ in range(3)])
    both = model(experts="modality")
    alone = model(
        ModelNeeds(NEEDS.adapters[:1], NEEDS.heads, NEEDS.criteria, NEEDS.tasks), experts="modality"
    )
    first, second = gradients(both, [batch]), gradients(alone, [batch])
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any("grid" in name for name in first)


def test_nothing_to_read_is_zero_not_nan() -> None:
    rng = np.random.default_rng(5)
    rows = [random_sample(rng, source=False), random_sample(rng)]
    built = model()
    mixed = target(built, collate(rows, [[[0, 1]]]))
    (alone,) = target(built, collate(rows[:1]))
    torch.testing.assert_close(mixed[0], alone, atol=1e-5, rtol=1e-4)
    mixed[0].sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in built.parameters() if p.grad is not None)


def test_modality_experts_equal_dense_when_experts_are_equal() -> None:
    dense, experts = model(), model(experts="modality")
    state = dense.portable_state()
    for name in experts.portable_state():
        if ".ffn.each." in name:
            head, _, tail = name.partition(".ffn.each.")
            state[name] = state[f"{head}.ffn.{tail.partition('.')[2]}"]
    experts.load_portable({n: v for n, v in state.items() if n in experts.portable_state()})
    batch = collate(samples())
    torch.testing.assert_close(
        dense.hidden(batch).target, experts.hidden(batch).target, atol=1e-6, rtol=1e-5
    )


def test_dropout_follows_the_seed() -> None:
    built, batch = model(dropout=0.3).train(), collate(samples())
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(built.hidden(batch).target)
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


def test_activation_checkpoints_repeat_dropout() -> None:
    batch, grads = collate(samples()), []
    for checkpoints in (False, True):
        built = model(dropout=0.3, checkpoint_activations=checkpoints).train()
        torch.manual_seed(3)
        grads.append(gradients(built, [batch]))
    assert all(torch.equal(grads[0][name], grads[1][name]) for name in grads[0])


def test_a_learned_router_is_kept_in_balance() -> None:
    built, given = model(experts="topk", experts_k=1), collate(samples())
    (group, loss) = built.losses(given)[-1]
    assert group.terms == ("balance",) and loss.values[0].item() > 0
    loss.values.sum().backward()
    assert bool(built.backbone.decoder[0].ffn.router.weight.grad.any())
