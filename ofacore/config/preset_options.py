"""What model presets bring besides sizes, and keys of the model section that moved."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ofacore.config.model_section import ModelConfig

_FAMILY = "ofa-"
_FAMILY_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "positions": "untied",
        "qk_norm": False,
        "scale_attn": True,
        "scale_fc": True,
        "scale_heads": True,
        "attn_scale_factor": 2.0,
        "norm_per_adapter": True,
        "target_type_embedding": False,
        "separator": False,
    }
)
"""What all models of the OFA family have in common; the rest are the defaults of the schema."""
_MOVED: Mapping[str, str] = MappingProxyType(
    {
        "attention_bias": "attention_bias",
        "position_buckets": "buckets",
        "share_attn_bias": "share_bias",
        "entangle_positions": "entangled",
        "layernorm_position": "layernorm",
    }
)
"""Key of the model section in configurations of before -> option of the scheme that it was for."""
_SCHEME = str(_FAMILY_OPTIONS["positions"])


def with_preset_options(config: ModelConfig) -> ModelConfig:
    """The configuration with the options of an ``ofa-`` preset, except those that were set explicitly."""
    if not config.preset.startswith(_FAMILY):
        return config
    missing = {
        name: value
        for name, value in _FAMILY_OPTIONS.items()
        if name not in config.model_fields_set
    }
    return config.model_copy(update=missing)


def with_named_backbone(values: Any) -> Any:
    """A model section whose ``backbone`` is a name; ``{name: ..., OPTION: ...}`` gives options of it, too.

    Raises:
        ValueError: There are options without a name, or options twice.
    """
    if not isinstance(values, Mapping) or not isinstance(values.get("backbone"), Mapping):
        return values
    options = dict(values["backbone"])
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise ValueError("backbone: {...} needs a name, such as {name: transformers, path: FOLDER}")
    twice = sorted(options.keys() & dict(values.get("options") or {}).keys())
    if twice:
        raise ValueError(f"backbone and options both give '{twice[0]}'; delete one of them")
    merged = {**dict(values.get("options") or {}), **options}
    found = {**values, "backbone": name}
    return {**found, "options": merged} if merged else found


def with_moved_keys(values: Any) -> Any:
    """A model section whose old keys stand among the options of the position scheme.

    Beside another scheme these keys said nothing, and are left out.

    Raises:
        ValueError: ``attention_bias: false`` beside another scheme, where it did say something.
    """
    if not isinstance(values, Mapping) or not _MOVED.keys() & values.keys():
        return values
    kept = {name: value for name, value in values.items() if name not in _MOVED}
    moved = {_MOVED[name]: value for name, value in values.items() if name in _MOVED}
    family = str(values.get("preset", "")).startswith(_FAMILY)
    usual = _SCHEME if family else ""
    scheme = values.get("positions", usual)
    given = kept.get("positions_options", {})
    if scheme == _SCHEME and isinstance(given, Mapping):
        kept["positions_options"] = {**moved, **given}
    elif moved.get("attention_bias") is False and _scales(values, family):
        raise ValueError(
            f"no attention_bias: false unless positions is '{_SCHEME}'; delete the key"
        )
    return kept


def _scales(values: Mapping[str, Any], family: bool) -> bool:
    """Whether the encoder has scale options, which ``attention_bias: false`` took from it."""
    defaults: Mapping[str, Any] = _FAMILY_OPTIONS if family else {}
    given = {
        name: values.get(name, defaults.get(name)) for name in ("scale_heads", "attn_scale_factor")
    }
    return bool(given["scale_heads"]) or given["attn_scale_factor"] not in (None, 1, 1.0)
