"""Sizes by name."""

import pytest

from ofacore.config.schema import ModelConfig
from ofacore.model.presets import PRESETS, ModelSizeError, Sizes, resolve, with_preset_options


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
