"""Named sizes, and how a configuration overrides them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from ofacore.config.model_section import ModelConfig
from ofacore.config.preset_options import with_preset_options as with_preset_options
from ofacore.ground.errors import UserError
from ofacore.plugin import suggest


@dataclass(frozen=True)
class Sizes:
    """Widths and depths of a transformer."""

    hidden: int
    ffn: int
    heads: int
    encoder_layers: int
    decoder_layers: int

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads


PRESETS = {
    "starter": Sizes(256, 512, 4, 2, 2),
    "tiny": Sizes(256, 1024, 4, 4, 4),
    "small": Sizes(512, 2048, 8, 4, 4),
    "base": Sizes(768, 3072, 12, 6, 6),
    "large": Sizes(1024, 4096, 16, 12, 12),
    "huge": Sizes(1280, 5120, 16, 24, 12),
    "ofa-tiny": Sizes(256, 1024, 4, 4, 4),
    "ofa-medium": Sizes(512, 2048, 8, 4, 4),
    "ofa-base": Sizes(768, 3072, 12, 6, 6),
    "ofa-large": Sizes(1024, 4096, 16, 12, 12),
    "ofa-huge": Sizes(1280, 5120, 16, 24, 12),
    "ofa-asr-small": Sizes(256, 2048, 4, 12, 6),
    "ofa-asr-base": Sizes(768, 3072, 12, 12, 6),
    "ofa-6b": Sizes(2560, 10240, 32, 36, 24),
    "ofa-8b": Sizes(2560, 10240, 32, 48, 36),
    "ofa-10b": Sizes(2816, 11264, 32, 48, 36),
}


class ModelSizeError(UserError):
    """A size that no transformer can have, or an unknown preset."""


def resolve(config: ModelConfig) -> Sizes:
    """Sizes of the preset, with every size that the configuration sets in its place.

    Raises:
        ModelSizeError: Unknown preset, or ``hidden`` is no multiple of ``heads``.
    """
    if config.preset not in PRESETS:
        near = suggest(config.preset, PRESETS) or f"there are {', '.join(PRESETS)}"
        raise ModelSizeError(f"model.preset: no preset '{config.preset}'; {near}")
    names = ("hidden", "ffn", "heads", "encoder_layers", "decoder_layers")
    given = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    sizes = replace(PRESETS[config.preset], **given)
    if sizes.hidden % sizes.heads:
        problem = f"{sizes.hidden} does not give {sizes.heads} heads of equal width"
        raise ModelSizeError(f"model.hidden: {problem}; choose a multiple of {sizes.heads}")
    return sizes


def expert_sizes(config: ModelConfig, sizes: Sizes) -> Sizes:
    """The same with the width of one expert's feed-forward network."""
    return replace(sizes, ffn=config.experts_ffn or sizes.ffn)


def with_sizes(config: ModelConfig, sizes: Sizes) -> ModelConfig:
    """The configuration with every size a number."""
    return config.model_copy(update=asdict(sizes))
