"""Names of an OFASys state in our terms (Bai et al. 2022).

Our adapter of tokens is theirs of text; every other adapter keeps its name, and its own parameters keep theirs behind
it. What nothing of ours is made of (tables that a configuration leaves unused, buffers that can be computed) is told
by `unused`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ofa_foreign.formats import pooling_decoders, speech_parts
from ofa_foreign.formats.mapping import Ahead, Entry, Heads, Reshaped, Same, Shape

TABLE = "encoder.adaptor.embed_tokens.weight"
TABLE_COPIES = ("decoder.adaptor.embed_tokens.weight",)
ALIASES: Mapping[str, str] = {"text": "token"}
"""Their adapter -> ours, where names differ."""
HEAD = "decoder.adaptor.text.output_projection.weight"
"""The head, where it does not share the token table."""
OLD_HEAD = "decoder.output_projection.weight"
"""Written by old versions; the original throws it away."""
_OLD_TABLE = "embed_tokens.weight"
"""Copies of the token table in every adapter, likewise."""
_NO_PARAMETERS = ("layernorm_embedding.", "layernorm_position.", "type_embedding.", _OLD_TABLE)
"""Beginnings of names in an adapter that are no parameters of its own."""
_SPEECH = (speech_parts.READER, speech_parts.WRITER)
_SIDES = (("encoder", "source"), ("decoder", "target"))
_SHARED = frozenset({"embed_tokens", "pos_q_linear", "pos_k_linear"})
_LAYER = re.compile(r"^(encoder|decoder)\.layers\.(\d{1,9})\.")
_ADAPTER = re.compile(r"^(encoder|decoder)\.adaptor\.([^.]+)\.(.+)$")
_ABSOLUTE = re.compile(r"^embed_([^.]+_)?positions\.weight$")
_RELATIVE = re.compile(r"^[^.]+_rel_pos_table_list\.(\d+)\.weight$")
_COMPUTED = re.compile(r"(^|\.)(version|[^.]+_rp_bucket|[^.]+_position_idx|num_batches_tracked)$")


@dataclass(frozen=True)
class Reading:
    """How a state is to be read.

    Attributes:
        shapes: Name -> shape of every tensor of the state.
        heads: Attention heads.
        attention_bias: Their ``use_self_attn_bias``.
        entangled: Their ``entangle_position_embedding``.
        target_adapters: Our names of adapters that serve the target alone: their own parameters are the decoder's.
        experts: Side -> our expert -> number of theirs, for a state with ``modal_ffn``; empty: dense layers.
        pooling: The additional decoder that becomes our head ``pooling``; empty: none.
    """

    shapes: Mapping[str, Shape]
    heads: int
    attention_bias: bool = True
    entangled: bool = False
    target_adapters: Collection[str] = ()
    experts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    pooling: str = ""

    def has_all(self, names: Collection[str]) -> bool:
        """Whether each of some tensors is there."""
        return all(name in self.shapes for name in names)

    def layers(self, side: str) -> int:
        """Layers of the encoder or the decoder."""
        return len(self.numbers[side])

    @cached_property
    def numbers(self) -> dict[str, set[int]]:
        """Numbers of the layers of each side."""
        found: dict[str, set[int]] = {side: set() for side, _ in _SIDES}
        for name in self.shapes:
            if match := _LAYER.match(name):
                found[match[1]].add(int(match[2]))
        return found

    def adapters(self, side: str) -> dict[str, str]:
        """Their adapters on one side -> ours."""
        return self._adapters[side]

    @cached_property
    def _adapters(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {side: {} for side, _ in _SIDES}
        for side, theirs in self.parts:
            found[side][theirs] = ALIASES.get(theirs, theirs)
        return found

    @cached_property
    def parts(self) -> dict[tuple[str, str], list[str]]:
        """(side, their adapter) -> names of its tensors, behind the prefix that they share."""
        found: dict[tuple[str, str], list[str]] = {}
        for name in self.shapes:
            match = _ADAPTER.match(name)
            if match and match[2] not in _SHARED:
                found.setdefault((match[1], match[2]), []).append(match[3])
        return found


def entries(reading: Reading) -> list[Entry]:
    """How our tensors are made of a state's, the token table left out; only of those that are there."""
    found: list[Entry] = []
    for side, ours in _SIDES:
        found += _pairs(f"backbone.{side}_norm", f"{side}.layer_norm")
        if not reading.entangled:
            found += _projections(f"{side}.adaptor.pos", side)
        for index in range(reading.layers(side)):
            found += _layer(f"backbone.{side}.{index}", f"{side}.layers.{index}", reading, side)
        for theirs, name in reading.adapters(side).items():
            found += _adapter(reading, side, ours, theirs, name)
    if not reading.entangled:
        found += _projections("decoder.cross_pos", "cross")
    if reading.pooling:
        found += pooling_decoders.entries(reading.pooling)
    return [entry for entry in found if reading.has_all(entry.theirs)]


