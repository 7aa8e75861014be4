"""Each project's checkpoints in one form: tensors, how ours are made of them, and the settings that go with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ofa_foreign.formats import (
    bart_names,
    bart_search,
    modality_experts,
    ofa_names,
    ofasys_names,
    ofasys_options,
    pooling_decoders,
    speech_parts,
)
from ofa_foreign.formats.mapping import Entry
from ofa_foreign.formats.reading import Foreign
from ofa_foreign.formats.settings import ReadSettings, unread_lines
from ofa_foreign.formats.tokens import CORE_NAMES
from ofacore.checkpoint.checkpoint_errors import CheckpointError
from ofacore.ground.printable import shortened

Adapters = Callable[[str], object]
"""Our adapter's name -> its class, or anything else where there is none."""
Uses = Mapping[tuple[str, str], Collection[str]]
"""(side, our adapter) -> types of the slots that begin its runs, for all that instructions use."""


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
        head: Name of the head's own table; empty: it shares the token table.
        parts: (our side, our adapter) of each tensor that belongs to an adapter.
        target_adapters: Our adapters that the decoder has weights for.
        heads: Our head -> its options.
        preprocessors: Our preprocessor -> options that its tensors tell.
        banned: Sequences of its token ids that are never generated.
        left_out: What of its settings has no counterpart here.
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
    head: str = ""
    parts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    target_adapters: tuple[str, ...] = ("token",)
    heads: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    preprocessors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    banned: tuple[tuple[int, ...], ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of the token table."""
        return len(self.tensors[self.table])


def dialect_of(foreign: Foreign, load: Adapters, uses: Uses | None = None) -> Dialect:
    """Read a checkpoint's configuration and names.

    Args:
        foreign: What was found.
        load: Gives our adapters.
        uses: What the instructions use, once they are known: where a side has weights of its own, theirs are taken.

    Raises:
        CheckpointError: Its architecture is not contained in ours; says what was found and what was expected.
    """
    return _bart(foreign) if foreign.form == "bart" else _ofa(foreign, load, uses or {})


def _bart(foreign: Foreign) -> Dialect:
    config, path = foreign.config, foreign.path
    absent = [key for key in _BART_KEYS if not _is_size(config.get(key))]
    if absent:
        found = ", ".join(f"{key} {shortened(repr(config.get(key)))}" for key in absent)
        raise CheckpointError(
            path, f"config.json of a BART with {found}; expected whole numbers above 0"
        )
    head = ""
    tables: tuple[str, ...] = (bart_names.TABLE, *bart_names.TABLE_COPIES)
    if not bart_names.is_tied(config):
        head, tables = bart_names.HEAD, _tables_of_sides(foreign)
    tensors, copies = _one_table(foreign, tables)
    idle: tuple[str, ...] = ()
    if bart_names.TABLE in foreign.tensors and bart_names.TABLE not in copies:
        idle = (bart_names.TABLE,)
    table = tables[0]
    _check_table(foreign, table, tensors[table])
    shapes = {name: tuple(tensor.shape) for name, tensor in foreign.tensors.items()}
    bart_names.check_sizes(config, shapes, path)
    if head:
        _check_head(foreign, head, table, tensors)
    both = bart_search.settings_of(config, foreign.generation)
    search = bart_search.search_of(config, foreign.generation, path)
    bias = bart_names.BIAS if bart_names.BIAS in tensors else ""
    return Dialect(
        tensors,
        table,
        bart_names.entries(config),
        copies=copies,
        head=head,
        idle=idle,
        model={
            **bart_names.model_options(config, path),
            "target_start": bart_search.target_start(both, path),
        },
        bias=bias,
        generation=search.options,
        banned=search.banned,
        left_out=search.left_out,
    )


def _tables_of_sides(foreign: Foreign) -> tuple[str, ...]:
    """Names of the token table of a BART whose head has its own: the sides' where both are there, else the shared one.

    Where both sides have one, nothing reads the shared one.
    """
    if all(name in foreign.tensors for name in bart_names.SIDE_TABLES):
        return bart_names.SIDE_TABLES
    return (bart_names.TABLE, *bart_names.SIDE_TABLES)


def _check_head(foreign: Foreign, head: str, table: str, tensors: Mapping[str, Tensor]) -> None:
    """A head of its own is there and has a row for each token.

    Raises:
        CheckpointError: It is not so.
    """
    if head not in tensors:
        what = f"config.json says tie_word_embeddings false, but there is no '{head}'"
        raise CheckpointError(foreign.path, f"{what}; expected the head's own table")
    if tensors[head].shape != tensors[table].shape:
        shapes = f"{list(tensors[head].shape)}, the token table {list(tensors[table].shape)}"
        raise CheckpointError(
            foreign.path, f"the head '{head}' has shape {shapes}; expected the same shape"
        )


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check_table(foreign: Foreign, name: str, table: Tensor) -> None:
    """The table has the size that the configuration says.

    Raises:
        CheckpointError: It has not.
    """
    wanted = [foreign.config["vocab_size"], foreign.config["d_model"]]
    if list(table.shape) != wanted:
        what = f"'{name}' has shape {list(table.shape)}, but config.json says vocab_size and d_model {wanted}"
        raise CheckpointError(foreign.path, f"{what}; expected them to agree")


_BART_KEYS = (
    "d_model",
    "encoder_layers",
    "decoder_layers",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
    "max_position_embeddings",
    "vocab_size",
)


_GENERATION = {
    "strategy": "beam",
    "beam": 5,
    "min_length": 1,
    "length_penalty": 0.0,
    "core_tokens": True,
    "pad_tokens": False,
}
"""What OFASys' generator does unless it is told otherwise: scores are plain sums, padding is never chosen."""


def _ofa(foreign: Foreign, load: Adapters, uses: Uses) -> Dialect:
    """OFASys, and OFA translated into it."""
    whole: dict[str, Tensor] = {}
    tensors, origin, config = dict(foreign.tensors), dict[str, str](), foreign.config
    if foreign.form == "ofa":
        whole = {ofa_names.TYPES: tensors[ofa_names.TYPES]} if ofa_names.TYPES in tensors else {}
        tensors, origin = ofa_names.as_ofasys(tensors)
        config = ofa_names.as_settings(config)
    config = ReadSettings(config)
    table: tuple[str, ...] = (ofasys_names.TABLE, *ofasys_names.TABLE_COPIES)
    old, own_head = (
        tensors.get(ofasys_names.OLD_HEAD),
        ofasys_names.HEAD if ofasys_names.HEAD in tensors else "",
    )
    present = [tensors[name] for name in table if name in tensors]
    if old is not None and all(old.equal(tensor) for tensor in present):
        table = (*table, ofasys_names.OLD_HEAD)
    elif old is not None and foreign.form == "ofa":
        own_head = ofasys_names.OLD_HEAD
    tensors, copies = _one_table(
        Foreign(foreign.path, foreign.folder, foreign.form, config, tensors), table
    )
    if own_head:
        _check_head(foreign, own_head, ofasys_names.TABLE, tensors)
    state = _reading(foreign, config, tensors, uses)
    options = ofasys_options.model_options(config, state, foreign.path)
    adapters = ofasys_options.adapter_options(config, state, load)
    options |= {"experts": "modality"} if state.experts else {}
    heads: dict[str, Mapping[str, Any]] = {}
    preprocessors: dict[str, Mapping[str, Any]] = {}
    if state.pooling:
        heads[pooling_decoders.HEAD] = pooling_decoders.options(config, state.shapes, state.pooling)
    if speech_parts.WRITER in adapters:
        writer = adapters[speech_parts.WRITER]
        given = ofasys_options.adapter_settings(config, speech_parts.WRITER)
        heads[speech_parts.HEAD] = speech_parts.head_options(writer, state.shapes, given)
        preprocessors[speech_parts.HEAD] = speech_parts.frame_options(writer)
    if speech_parts.READER in adapters:
        bins = adapters[speech_parts.READER]["bins"]
        preprocessors[speech_parts.SOUNDS] = {"bins": bins}
    writes = [name for name in state.adapters("decoder").values() if name != speech_parts.READER]
    present_adapters = {*state.adapters("encoder"), *state.adapters("decoder")}
    unread = unread_lines(config, present_adapters) if foreign.form == "ofasys" else []
    return Dialect(
        tensors,
        ofasys_names.TABLE,
        ofasys_names.entries(state),
        copies=copies,
        model={**options, "adapters": adapters, "output_bias": True, "tied_head": not own_head},
        idle=[name for name in ofasys_names.unused(state) if name != own_head],
        generation=_GENERATION,
        adapters=tuple(state.adapters("encoder").values()),
        origin=origin,
        whole=whole,
        head=own_head,
        parts=ofasys_names.parts(state),
        target_adapters=tuple(writes),
        heads=heads,
        preprocessors=preprocessors,
        left_out=tuple(unread),
    )


def _reading(
    foreign: Foreign, config: Mapping[str, Any], tensors: Mapping[str, Tensor], uses: Uses
) -> ofasys_names.Reading:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    state = ofasys_options.reading(config, shapes, foreign.path)
    both = {*state.adapters("encoder").values(), *state.adapters("decoder").values()}
    targets = [name for name in both if ("target", name) in uses and ("source", name) not in uses]
    experts = modality_experts.chosen(tensors, sorted(both), uses, foreign.path)
    return ofasys_options.reading(config, shapes, foreign.path, targets, experts)


def _one_table(
    foreign: Foreign, names: tuple[str, ...]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Tensors with the token table under its first name alone, and the names that the file has it under.

    Raises:
        CheckpointError: There is none, or its copies differ.
    """
    present = tuple(name for name in names if name in foreign.tensors)
    if not present:
        shown = ", ".join(shortened(name) for name in list(foreign.tensors)[:3])
        found = f"{len(foreign.tensors)} tensors such as {shown or 'none'}"
        raise CheckpointError(
            foreign.path, f"found {found}, no token table; expected one of {', '.join(names)}"
        )
    table = foreign.tensors[present[0]]
    if table.dim() != 2:
        shape = f"shape {list(table.shape)}"
        raise CheckpointError(
            foreign.path, f"'{present[0]}' has {shape}; expected a table, one row for each token"
        )
    for name in present[1:]:
        if not table.equal(foreign.tensors[name]):
            both = "a model here has one token table for encoder and decoder"
            way_out = "train it there with one for both (tied embeddings), then import that"
            raise CheckpointError(
                foreign.path, f"'{present[0]}' and '{name}' differ, but {both}; {way_out}"
            )
    rest = {name: tensor for name, tensor in foreign.tensors.items() if name not in present}
    return {**rest, names[0]: table}, present
