"""Each project's checkpoints in one form: tensors, how ours are made of them, and the settings that go with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ofacore.checkpoint.errors import CheckpointError
from ofacore.checkpoint.foreign import bart_names, ofa_names, ofasys_names, ofasys_options
from ofacore.checkpoint.foreign.mapping import Entry
from ofacore.checkpoint.foreign.reading import Foreign
from ofacore.checkpoint.foreign.tokens import CORE_NAMES

Adapters = Callable[[str], object]
"""Our adapter's name -> its class, or anything else where there is none."""


@dataclass(frozen=True)
class Dialect:
    """A checkpoint, ready to be taken over.

    Attributes:
        tensors: Name -> tensor, in the names that ``entries`` use; copies of the token table are left out.
        table: Name of the token table.
        copies: Names that held a copy of it.
        bias: Name of the vector that is added to the logits; empty: there is none.
        entries: How our tensors are made, those over tokens aside.
        idle: Names that hold nothing a model needs.
        model: Keys of our model's configuration.
        generation: Keys of our generation section.
        core: Names of our core tokens in its dictionary.
        adapters: Our adapters that it has weights for.
        origin: Name -> name in the file, where they differ.
        whole: Tensors of the file that ``tensors`` has only parts of.
    """

    tensors: Mapping[str, Tensor]
    table: str
    entries: Sequence[Entry]
    model: Mapping[str, Any]
    copies: tuple[str, ...] = ()
    bias: str = ""
    idle: Collection[str] = ()
    generation: Mapping[str, Any] = field(default_factory=dict)
    core: Sequence[tuple[str, ...]] = CORE_NAMES
    adapters: tuple[str, ...] = ("token",)
    origin: Mapping[str, str] = field(default_factory=dict)
    whole: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of the token table."""
        return len(self.tensors[self.table])


def dialect_of(foreign: Foreign, load: Adapters) -> Dialect:
    """Read a checkpoint's configuration and names.

    Raises:
        CheckpointError: Its architecture is not contained in ours; says what was found and what was expected.
    """
    return _bart(foreign) if foreign.form == "bart" else _ofa(foreign, load)


def _bart(foreign: Foreign) -> Dialect:
    config, path = foreign.config, foreign.path
    absent = [key for key in _BART_KEYS if not isinstance(config.get(key), int)]
    if absent:
        raise CheckpointError(path, f"config.json of a BART without {', '.join(absent)}")
    tensors, copies = _one_table(foreign, (bart_names.TABLE, *bart_names.TABLE_COPIES))
    both = bart_names.settings_of(config, foreign.generation)
    return Dialect(
        tensors, bart_names.TABLE, bart_names.entries(config), copies=copies,
        model={**bart_names.model_options(config, path), "target_start": bart_names.target_start(both, path)},
        bias=bart_names.BIAS if bart_names.BIAS in tensors else "",
        generation=bart_names.generation_options(config, foreign.generation),
    )  # fmt: skip


_BART_KEYS = (
    "d_model", "encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads",
    "encoder_ffn_dim", "decoder_ffn_dim", "max_position_embeddings", "vocab_size",
)  # fmt: skip


_GENERATION = {
    "strategy": "beam", "beam": 5, "min_length": 1, "length_penalty": 0.0, "core_tokens": True, "pad_tokens": False,
}  # fmt: skip
"""What OFASys' generator does unless it is told otherwise: scores are plain sums, padding is never chosen."""


def _ofa(foreign: Foreign, load: Adapters) -> Dialect:
    """OFASys, and OFA translated into it."""
    whole: dict[str, Tensor] = {}
    tensors, origin, config = dict(foreign.tensors), dict[str, str](), foreign.config
    table: tuple[str, ...] = (ofasys_names.TABLE, *ofasys_names.TABLE_COPIES)
    if foreign.form == "ofa":
        table = (*table, "decoder.output_projection.weight")
        whole = {ofa_names.TYPES: tensors[ofa_names.TYPES]} if ofa_names.TYPES in tensors else {}
        tensors, origin = ofa_names.as_ofasys(tensors)
        config = ofa_names.as_settings(config)
    tensors, copies = _one_table(Foreign(foreign.path, foreign.folder, foreign.form, config, tensors), table)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    state = ofasys_options.reading(config, shapes, foreign.path)
    options = ofasys_options.model_options(config, state, foreign.path)
    adapters = ofasys_options.adapter_options(config, state, load)
    return Dialect(
        tensors, ofasys_names.TABLE, ofasys_names.entries(state), copies=copies,
        model={**options, "adapters": adapters, "output_bias": True}, idle=ofasys_names.unused(state),
        generation=_GENERATION,
        adapters=tuple(state.adapters("encoder").values()), origin=origin, whole=whole,
    )  # fmt: skip


def _one_table(foreign: Foreign, names: tuple[str, ...]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Tensors with the token table under its first name alone, and the names that the file has it under.

    Raises:
        CheckpointError: There is none, or its copies differ.
    """
    present = tuple(name for name in names if name in foreign.tensors)
    if not present:
        raise CheckpointError(foreign.path, f"has no token table; expected one of {', '.join(names)}")
    table = foreign.tensors[present[0]]
    for name in present[1:]:
        if not table.equal(foreign.tensors[name]):
            raise CheckpointError(
                foreign.path, f"'{present[0]}' and '{name}' differ; expected one table under both names"
            )
    rest = {name: tensor for name, tensor in foreign.tensors.items() if name not in present}
    return {**rest, names[0]: table}, present
