"""Assembly, initial values, portable states, freezing, low-rank updates, another backbone."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ofacore.config.model_section import LoraConfig
from ofacore.ground.vocabulary import Block, Vocabulary
from ofacore.model.item_needs import ModelNeeds, Part
from ofacore.model.universal import UniversalModel
from ofacore.protocols import Layout
from tests.model.layouts import NEEDS, VOCABULARY, Parts, collate, model, random_sample, small
from tests.model.two_layer import TwoLayers


def batch(seed: int = 0, dense: bool = True):
    rng = np.random.default_rng(seed)
    return collate([random_sample(rng, dense=dense) for _ in range(4)])


def logits(built: UniversalModel, given) -> torch.Tensor:
    return built.predict(given.terms[0], built.hidden(given)).logits()


def test_initial_values_depend_on_names_alone() -> None:
    turned = ModelNeeds(NEEDS.adapters[::-1], NEEDS.heads[::-1], NEEDS.criteria, NEEDS.tasks[::-1])
    more = Vocabulary().extend([Block("codes", 9), *reversed(VOCABULARY.blocks[1:])])
    first = UniversalModel(small(experts="task"), Parts(), VOCABULARY, {}, NEEDS).portable_state()
    torch.manual_seed(99)
    second = UniversalModel(small(experts="task"), Parts(), more, {}, turned).portable_state()
    assert set(second) - set(first) == {"embedding.codes"}
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_building_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model()
    assert torch.equal(torch.rand(3), expected)


def test_state_travels_by_name_whatever_the_order_of_blocks() -> None:
    first = model()
    turned = Vocabulary().extend([Block("codes", 9), *reversed(VOCABULARY.blocks[1:])])
    second = UniversalModel(small(), Parts(), turned, {}, NEEDS)
    missing, unknown = second.load_portable(first.portable_state(), strict=False)
    assert (missing, unknown) == (["embedding.codes"], [])
    move = turned.offset("words") - VOCABULARY.offset("words")
    ids = torch.arange(VOCABULARY.offset("words"), VOCABULARY.offset("words") + 40)
    assert torch.equal(first.embedding(ids), second.embedding(ids + move))


@pytest.mark.parametrize("tied", [True, False])
def test_growth_keeps_logits_bit_equal(tied: bool) -> None:
    given, first = batch(), model(tied_head=tied).eval()
    grown = UniversalModel(
        small(tied_head=tied), Parts(), VOCABULARY.extend([Block("codes", 300)]), {}, NEEDS
    ).eval()
    grown.load_portable(first.portable_state(), strict=False)
    assert torch.equal(logits(first, given), logits(grown, given))


def test_a_state_that_does_not_fit_is_refused_by_name() -> None:
    state = model().portable_state()
    state["nothing.here"] = state.pop("backbone.encoder_norm.weight")
    with pytest.raises(ValueError, match="backbone.encoder_norm.weight.*nothing.here"):
        model().load_portable(state)


def test_gradients_of_a_shared_table_are_summed_over_all_uses() -> None:
    built, given = model(), batch(dense=False)
    loss = built.losses(given)[0][1].values.sum()
    loss.backward()
    found = built.embedding.table.weight.grad.clone()
    built.zero_grad()
    table = built.embedding.table.weight
    built.embedding.forward = lambda ids: nn.functional.embedding(ids, table)
    rows = torch.cat([torch.arange(6), torch.arange(6, 46)])
    built.embedding.output = lambda blocks: (table[rows], rows)
    built.losses(given)[0][1].values.sum().backward()
    torch.testing.assert_close(found, table.grad, atol=1e-5, rtol=1e-4)


def test_output_holds_the_core_block_and_follows_vocabulary_order() -> None:
    embedding = model(tied_head=False).embedding
    weight, ids = embedding.output(["bins"])
    assert ids.tolist() == [*range(6), *range(46, 66)]
    assert torch.equal(weight, embedding.projection.weight[ids])
    with pytest.raises(KeyError, match="no vocabulary block 'nothing'"):
        embedding.output(["nothing"])


def test_frozen_modules_stay_in_evaluation_mode_and_get_no_gradient() -> None:
    built = model()
    frozen = built.freeze([r"^adapters\.grid", r"encoder\.0\."])
    built.train()
    assert not built.adapters["grid"].training and not built.backbone.encoder[0].training
    assert built.backbone.encoder[1].training
    built.losses(batch())[0][1].values.sum().backward()
    parameters = dict(built.named_parameters())
    assert frozen and all(parameters[name].grad is None for name in frozen)
    with pytest.raises(ValueError, match="matches no parameter"):
        built.freeze(["nothing"])


def test_low_rank_updates_start_at_nothing_and_train_alone() -> None:
    given = batch()
    plain, low = (
        model(),
        UniversalModel(
            small(lora=LoraConfig(rank=2, targets=("backbone.*qkv", "adapters"))),
            Parts(),
            VOCABULARY,
            {},
            NEEDS,
        ),
    )
    low.load_portable(plain.portable_state(), strict=False)
    assert torch.equal(logits(plain, given), logits(low, given))
    low.losses(given)[0][1].values.sum().backward()
    learned = {name for name, p in low.named_parameters() if p.grad is not None}
    assert learned == {n for n, p in low.named_parameters() if ".low_rank." in n}
    assert {name.split(".")[0] for name in learned} == {"backbone", "adapters"}


def test_bf16_is_close_to_fp32() -> None:
    given, built = batch(), model().eval()
    expected = built.hidden(given).target
    low = copy.deepcopy(built).to_bf16()
    found = low.hidden(given).target.float()
    assert float(((found - expected).norm() / expected.norm()).detach()) < 0.05
    low.train().losses(given)[0][1].values.sum().backward()
    assert low.embedding.table.weight.grad.dtype == torch.bfloat16


def test_a_copy_is_independent() -> None:
    built, given = model(), batch()
    built.hidden(given)
    twin = copy.deepcopy(built)
    with torch.no_grad():
        twin.embedding.table.weight.zero_()
    assert bool(built.hidden(given).target.abs().sum() > 0)
    assert not bool(twin.embedding(torch.tensor([7])).any())


def test_criteria_over_a_whole_step_are_left_to_the_caller() -> None:
    needs = ModelNeeds(
        NEEDS.adapters, NEEDS.heads, (*NEEDS.criteria, Part("contrastive")), NEEDS.tasks
    )
    built, given = model(needs), batch()
    group = given.terms[0]
    given.terms = (group, copy.copy(group))
    given.terms[1].criterion, given.terms[1].head = "contrastive", "pooled"
    assert [g.criterion for g, _ in built.losses(given)] == ["cross_entropy"]
    assert built.predict(given.terms[1], built.hidden(given)).shape == (4, 32)


@pytest.mark.parametrize("backbone", ["megatron", "two_layers"])
def test_any_backbone_learns(backbone: str) -> None:
    given = batch(3)
    built = UniversalModel(
        small(backbone=backbone), Parts(two_layers=TwoLayers), VOCABULARY, {}, NEEDS
    )
    optimizer = torch.optim.Adam(built.parameters(), 3e-3)
    history = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = built.losses(given)[0][1].values.sum() / sum(given.terms[0].counts)
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.5 * history[0]


def test_what_a_shared_network_gives_is_added_to_what_experts_give() -> None:
    given = batch()
    plain = model(experts="task", experts_ffn=8).eval()
    beside = model(experts="task", experts_ffn=8, experts_shared=16).eval()
    dense = model(ffn=16).eval()
    weights = {name: value.detach().clone() for name, value in beside.named_parameters()}
    common = {name: value for name, value in weights.items() if ".shared." in name}
    assert {tuple(value.shape) for value in common.values()} == {(16, 32), (32, 16), (16,), (32,)}

    for part in (beside, plain):
        zeros = {n: torch.zeros_like(p) for n, p in part.named_parameters() if ".ffn." in n}
        part.load_state_dict(zeros, strict=False)
    assert torch.equal(logits(beside, given), logits(plain, given))

    beside.load_state_dict(common, strict=False)
    renamed = {name.replace(".shared.", "."): value for name, value in weights.items()}
    dense.load_state_dict(renamed, strict=False)
    torch.testing.assert_close(logits(beside, given), logits(dense, given))


def test_a_router_of_a_plugin_names_experts_that_exist() -> None:
    class Beyond:
        def __init__(self, options: dict) -> None:
            self.number = options["number"]

        def __call__(
            self, layout: Layout, hidden: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            experts = torch.full((layout.positions, 1), self.number)
            return experts, torch.ones(experts.shape)

    with pytest.raises(ValueError, match="router 'beyond' gave .* from 0 to 1"):
        model(experts="beyond", experts_number=2, registry=Parts(beyond=Beyond)).hidden(batch())
