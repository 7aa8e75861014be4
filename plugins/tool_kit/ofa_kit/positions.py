"""Checks of position schemes, within a small backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from ofa_kit.declaration import DeclarationChecks
from ofa_kit.modules import HEADS, HIDDEN, other_random_state
from ofacore.config.model_section import ModelConfig
from ofacore.model.backbone.positions import scheme_of
from ofacore.model.backbone.stacks import BackboneContext
from ofacore.plugin import PluginError
from ofacore.protocols import Layout, PositionView

CLOSE = 1e-4
LENGTHS = (7, 3, 5)
PLACES = ("encoder", "decoder", "cross")


class PositionsConformance(DeclarationChecks):
    """Checks of one position scheme.

    Attributes:
        positions: Name of the positions component.
        options: In place of the options that its component declares. Default: none.
        heads: Attention heads of the model that it is tried in, 32 wide. Default: 2.
    """

    positions: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}
    heads: ClassVar[int] = HEADS

    def bench(self) -> PositionsBench:
        """The scheme and its backbone."""
        return PositionsBench(self)

    def test_has_every_member(self, bench: PositionsBench) -> None:
        """What the backbone asks of a scheme is there."""
        try:
            assert isinstance(bench.scheme, nn.Module)
        except PluginError as error:
            pytest.fail(str(error), pytrace=False)

    def test_answers_have_the_promised_shapes(self, bench: PositionsBench) -> None:
        """What a member gives is None or as `ofacore.protocols.Positions` says."""
        scheme, view = bench.scheme, _view(2, 5)
        n, head_size = 5, HIDDEN // self.heads
        coordinates, kind = view.coordinates[0], view.kind[0]
        rotation = scheme.rotation(view.coordinates)
        if rotation is not None:
            told = f"rotation gave {_told(rotation)}; expected complex64 [2, 5, p] with p up to {head_size // 2}"
            assert rotation.shape[:-1] == (2, n) and rotation.dtype == torch.complex64, told
            assert 1 <= rotation.shape[-1] <= head_size // 2, told
        for stack in ("encoder", "decoder"):
            for name in ("states", "vectors"):
                found = getattr(scheme, name)(stack, coordinates, kind)
                assert found is None or found.shape == (n, HIDDEN), (
                    f"{name}('{stack}') gave {_told(found)}; expected [{n}, {HIDDEN}], a row for each position"
                )
        for place in PLACES:
            self._check_features(bench, place, coordinates, kind)
            self._check_relative(bench, place, view)

    def _check_features(
        self, bench: PositionsBench, place: str, coordinates: Tensor, kind: Tensor
    ) -> None:
        scheme = bench.scheme
        stack = "decoder" if place == "decoder" else "encoder"
        vectors = scheme.vectors(stack, coordinates, kind)
        wanted = (len(coordinates), self.heads, scheme.width)
        for role in ("query", "key"):
            found = scheme.features(place, role, vectors)
            assert found is None or tuple(found.shape) == wanted, (
                f"features('{place}', '{role}') gave {_told(found)}; expected {list(wanted)}: positions, heads, `width`"
            )
            assert (found is None) == (scheme.features(place, "key", vectors) is None), (
                f"features('{place}') are given for one of query and key alone; give both, or None for both"
            )

    def _check_relative(self, bench: PositionsBench, place: str, view: PositionView) -> None:
        found = bench.scheme.relative(place, view, view)
        if found is None:
            return
        shape = (*view.kind.shape, view.kind.shape[1])
        for layer in range(bench.config.encoder_layers or 1):
            table = found.table(layer)
            assert table.dim() == 2 and table.shape[1] == self.heads, (
                f"relative('{place}'): the table of layer {layer} is {_told(table)}; expected [rows, {self.heads}]"
            )
            for index in found.indices:
                fits = index.shape == shape and index.dtype == torch.int32
                assert fits, (
                    f"relative('{place}'): indices are {_told(index)}; expected int32 {list(shape)}"
                )
                assert int(index.min()) >= 0 and int(index.max()) < len(table), (
                    f"relative('{place}'): indices from {int(index.min())} to {int(index.max())} name rows of a table "
                    f"of {len(table)}; clamp distances that the table does not tell apart"
                )

    @torch.no_grad()
    def test_knows_the_order(self, bench: PositionsBench) -> None:
        """What the encoder gives depends on where its positions stand."""
        states, layout = bench.states[:7], _stream((7,))
        layout = replace(layout, causal=torch.zeros_like(layout.causal))
        order = torch.tensor([3, 0, 5, 1, 6, 2, 4])
        expected, shuffled = (
            bench.encode(states, layout)[order],
            bench.encode(states[order], layout),
        )
        assert not torch.allclose(expected, shuffled, atol=1e-6), (
            "a sequence and the same one in another order give the same states: attention does not see places; check "
            "that a member gives something that depends on the coordinates"
        )

    @torch.no_grad()
    def test_is_independent_of_padding_and_of_other_sequences(self, bench: PositionsBench) -> None:
        """A sequence gives the same alone, beside longer ones, and with others in its row."""
        found = {"beside others, with padding": bench.run(_stream(LENGTHS), _stream(LENGTHS))}
        if bench.scheme.packs:
            found["with others in its row"] = bench.run(
                _stream(LENGTHS, True), _stream(LENGTHS, True)
            )
        start = 0
        for length in LENGTHS:
            own = slice(start, start + length)
            alone = bench.run(_stream((length,)), _stream((length,)), own)
            for where, everything in found.items():
                difference = float((everything[own] - alone).abs().max())
                assert difference <= CLOSE, (
                    f"a sequence of {length} gives other states {where} than alone, by {difference:.2g}: coordinates, "
                    "runs and kinds of a position or a pair are all that an answer may depend on"
                )
            start += length

    @torch.no_grad()
    def test_decoding_step_by_step_equals_one_pass(self, bench: PositionsBench) -> None:
        """What is decoded with a cache, some positions at a time, is what one pass over all of them gives."""
        length, rows = 6, 2
        layout = _stream((length,) * rows)
        states = bench.states[: rows * length]
        memory = bench.encode(states, layout)
        expected = bench.run(layout, layout).unflatten(0, (rows, length))
        cache = bench.backbone.start_cache(rows, memory, layout, tasks=("task",), capacity=2)
        given, first = bench.placed("target", states, layout).unflatten(0, (rows, length)), 0
        for n in (1, 3, 1, 1):
            places = layout.coordinates.unflatten(0, (rows, length))[:, first : first + n]
            found = bench.backbone.extend(given[:, first : first + n], places, cache, None, "token")
            difference = float((found - expected[:, first : first + n]).abs().max())
            assert difference <= CLOSE, (
                f"positions {first} to {first + n - 1}, decoded behind those before, differ by {difference:.2g} from "
                "one pass over all: use the coordinates that are given, never their place in the tensor, and the same "
                "rule for any number of queries"
            )
            first += n

    def test_every_parameter_learns(self, bench: PositionsBench) -> None:
        """Each of its parameters gets a gradient from a pass through encoder and decoder."""
        bench.backbone.zero_grad()
        layout = _stream(LENGTHS)
        bench.run(layout, layout).square().sum().backward()
        idle = [
            name for name, parameter in bench.scheme.named_parameters() if parameter.grad is None
        ]
        assert not idle, (
            f"no gradient reaches {', '.join(idle)}: nothing that the backbone asks for depends on them"
        )


class PositionsBench:
    """A scheme, and a backbone of two layers a side that has it."""

    def __init__(self, suite: PositionsConformance) -> None:
        self.suite = suite
        name = suite.component("positions", suite.positions).name
        sizes = {
            "hidden": HIDDEN,
            "ffn": HIDDEN,
            "heads": suite.heads,
            "encoder_layers": 2,
            "decoder_layers": 2,
        }
        options = {
            "positions": name,
            "positions_options": dict(suite.options),
            "max_positions": 16,
            "dropout": 0.0,
        }
        self.config = ModelConfig.model_validate({**sizes, **options})

    @cached_property
    def backbone(self) -> Any:
        """With weights large enough for every path to matter."""
        registry = self.suite.closed_registry()
        build = scheme_of(self.config, registry)
        context = BackboneContext(("token",), ("task",), frozenset({"token"}), positions=build)
        with other_random_state(1):
            built = registry.load("backbone", "megatron")(self.config, context).eval()
        with torch.no_grad():
            for parameter in built.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(5)
        return built

    @property
    def scheme(self) -> Any:
        """The position scheme."""
        return self.backbone.positions

    @cached_property
    def states(self) -> Tensor:
        """[15, H]: what the positions of `LENGTHS` hold."""
        return torch.randn(sum(LENGTHS), HIDDEN, generator=torch.Generator().manual_seed(1))

    def placed(self, side: Any, states: Tensor, layout: Layout) -> Tensor:
        """States [N, H] with what the scheme adds to them."""
        added = self.backbone.content_positions(side, layout.coordinates, "token")
        return states if added is None else states + added

    def encode(self, states: Tensor, layout: Layout) -> Tensor:
        """The encoder's output [N, H]."""
        found: Tensor = self.backbone.encode(self.placed("source", states, layout), layout)
        return found

    def run(self, source: Layout, target: Layout, own: slice = slice(None)) -> Tensor:
        """The decoder's output over some of the states, which the encoder reads too."""
        states = self.states[own][: source.positions]
        memory = self.encode(states, source)
        found: Tensor = self.backbone.decode(
            self.placed("target", states, target), target, memory, source
        )
        return found


