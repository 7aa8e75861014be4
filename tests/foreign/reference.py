"""OFASys' computation written down once more, straight from its names: one sample, no padding, every bias dense.

Letters in names: T positions, A heads, H width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

State = Mapping[str, Tensor]
Trunk = Callable[[Tensor], Tensor]


@dataclass
class Piece:
    """One slot of the source.

    Attributes:
        adapter: Their name.
        value: Ids [T], or a picture [3, height, width].
        expert: Number of the expert by modality.
    """

    adapter: str
    value: Tensor
    expert: int = 0


@dataclass
class Reference:
    """A state and what it does not tell.

    Attributes:
        state: Names as the original has them.
        heads: Attention heads.
        trunks: Adapter -> what gives maps [1, C, rows, columns] of pictures [1, 3, height, width].
    """

    state: State
    heads: int = 4
    trunks: Mapping[str, Trunk] = field(default_factory=dict)

    def logits(self, source: Sequence[Piece], target: Tensor, expert: int = 0) -> Tensor:
        """[T, rows] for decoder inputs ``target`` [T]."""
        memory, places = self.encoded(source)
        x, own_places, biases, experts = self._side("decoder", [Piece("text", target, expert)])
        later = torch.full((len(x), len(x)), -math.inf).triu(1)
        cross = self._untied("decoder.cross_pos", own_places, places)
        for index, bias in enumerate(biases):
            x = self._layer(f"decoder.layers.{index}", x, bias + later, experts, memory, cross)
        return self.projected(self._norm("decoder.layer_norm", x))

    def encoded(self, source: Sequence[Piece]) -> tuple[Tensor, Tensor]:
        """The encoder's states [T, H] and its places [T, H]."""
        x, places, biases, experts = self._side("encoder", source)
        for index, bias in enumerate(biases):
            x = self._layer(f"encoder.layers.{index}", x, bias, experts)
        return self._norm("encoder.layer_norm", x), places

    def projected(self, states: Tensor) -> Tensor:
        """[..., H] -> [..., rows]."""
        head = self.state.get("decoder.adaptor.text.output_projection.weight", self._table())
        return states @ head.T

    def _table(self) -> Tensor:
        return self.state["encoder.adaptor.embed_tokens.weight"]

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return functional.layer_norm(
            x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        )

    def _side(
        self, side: str, pieces: Sequence[Piece]
    ) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
        """Embeddings [T, H], places [T, H], bias [A, T, T] of each layer, expert of each position."""
        parts = [
            self._piece(f"{side}.adaptor.{piece.adapter}", piece, side == "encoder")
            for piece in pieces
        ]
        places = torch.cat([part[1] for part in parts])
        absolute = self._untied(f"{side}.adaptor.pos", places, places)
        biases = []
        for layer in range(
            sum(
                name.startswith(f"{side}.layers.") and name.endswith("fc1.bias")
                for name in self.state
            )
        ):
            bias, start = absolute.clone(), 0
            for part in parts:
                stop = start + len(part[0])
                bias[:, start:stop, start:stop] += part[2][layer]
                start = stop
            biases.append(bias)
        experts = torch.cat(
            [
                torch.full((len(part[0]),), piece.expert)
                for part, piece in zip(parts, pieces, strict=True)
            ]
        )
        return torch.cat([part[0] for part in parts]), places, biases, experts

    def _piece(self, name: str, piece: Piece, typed: bool) -> tuple[Tensor, Tensor, list[Tensor]]:
        if piece.adapter in self.trunks:
            maps = self.trunks[piece.adapter](piece.value[None])[0]
            side = math.isqrt(len(self.state[f"{name}.embed_image_positions.weight"]) - 1)
            rows, columns = torch.arange(maps.shape[1]), torch.arange(maps.shape[2])
            ids = (rows[:, None] * side + columns + 1).flatten()
            x, kind = self._linear(f"{name}.image_proj", maps.flatten(1).T), "image"
            place = self.state[f"{name}.embed_image_positions.weight"][ids]
        else:
            ids = torch.arange(len(piece.value))
            x, kind = self._table()[piece.value], "token"
            place = self.state[f"{name}.embed_positions.weight"][ids]
        bucket = self.state[f"{name}.{kind}_rp_bucket"][ids][:, ids]
        layers = sum(entry.startswith(f"{name}.{kind}_rel_pos_table_list.") for entry in self.state)
        tables = [
            self.state[f"{name}.{kind}_rel_pos_table_list.{layer}.weight"]
            for layer in range(layers)
        ]
        x = x + self.state[f"{name}.type_embedding.weight"][0] if typed else x
        x = self._norm(f"{name}.layernorm_embedding", x)
        return (
            x,
            self._norm(f"{name}.layernorm_position", place),
            [table[bucket].permute(2, 0, 1) for table in tables],
        )

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.heads, -1)).transpose(0, 1)

    def _untied(self, name: str, queries: Tensor, keys: Tensor) -> Tensor:
        q, k = (
            self._split(self._linear(f"{name}_q_linear", queries)),
            self._split(self._linear(f"{name}_k_linear", keys)),
        )
        return q @ k.transpose(1, 2) * (2 * q.shape[-1]) ** -0.5

    def _attend(self, name: str, x: Tensor, memory: Tensor, bias: Tensor) -> Tensor:
        q, k, v = (
            self._split(self._linear(f"{name}.{part}_proj", states))
            for part, states in (("q", x), ("k", memory), ("v", memory))
        )
        mixed = (q @ k.transpose(1, 2) * (2 * q.shape[-1]) ** -0.5 + bias).softmax(-1) @ v
        mixed = mixed * self.state[f"{name}.c_attn"][:, None, None]
        return self._linear(f"{name}.out_proj", mixed.transpose(0, 1).flatten(1))

    def _layer(
        self,
        name: str,
        x: Tensor,
        bias: Tensor,
        experts: Tensor,
        memory: Tensor | None = None,
        cross: Tensor | None = None,
    ) -> Tensor:
        normed = self._norm(f"{name}.self_attn_layer_norm", x)
        scale = "attn_ln" if memory is None else "self_attn_ln"
        x = x + self._norm(
            f"{name}.{scale}", self._attend(f"{name}.self_attn", normed, normed, bias)
        )
        if memory is not None and cross is not None:
            normed = self._norm(f"{name}.encoder_attn_layer_norm", x)
            x = x + self._norm(
                f"{name}.cross_attn_ln", self._attend(f"{name}.encoder_attn", normed, memory, cross)
            )
        y = functional.gelu(
            self._expert(f"{name}.", "fc1", self._norm(f"{name}.final_layer_norm", x), experts)
        )
        return x + self._expert(f"{name}.", "fc2", self._norm(f"{name}.ffn_layernorm", y), experts)

    def _expert(self, name: str, which: str, x: Tensor, experts: Tensor) -> Tensor:
        if f"{name}experts_{which}.0.weight" not in self.state:
            return self._linear(f"{name}{which}", x)
        rows = [
            self._linear(f"{name}experts_{which}.{n}", row)
            for n, row in zip(experts.tolist(), x, strict=True)
        ]
        return torch.stack(rows)
