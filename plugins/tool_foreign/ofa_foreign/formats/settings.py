"""Settings of another project that remember which of them were asked for, so that the others can be told."""

from __future__ import annotations

from collections.abc import Collection, ItemsView, Iterator, Mapping
from typing import Any

from ofacore.ground.printable import shortened


class ReadSettings(Mapping[str, Any]):
    """Settings, and sections of them, that remember which were asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        sections = {
            key: ReadSettings(value) for key, value in values.items() if isinstance(value, Mapping)
        }
        self._values: dict[str, Any] = {**values, **sections}
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def items(self) -> ItemsView[str, Any]:
        """Looking at all of them is not asking for one."""
        return self._values.items()

    def unread(self) -> dict[str, Any]:
        """What nobody asked for, by name; what begins with ``_`` is no setting."""
        return {
            key: value
            for key, value in self.items()
            if key not in self.read and not str(key).startswith("_")
        }


TOLD_BY_TENSORS = frozenset(
    {
        "arch",
        "attention_heads",
        "embed_dim",
        "ffn_embed_dim",
        "input_dim",
        "layernorm_embedding",
        "layernorm_position",
        "layers",
        "learned_pos",
        "max_source_positions",
        "max_target_positions",
        "modal_ffn",
        "normalize_before",
        "num_attention_heads",
        "output_dim",
        "scale_attn",
        "scale_fc",
        "scale_heads",
        "scale_resids",
        "share_all_embeddings",
        "share_decoder_input_output_embed",
        "add_type_embedding",
        "entangle_position_embedding",
        "use_self_attn_bias",
        "share_attn_bias",
        "no_scale_embedding",
    }
)
"""Settings of OFASys models that names and shapes of the tensors tell, or that are checked where they matter."""


def unread_lines(config: ReadSettings, adapters: Collection[str]) -> list[str]:
    """What of a model's settings was not read, one line for the model and one for each adapter of its state.

    What is switched off, refers to another setting, or is told by the tensors is no loss.

    Args:
        config: All of them, after everything that reads them.
        adapters: Their names of the adapters that the state has.
    """
    told = {
        key: value for key, value in config.unread().items() if not isinstance(value, ReadSettings)
    }
    for section in ("encoder", "decoder"):
        inner = config.get(section)
        if isinstance(inner, ReadSettings):
            told |= {f"{section}.{key}": value for key, value in inner.unread().items()}
    lines = [_line("settings of the model", told)]
    given = config.get("adaptor")
    sections = given if isinstance(given, ReadSettings) else ReadSettings({})
    for name in sorted(adapters):
        inner = sections.get(name)
        if isinstance(inner, ReadSettings):
            lines.append(_line(f"settings of adaptor.{name}", inner.unread()))
    return [line for line in lines if line]


def _line(what: str, settings: Mapping[str, Any]) -> str:
    shown = ", ".join(
        f"{name}={shortened(repr(value))}"
        for name, value in sorted(settings.items())
        if _counts(name, value)
    )
    return f"{what}: {shown}" if shown else ""


def _counts(name: str, value: Any) -> bool:
    off = (
        value in (None, False, 0, "", "none", "None")
        if not isinstance(value, list | tuple | Mapping)
        else not value
    )
    refers = isinstance(value, str) and value.startswith("${")
    own = name.rpartition(".")[2]
    return (
        not off and not refers and own not in TOLD_BY_TENSORS and not own.endswith("_bucket_size")
    )