def parts(reading: Reading) -> dict[str, tuple[str, str]]:
    """(our side, our adapter) of every tensor that belongs to an adapter."""
    sides = dict(_SIDES)
    found: dict[str, tuple[str, str]] = {}
    for (side, theirs), rests in reading.parts.items():
        owner = sides[side], ALIASES.get(theirs, theirs)
        found |= {f"{side}.adaptor.{theirs}.{rest}": owner for rest in rests}
    return found


def unused(reading: Reading) -> tuple[str, ...]:
    """Names of a state that no tensor of ours is made of, and that the original does not use either."""
    made = {name for entry in entries(reading) for name in entry.theirs} | {TABLE, *TABLE_COPIES}
    return tuple(name for name in reading.shapes if name not in made and _is_idle(name, reading))


def _is_idle(name: str, reading: Reading) -> bool:
    if _COMPUTED.search(name):
        return True
    if name.endswith(".self_attn.c_attn"):
        return not reading.attention_bias
    if re.match(r"^(encoder\.adaptor\.|decoder\.(adaptor\.|cross_))pos_[qk]_linear\.", name):
        return reading.entangled
    if re.search(r"\.layers\.\d+\.(experts_)?fc[12]\.", name):
        return bool(reading.experts)
    if name == OLD_HEAD:
        return True
    match = _ADAPTER.match(name)
    if match is None:
        return False
    side, theirs, rest = match.groups()
    if rest == _OLD_TABLE or _is_head(theirs, rest):
        return True
    if rest == "type_embedding.weight":
        return side == "decoder"
    if rest.startswith("layernorm_position."):
        return reading.entangled
    if _RELATIVE.match(rest):
        return not reading.attention_bias
    if theirs in _SPEECH and speech_parts.is_idle(theirs, side, rest):
        return True
    return theirs in reading.adapters("encoder") and theirs in reading.adapters("decoder")


def _is_head(theirs: str, rest: str) -> bool:
    """Only the decoder's is used, see `HEAD`."""
    return ALIASES.get(theirs) == "token" and rest.startswith("output_projection.")


