"""A stranger's position scheme serves a model as the core's own does."""

from __future__ import annotations

import pytest

from ofa_kit import PositionsConformance
from ofa_modality_text.manifest import MANIFEST as TEXT
from ofa_positions_untied.manifest import MANIFEST as UNTIED
from ofacore import Generalist, Task
from ofacore.components.manifest import MANIFEST as CORE
from ofacore.config import ConfigError
from ofacore.ground.errors import UserError
from ofacore.plugin import Registry
from tests.contract.schemes import MANIFEST, SOUND

REGISTRY = Registry.of(CORE, TEXT, MANIFEST)
ROWS = [
    {"a": a, "b": b}
    for a, b in (("a dog", "dog a"), ("the cat", "cat the"), ("one cup", "cup one"))
]
SIZES = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 48,
    "heads": 4,
    "encoder_layers": 1,
    "decoder_layers": 1,
}
SETTINGS = {**SIZES, "max_positions": 32, "dropout": 0.0}


def made(registry: Registry = REGISTRY, **options) -> Generalist:
    task = Task("turn", "turn [TEXT:a] around -> [TEXT:b]", train=ROWS)
    return Generalist.create([task], registry=registry, **{**SETTINGS, **options})


class TestAlibi(PositionsConformance):
    plugin = SOUND
    positions = "alibi"
    test_found_through_its_entry_point = None
    test_manifest_is_light = None


class TestAbsolute(TestAlibi):
    positions = "absolute"


@pytest.mark.parametrize("name", ["alibi", "absolute"])
def test_it_trains_answers_and_comes_back(name, tmp_path):
    model = made(positions=name)
    model.fit(3, out=tmp_path / "run", samples=3, trackers=[], precision="fp32")
    again = Generalist.from_pretrained(tmp_path / "run", registry=REGISTRY)
    asked = {"a": "a dog"}
    assert str(again.infer("turn", asked, max_length=6)) == str(
        model.infer("turn", asked, max_length=6)
    )


def test_what_a_table_tells_apart_ends_generation():
    with pytest.raises(UserError, match="min_length=30 is more than max_length=23"):
        made(positions="absolute", max_positions=24).infer(
            "turn", {"a": "a dog"}, min_length=30, max_length=30
        )


def test_options_are_checked_by_name_and_value():
    model = made(positions="alibi", positions_options={"steepest": 0.25}).model
    assert float(model.backbone.positions.table[1, 0]) == -0.25
    with pytest.raises(
        ConfigError, match="positions 'alibi' has no option 'steep'.*did you mean 'steepest'"
    ):
        made(positions="alibi", positions_options={"steep": 1})
    with pytest.raises(ConfigError, match="expected a number"):
        made(positions="alibi", positions_options={"steepest": "very"})


def test_a_scheme_that_lacks_members_is_refused_with_their_names():
    missing = "`features`, `relative`, `rotation`, `vectors`"
    with pytest.raises(UserError, match=f"positions 'half' of plugin 'schemes' .*lacks {missing}"):
        made(positions="half")


def test_presets_of_the_family_say_what_to_install():
    with pytest.raises(
        UserError, match="unknown positions 'untied'.*pip install ofa-positions-untied"
    ):
        made(preset="ofa-tiny")


def test_keys_of_before_are_options_of_the_scheme():
    registry = Registry.of(CORE, TEXT, UNTIED)
    old = made(
        registry,
        positions="untied",
        position_buckets=8,
        share_attn_bias=True,
        layernorm_position=False,
    )
    new = made(
        registry,
        positions="untied",
        positions_options={"buckets": 8, "share_bias": True, "layernorm": False},
    )
    assert old.assembly.config.model == new.assembly.config.model
    shapes = [
        {name: value.shape for name, value in model.model.named_parameters()}
        for model in (old, new)
    ]
    assert shapes[0] == shapes[1]
    assert "backbone.positions.encoder.token.relative.0.0.weight" in shapes[0]
    assert made(position_buckets=8).assembly.config.model.positions_options == {}


def test_the_one_key_that_said_something_beside_other_schemes_is_refused():
    with pytest.raises(
        UserError, match="no attention_bias: false unless positions is 'untied'; delete the key"
    ):
        made(attention_bias=False, scale_heads=True)
