"""Where a chain of layers is cut, and what each stage keeps."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofacore.model.item_needs import ModelNeeds
from ofacore.model.pipeline.stage_pass import balance_of, forward_stage, share_of
from ofacore.model.pipeline.stages import cut_model, plan_stages
from ofacore.model.universal import UniversalModel
from ofacore.parallel.pipeline import PipelineError, cut
from tests.model.layouts import VOCABULARY, Parts, small
from tests.model.two_layer import TwoLayers
from tests.parallel.staged import ALL_NEEDS, REGISTRY, build, steps

OPTIONS = [
    {"positions": "rotary", "experts": "modality"},
    {"positions": "untied", "experts": "task", "tied_head": False},
    {"positions": "untied", "share_attn_bias": True, "norm": "post", "layernorm_embedding": True},
    {"positions": "untied", "entangle_positions": True},
    {"experts": "topk", "experts_k": 2, "experts_number": 3},
    {"encoder_layers": 0},
    {"decoder_layers": 0},
]


def highest(costs, ends):
    edges = [0, *ends, len(costs)]
    return max(sum(costs[a:b]) for a, b in zip(edges, edges[1:], strict=False))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 8))
def test_no_other_cut_has_a_cheaper_most_expensive_stage(costs, stages):
    if stages > len(costs):
        with pytest.raises(
            PipelineError, match=f"{stages} pipeline stages cannot share {len(costs)} layers"
        ):
            cut(costs, stages)
        return
    found = cut(costs, stages)
    assert [link for links in found for link in links] == list(range(len(costs))) and all(found)
    others = itertools.combinations(range(1, len(costs)), stages - 1)
    assert highest(costs, [r.stop for r in found[:-1]]) == min(
        highest(costs, ends) for ends in others
    )


def test_equal_layers_are_spread_evenly():
    assert [len(links) for links in cut([1.0] * 10, 4)] in (
        [2, 2, 3, 3],
        [2, 3, 2, 3],
        [3, 2, 2, 3],
        [3, 3, 2, 2],
    )


@pytest.mark.parametrize(
    ("stages", "options"), [(2, OPTIONS[0]), *((3, options) for options in OPTIONS)], ids=str
)
def test_stages_one_behind_the_other_are_the_model(stages, options):
    whole, parts = build(**options).eval(), [build(**options).eval() for _ in range(stages)]
    for number, part in enumerate(parts):
        cut_model(part, stages, number)
    held = [set(dict(part.named_parameters())) for part in parts]
    assert set().union(*held) == set(dict(whole.named_parameters()))
    for batch in steps(1, packed=options.get("positions") != "untied")[0].batches:
        if batch.source is None and options.get("decoder_layers") == 0:
            continue
        received = None
        with torch.no_grad():
            for part in parts:
                now = forward_stage(part, share_of(part.stage, batch), received)
                received = now.pack()
            expected = whole.hidden(batch)
            balance = balance_of(parts[-1], batch, now)
        for found, wanted in ((now.memory, expected.source), (now.decoded, expected.target)):
            assert (found is None) == (wanted is None)
            assert found is None or torch.equal(found, wanted)
        if expected.balance is not None:
            torch.testing.assert_close(balance, expected.balance)


def test_every_stage_keeps_what_it_needs_and_no_more():
    parts = [build(positions="untied") for _ in range(3)]
    for number, part in enumerate(parts):
        cut_model(part, 3, number)
    names = [set(dict(part.named_parameters())) for part in parts]
    plan = parts[0].stage.plan
    target = plan.stages_of("decoder")[0]
    for stage in range(3):
        rooms = {name.partition(".")[0] for name in names[stage]}
        assert ("heads" in rooms) == ("criteria" in rooms) == (stage == 2)
        assert ("source_norm" in rooms) == (stage == 0) and ("target_norm" in rooms) == (
            stage == target
        )
        assert ("embedding.table.weight" in names[stage]) == (stage in (0, target, 2))
        assert ("types.source/token" in names[stage]) == (stage == 0)
        for side in ("encoder", "decoder"):
            layers = {
                int(n.split(".")[2]) for n in names[stage] if n.startswith(f"backbone.{side}.")
            }
            relative = f"backbone.positions.{side}.token.relative."
            tables = {
                int(n.removeprefix(relative).split(".")[0])
                for n in names[stage]
                if n.startswith(relative)
            }
            assert layers == tables == set(plan.layers(side, stage))


def test_adapters_live_where_their_side_begins():
    needs = ModelNeeds(
        ALL_NEEDS.adapters,
        ALL_NEEDS.heads,
        ALL_NEEDS.criteria,
        ALL_NEEDS.tasks,
        sides={"grid": frozenset({"source"})},
    )
    last = UniversalModel(small(), REGISTRY, VOCABULARY, {}, needs)
    plan = cut_model(last, 2, 1)
    assert plan.stages_of("decoder") == (1,)
    assert not [name for name, _ in last.named_parameters() if name.startswith("adapters.grid")]


def test_other_backbones_are_refused_by_name():
    built = UniversalModel(
        small(backbone="two_layers"), Parts(two_layers=TwoLayers), VOCABULARY, {}, ModelNeeds()
    )
    with pytest.raises(PipelineError, match="backbone 'two_layers' cannot be cut"):
        plan_stages(built, 2)


def test_rules_and_freezing_know_the_names_of_other_stages():
    built = build()
    cut_model(built, 2, 1)
    assert built.freeze([r"backbone\.encoder\.0\."]) == []
    with pytest.raises(ValueError, match="matches no parameter"):
        built.freeze(["nothing"])