def _stream(lengths: Sequence[int], packed: bool = False) -> Layout:
    """Sequences of tokens, each in a row of its own or all in one; each reads the source of its own number."""
    total, number = sum(lengths), len(lengths)
    sequence = torch.repeat_interleave(torch.arange(number), torch.tensor(lengths))
    place = torch.cat([torch.arange(length) for length in lengths])
    rows = torch.full((number, max(lengths)), -1)
    rows[sequence, place] = torch.arange(total)
    groups = (torch.arange(total)[None] if packed else rows,)
    zeros = torch.zeros(total, dtype=torch.int64)
    return Layout(
        sequence=sequence,
        segment=zeros,
        coordinates=place[:, None].expand(-1, 3).contiguous(),
        causal=torch.ones(total, dtype=torch.bool),
        visible=torch.ones(total, dtype=torch.bool),
        adapter=zeros,
        adapters=("token",),
        task=zeros,
        tasks=("task",),
        slots=("slot",),
        rows=groups,
        sequences=number,
        memory=torch.arange(number),
        memory_rows=groups,
    )


def _view(rows: int, length: int) -> PositionView:
    place = torch.arange(length).expand(rows, length)
    zeros = torch.zeros(rows, length, dtype=torch.int64)
    return PositionView(place[..., None].expand(-1, -1, 3).contiguous(), zeros, zeros)


def _told(found: Any) -> str:
    if not isinstance(found, Tensor):
        return repr(found)
    return f"{str(found.dtype).removeprefix('torch.')} {list(found.shape)}"