def _layer(ours: str, theirs: str, reading: Reading, side: str) -> Iterator[Entry]:
    scale = "attn_ln" if side == "encoder" else "self_attn_ln"
    plain = side == "encoder" and not reading.attention_bias
    yield from _attention(
        f"{ours}.attention", f"{theirs}.self_attn", reading.heads, ("q", "k", "v"), "qkv", plain
    )
    yield from _pairs(f"{ours}.attention_norm", f"{theirs}.self_attn_layer_norm")
    yield from _pairs(f"{ours}.attention_scale", f"{theirs}.{scale}")
    if side == "decoder":
        yield from _pairs(f"{ours}.cross.query", f"{theirs}.encoder_attn.q_proj")
        yield from _attention(
            f"{ours}.cross", f"{theirs}.encoder_attn", reading.heads, ("k", "v"), "key_value", False
        )
        yield from _pairs(f"{ours}.cross_norm", f"{theirs}.encoder_attn_layer_norm")
        yield from _pairs(f"{ours}.cross_scale", f"{theirs}.cross_attn_ln")
    yield from _pairs(f"{ours}.ffn_norm", f"{theirs}.final_layer_norm")
    yield Same(f"{ours}.residual_scale", f"{theirs}.w_resid")
    networks = {f"{ours}.ffn": ("fc1", "fc2")}
    if reading.experts:
        networks = {
            f"{ours}.ffn.each.{name}": (f"experts_fc1.{number}", f"experts_fc2.{number}")
            for name, number in reading.experts[side].items()
        }
    for network, (up, down) in networks.items():
        yield from _pairs(f"{network}.up", f"{theirs}.{up}")
        yield from _pairs(f"{network}.norm", f"{theirs}.ffn_layernorm")
        yield from _pairs(f"{network}.down", f"{theirs}.{down}")


def _attention(
    ours: str, theirs: str, heads: int, parts: tuple[str, ...], name: str, plain: bool
) -> Iterator[Entry]:
    for leaf in ("weight", "bias"):
        yield Heads(
            f"{ours}.{name}.{leaf}", tuple(f"{theirs}.{part}_proj.{leaf}" for part in parts), heads
        )
    yield from _pairs(f"{ours}.out", f"{theirs}.out_proj")
    if not plain:
        yield Same(f"{ours}.head_scale", f"{theirs}.c_attn")


def _adapter(reading: Reading, side: str, ours: str, theirs: str, name: str) -> Iterator[Entry]:
    prefix, places = f"{side}.adaptor.{theirs}", f"backbone.positions.{side}.{name}"
    yield from _pairs(f"{ours}_norm.{name}", f"{prefix}.layernorm_embedding")
    if not reading.entangled:
        yield from _pairs(f"{places}.norm", f"{prefix}.layernorm_position")
    if side == "encoder":
        yield Reshaped(f"types.{ours}/{name}", f"{prefix}.type_embedding.weight", (1, -1))
    owner = (
        "decoder"
        if name in reading.target_adapters or theirs not in reading.adapters("encoder")
        else "encoder"
    )
    parameters = reading.parts.get((side, theirs), [])
    renamed: dict[str, str] | None = None
    if theirs in _SPEECH:
        renamed = speech_parts.own_names(theirs, side, owner, parameters)
    for rest in parameters:
        full = f"{prefix}.{rest}"
        if _COMPUTED.search(full):
            continue
        if rest.startswith(_NO_PARAMETERS) or _is_head(theirs, rest):
            continue
        if _ABSOLUTE.match(rest):
            yield _absolute(f"{places}.tables.0.weight", full, prefix, reading)
        elif match := _RELATIVE.match(rest):
            if reading.attention_bias:
                yield Same(f"{places}.relative.{match[1]}.0.weight", full)
        elif renamed is not None:
            if rest in renamed:
                yield Same(renamed[rest], full)
        elif side == owner:
            yield Same(f"adapters.{name}.{rest}", full)


def _absolute(ours: str, full: str, prefix: str, reading: Reading) -> Entry:
    """Patches without a class token have no row for it; ours begins with one."""
    patches = reading.shapes.get(f"{prefix}.proj.weight")
    if patches is not None and len(patches) == 4 and f"{prefix}.cls_token" not in reading.shapes:
        return Ahead(ours, full, 1)
    return Same(ours, full)


def _projections(theirs: str, place: str) -> Iterator[Entry]:
    yield from _pairs(f"backbone.positions.query.{place}", f"{theirs}_q_linear")
    yield from _pairs(f"backbone.positions.key.{place}", f"{theirs}_k_linear")


def _pairs(ours: str, theirs: str) -> Iterator[Entry]:
    for leaf in ("weight", "bias"):
        yield Same(f"{ours}.{leaf}", f"{theirs}.{leaf}")
