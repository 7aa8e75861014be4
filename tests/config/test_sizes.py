"""Sizes by name."""

import re

import pytest

from ofacore.config.model_section import ModelConfig
from ofacore.config.sizes import PRESETS, ModelSizeError, Sizes, resolve, with_preset_options


def test_the_reference_names_every_preset() -> None:
    told = ModelConfig.model_fields["preset"].description or ""
    assert [name for name in PRESETS if name not in re.split(r"[ ,;.:]+", told)] == []


def test_a_size_that_is_set_wins_over_the_preset() -> None:
    assert resolve(ModelConfig(preset="base")) == Sizes(768, 3072, 12, 6, 6)
    assert resolve(ModelConfig(preset="base", decoder_layers=0)) == Sizes(768, 3072, 12, 6, 0)


def test_every_preset_resolves() -> None:
    for name in PRESETS:
        assert resolve(ModelConfig(preset=name)).head_size % 2 == 0


def test_impossible_sizes_are_named() -> None:
    with pytest.raises(ModelSizeError, match="no preset 'tini'"):
        resolve(ModelConfig(preset="tini"))
    with pytest.raises(ModelSizeError, match="model.hidden: 250"):
        resolve(ModelConfig(hidden=250))


def test_presets_of_the_predecessor_bring_its_options_unless_set() -> None:
    config = with_preset_options(ModelConfig(preset="ofa-tiny", scale_heads=False))
    assert (config.positions, config.scale_fc, config.scale_heads) == ("untied", True, False)


@pytest.mark.parametrize(
    ("name", "hidden", "ffn", "heads", "encoder", "decoder"),
    [
        ("ofa-tiny", 256, 1024, 4, 4, 4),
        ("ofa-medium", 512, 2048, 8, 4, 4),
        ("ofa-base", 768, 3072, 12, 6, 6),
        ("ofa-large", 1024, 4096, 16, 12, 12),
        ("ofa-huge", 1280, 5120, 16, 24, 12),
        ("ofa-asr-small", 256, 2048, 4, 12, 6),
        ("ofa-asr-base", 768, 3072, 12, 12, 6),
        ("ofa-6b", 2560, 10240, 32, 36, 24),
        ("ofa-8b", 2560, 10240, 32, 48, 36),
        ("ofa-10b", 2816, 11264, 32, 48, 36),
    ],
)
def test_sizes_of_the_predecessor(
    name: str, hidden: int, ffn: int, heads: int, encoder: int, decoder: int
) -> None:
    assert resolve(ModelConfig(preset=name)) == Sizes(hidden, ffn, heads, encoder, decoder)
    config = with_preset_options(ModelConfig(preset=name))
    assert config.positions == "untied" and config.attn_scale_factor == 2.0 and config.norm == "pre"
    assert config.scale_attn and config.scale_fc and config.scale_heads and not config.scale_resids
    assert (
        config.norm_per_adapter
        and config.type_embedding
        and not config.separator
        and config.tied_head
    )
