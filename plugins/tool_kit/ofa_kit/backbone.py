"""Checks of backbones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ofa_kit.declaration import DeclarationChecks
from ofacore.batching.collate import collate
from ofacore.config.model_section import ModelConfig
from ofacore.ground.errors import UserError
from ofacore.model import building as assembly
from ofacore.model.item_needs import ModelNeeds
from ofacore.parts import UncachedDecoder
from ofacore.plugin import PluginError
from ofacore.protocols import (
    AttentionBackbone,
    Batch,
    CachedBackbone,
    Example,
    ExpertBackbone,
    Layout,
    Piece,
    ShardedBackbone,
    Side,
    SlotPlan,
    StagedBackbone,
)

SIZES = {
    "hidden": 32,
    "ffn": 48,
    "heads": 4,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "dropout": 0.0,
}
TASK = "task"
TOKENS, GRID = "tokens", "grid"
ADAPTERS = (TOKENS, GRID)
LARGER = 3.0
"""Weights are made larger, so that no path is too weak to be seen."""
_MEMBERS: Mapping[str, type] = {
    "pipeline": StagedBackbone,
    "fsdp": ShardedBackbone,
    "expert": ExpertBackbone,
}


class BackboneConformance(DeclarationChecks):
    """Checks of one backbone, with small weights and states that no adapter made.

    Attributes:
        backbone: Name of the backbone component.
        options: In place of the options that its component declares. Default: none.
        model: Keys of the model section, such as ``{"hidden": 64}``. Default: small sizes.
        tolerance: Largest difference of a state between two ways to compute the same, in shares of the largest state
            where that is above 1. Default: 1e-4.
    """

    backbone: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}
    model: ClassVar[Mapping[str, Any]] = {}
    tolerance: ClassVar[float] = 1e-4
    width: int = 0

    def test_can_be_built_from_declared_options(self) -> None:
        """The class takes sizes and the options of its component, and has what every backbone needs."""
        declared = self.component("backbone", self.backbone).options
        unknown = sorted(set(self.options) - set(declared))
        assert not unknown, (
            f"options {unknown} are not declared: add them with defaults to Component(options={{...}})"
        )
        try:
            self._new({})
        except (PluginError, UserError) as error:
            raise AssertionError(str(error)) from error

    def test_gives_a_state_for_each_position(self) -> None:
        """States [N, H] in, states [N, H] out, of the same type and finite."""
        built = self._new()
        for samples in (_samples(), [_sample(1)], [_sample(1, source=False)]):
            work = _Work(built, samples, self.width)
            for name, found in zip(("encode", "decode"), work.both(), strict=True):
                assert found is None or bool(found.isfinite().all()), (
                    f"{name} gave states that are not finite; a softmax over nothing does it: see "
                    "ofacore.parts.seen_positions and read_sequences"
                )

    def test_samples_do_not_see_each_other(self) -> None:
        """A sample gives the same alone, beside others, and with others in one row of attention."""
        built, samples = self._new(), _samples()
        alone = [_Work(built, [sample], self.width) for sample in samples]
        for packing in (True, False):
            together = _Work(built, samples, self.width, packing)
            for number, (one, found) in enumerate(zip(alone, together.parts(), strict=True)):
                for side, own, other in zip(
                    ("encode", "decode"), one.parts()[0], found, strict=True
                ):
                    assert _close(own, other, self.tolerance), (
                        f"{side}: sample {number} gets other states beside others than alone (packing={packing}): "
                        "a position sees its own sequence alone, layout.sequence tells which that is, and an empty "
                        "place of a row is seen by nobody"
                    )

    def test_later_positions_are_not_seen(self) -> None:
        """States of a causal segment do not depend on what comes later."""
        built, samples = self._new(), _samples()
        before = _Work(built, samples, self.width)
        for cut in (1, 2):
            changed = _Work(built, [replace(s, changed_from=cut) for s in samples], self.width)
            for number, (one, other) in enumerate(
                zip(before.parts(), changed.parts(), strict=True)
            ):
                assert _close(one[1][:cut], other[1][:cut], self.tolerance), (
                    f"sample {number}: the first {cut} target positions change with later ones; where layout.causal, a "
                    "position sees earlier ones only (ofacore.parts.seen_positions gives the mask)"
                )

    def test_reads_its_own_source(self) -> None:
        """A target reads the encoder's output of its own source, and of no other."""
        built, samples = self._new(), _samples()
        before = _Work(built, samples, self.width)
        turned = [replace(samples[0], source_seed=99), *samples[1:]]
        after = _Work(built, turned, self.width)
        one, other = before.parts(), after.parts()
        assert not torch.equal(one[0][1], other[0][1]), (
            "the target's states do not depend on its source; read `memory` where layout.memory says"
        )
        assert all(
            _close(a[1], b[1], self.tolerance) for a, b in zip(one[1:], other[1:], strict=True)
        ), (
            "another sample's source changes a target; target sequence s reads source sequence layout.memory[s] alone"
        )

    def test_order_of_positions_matters(self) -> None:
        """Positions are told apart by their coordinates, or by their order."""
        built, sample = self._new(), _sample(5)
        kept, turned = (
            _Work(built, [s], self.width) for s in (sample, replace(sample, reverse=True))
        )
        assert kept.memory is not None and turned.memory is not None
        assert not _close(kept.memory.flip(0), turned.memory, self.tolerance), (
            "source positions in reverse order give the same states in reverse order; use layout.coordinates, or order"
        )

    def test_a_corrupted_segment_is_seen_by_itself_alone(self) -> None:
        """What is not ``layout.visible`` leaves no trace on later segments."""
        built = self._new()
        samples = [_sample(seed, corrupted=True) for seed in (1, 2)]
        other_noise = [replace(sample, noise=7) for sample in samples]
        before = _Work(built, samples, self.width)
        after = _Work(built, other_noise, self.width)
        tokens = samples[0].tokens
        for number, (one, other) in enumerate(zip(before.parts(), after.parts(), strict=True)):
            assert _close(one[1][-tokens:], other[1][-tokens:], self.tolerance), (
                f"sample {number}: the states of later positions change with a segment that is not layout.visible; of "
                "other segments a position sees those alone that are (ofacore.parts.seen_positions gives the mask)"
            )

    def test_gradients_reach_every_parameter(self) -> None:
        """No parameter is idle where both sides have positions."""
        built = self._new().train()
        work = _Work(built, [*_samples(), _sample(6, corrupted=True)], self.width, graph=True)
        assert work.memory is not None and work.hidden is not None
        generator = torch.Generator().manual_seed(1)
        (work.hidden * torch.randn(work.hidden.shape, generator=generator)).sum().backward()
        idle = [name for name, p in built.named_parameters() if p.requires_grad and p.grad is None]
        assert not idle, f"{idle} get no gradient; use them, or leave them out"

    def test_weights_are_all_there_is(self) -> None:
        """Parameters and persistent buffers travel by name: another one with the same gives the same."""
        first, second = self._new(), self._new(seed=2)
        second.load_state_dict(first.state_dict())
        one, other = (_Work(built, _samples(), self.width) for built in (first, second))
        again = _Work(first, _samples(), self.width)
        for side, a, b, c in zip(
            ("encode", "decode"), one.both(), other.both(), again.both(), strict=True
        ):
            assert _close(a, c, 0.0), (
                f"{side} gives something else the second time; keep no state between passes"
            )
            assert _close(a, b, 1e-6), (
                f"{side} gives something else with the same weights; what a backbone learns or draws must be "
                "a parameter or a persistent buffer"
            )

    def test_steps_equal_one_pass(self) -> None:
        """Decoding position by position, with its own cache where it has one, gives what one pass gives."""
        built, samples = self._new(), [_sample(1), _sample(2), _sample(3)]
        work = _Work(built, samples, self.width)
        expected = work.rows(work.hidden)
        cached = isinstance(built, CachedBackbone)
        decoder: Any = built if cached else UncachedDecoder(built)  # type: ignore[arg-type]
        found = _by_steps(decoder, work, (1, 3, 1))
        assert _close(found, expected, self.tolerance), (
            "states of steps differ from those of one pass: extend must know all that decode sees "
            "(segments, coordinates, which row reads which source)"
            if cached
            else "states of a prefix change with what follows it: see test_later_positions_are_not_seen"
        )

    def test_its_cache_does_what_is_asked(self) -> None:
        """Rows that are dropped, doubled or forked, and segments that leave no trace."""
        built = self._new()
        if not isinstance(built, CachedBackbone):
            pytest.skip("it has no cache; ofacore.parts.UncachedDecoder serves")
        samples = [_sample(1), _sample(2), _sample(3)]
        work = _Work(built, samples, self.width)
        for told, script in _SCRIPTS.items():
            own, plain = (script(decoder, work) for decoder in (built, UncachedDecoder(built)))  # type: ignore[arg-type]
            assert _close(own, plain, self.tolerance), (
                f"{told}: states differ from those without a cache"
            )

    def test_divisions_have_their_members(self) -> None:
        """What the manifest says in ``divides`` the class can do."""
        built = self._new()
        for division in self.component("backbone", self.backbone).divides:
            wanted = _MEMBERS.get(division)
            assert wanted is None or isinstance(built, wanted), (
                f"the manifest says divides=({division!r},), but the class has not all members of "
                f"ofacore.protocols.{wanted.__name__}"  # type: ignore[union-attr]
            )

    def test_attention_is_given_as_asked(self) -> None:
        """Weights of cross-attention, where it gives any: for each layer asked for, of every row."""
        built = self._new(attention=(0,))
        if not isinstance(built, AttentionBackbone):
            pytest.skip("it gives no attention; criteria that need it are refused")
        work = _Work(built, _samples(), self.width)
        assert work.batch.target is not None
        layout = work.batch.target.layout
        groups = zip(layout.rows, layout.memory_rows, strict=True)
        shapes = [(*rows.shape, read.shape[1]) for rows, read in groups]
        found = [(w.shape[0], *w.shape[2:]) for w in built.attention.get(0, [])]
        assert found == shapes, (
            f"attention[0] has rows, L, K of {found}, not {shapes}: one [rows, heads, L, K] a group"
        )

    def _new(
        self,
        options: Mapping[str, Any] | None = None,
        seed: int = 1,
        attention: tuple[int, ...] = (),
    ) -> Any:
        registry = self.closed_registry()
        name = self.component("backbone", self.backbone).name
        given = self.options if options is None else options
        config = ModelConfig.model_validate(
            {**SIZES, **self.model, "backbone": name, "options": dict(given)}
        )
        modules = nn.ModuleDict({TOKENS: _OnALine(), GRID: _OnAGrid()})
        needs = ModelNeeds(tasks=(TASK,), attention_layers=attention)
        try:
            built = assembly.backbone(config, modules, needs, registry, seed)
        except UserError:
            if not attention:
                raise
            pytest.skip("it gives no attention; criteria that need it are refused")
        with torch.no_grad():
            for parameter in built.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(LARGER)
        self.width = assembly.sizes_of(config, registry).hidden
        return built.eval()


class _OnALine(nn.Module):
    axes = 1


class _OnAGrid(nn.Module):
    axes = 3


@dataclass(frozen=True)
class _Sample:
    """What a row would become; states are drawn by its seeds."""

    seed: int
    tokens: int = 5
    source: bool = True
    source_seed: int = 0
    changed_from: int = 0
    """Target states from here on are others; 0: none."""
    reverse: bool = False
    corrupted: bool = False
    """Its target begins with a segment that only sees itself."""
    noise: int = 0

    @property
    def hidden_positions(self) -> int:
        return 4 if self.corrupted else 0

    def example(self) -> Example:
        words = _piece("source", TOKENS, _line(3 + self.seed % 3))
        picture = _piece("source", GRID, _cells(2, 2) + words.length)
        source = ((words, picture),) if self.source else ()
        target = [_piece("target", TOKENS, _line(self.tokens) + self.hidden_positions, causal=True)]
        if self.corrupted:
            target.insert(0, _piece("target", GRID, _cells(2, 2), visible=False))
        return Example(TASK, str(self.seed), source, tuple(target), ())

    def states(self, side: Side, number: int, width: int) -> Tensor:
        seed = self.source_seed or self.seed
        if side == "source":
            drawn = _normal(2 * seed, number, width)
            return drawn.flip(0) if self.reverse else drawn
        states = _normal(2 * self.seed + 1, number, width)
        if self.changed_from:
            states[self.changed_from :] = _normal(
                1000 + self.seed, number - self.changed_from, width
            )
        if self.noise:
            states[: self.hidden_positions] = _normal(
                2000 + self.noise, self.hidden_positions, width
            )
        return states


def _sample(seed: int, **more: Any) -> _Sample:
    return _Sample(seed, **more)


def _samples() -> list[_Sample]:
    """Of different lengths, one without a source."""
    return [
        _sample(1),
        _sample(2, tokens=8),
        _sample(3, source=False, tokens=3),
        _sample(4),
        _sample(5, tokens=6),
    ]


class _Work:
    """A pass over some samples, and what came out."""

    def __init__(
        self,
        built: Any,
        samples: Sequence[_Sample],
        width: int,
        packing: bool = True,
        graph: bool = False,
    ) -> None:
        self.batch: Batch = collate([sample.example() for sample in samples], packing=packing)
        self.samples = samples
        self.source = self._states("source", width)
        self.target = self._states("target", width)
        self.memory: Tensor | None = None
        with torch.set_grad_enabled(graph):
            layout = None if self.batch.source is None else self.batch.source.layout
            if layout is not None:
                self.memory = _right("encode", built.encode(self.source, layout), self.source)
            assert self.batch.target is not None
            hidden = built.decode(self.target, self.batch.target.layout, self.memory, layout)
            self.hidden = _right("decode", hidden, self.target)

    def _states(self, side: Side, width: int) -> Tensor | None:
        held = getattr(self.batch, side)
        if held is None:
            return None
        with_side = [sample for sample in self.samples if side == "target" or sample.source]
        lengths = _lengths(held.layout)
        return torch.cat(
            [s.states(side, n, width) for s, n in zip(with_side, lengths, strict=True)]
        )

    def both(self) -> tuple[Tensor | None, Tensor]:
        """States of the source and of the target."""
        return self.memory, self.hidden

    def parts(self) -> list[tuple[Tensor, Tensor]]:
        """Of each sample its source's and its target's states; no rows where it has no source."""
        target = self.hidden.split(_lengths(self.batch.target.layout))  # type: ignore[union-attr]
        source: list[Tensor] = []
        if self.memory is not None and self.batch.source is not None:
            source = list(self.memory.split(_lengths(self.batch.source.layout)))
        nothing = self.hidden[:0]
        return [
            (source.pop(0) if s.source else nothing, own)
            for s, own in zip(self.samples, target, strict=True)
        ]

    def rows(self, stream: Tensor | None) -> Tensor:
        """Target stream of samples of equal length -> [R, n, ...]."""
        assert stream is not None
        return stream.unflatten(0, (len(self.samples), -1))


def _start(decoder: Any, work: _Work) -> Any:
    source = None if work.batch.source is None else work.batch.source.layout
    return decoder.start_cache(len(work.samples), work.memory, source, tasks=(TASK,))


def _feed(
    decoder: Any, cache: Any, states: Tensor, first: int, adapter: str = TOKENS, **more: Any
) -> Tensor:
    rows, n = states.shape[:2]
    places = torch.arange(first, first + n)[None, :, None].expand(rows, n, 3)
    found: Tensor = decoder.extend(states, places, cache, None, adapter, **more)
    return found


@torch.no_grad()
def _by_steps(decoder: Any, work: _Work, steps: Sequence[int]) -> Tensor:
    cache, states, found, first = _start(decoder, work), work.rows(work.target), [], 0
    for n in steps:
        found.append(_feed(decoder, cache, states[:, first : first + n], first))
        first += n
    return torch.cat(found, 1)


@torch.no_grad()
def _reordered(decoder: Any, work: _Work) -> Tensor:
    cache, states = _start(decoder, work), work.rows(work.target)
    _feed(decoder, cache, states[:, :2], 0)
    for order in ([0, 0, 2, 1, 1], [4, 0, 2]):
        rows = torch.tensor(order)
        cache.reorder(rows)
        states = states[rows]
        last = _feed(decoder, cache, states[:, 2:3], cache.length)
    assert cache.rows == 3
    return last


@torch.no_grad()
def _forked(decoder: Any, work: _Work) -> Tensor:
    cache, states = _start(decoder, work), work.rows(work.target)
    _feed(decoder, cache, states[:, :2], 0)
    twin = cache.fork()
    _feed(decoder, twin, states[:, 3:5], 2)
    twin.reorder(torch.tensor([2, 2, 2]))
    return _feed(decoder, cache, states[:, 2:4], 2)


@torch.no_grad()
def _untraced(decoder: Any, work: _Work) -> Tensor:
    cache, states = _start(decoder, work), work.rows(work.target)
    _feed(decoder, cache, states[:, :2], 0)
    looked = _feed(decoder, cache, states[:, 2:5], 2, GRID, causal=False, keep=False)
    assert cache.length == 2, "what is not kept must not count in `length`"
    kept = _feed(decoder, cache, states[:, :2], 2, GRID, causal=False)
    cache.begin_segment()
    return torch.cat([looked, kept, _feed(decoder, cache, states[:, 2:], 4)], 1)


@torch.no_grad()
def _uneven(decoder: Any, work: _Work) -> Tensor:
    cache, states = _start(decoder, work), work.rows(work.target)
    valid = torch.arange(3) < torch.tensor([3, 1, 2])[:, None]
    places = torch.arange(3)[None, :, None].expand(3, 3, 3)
    first = decoder.extend(states[:, :3], places, cache, valid, TOKENS)
    after = valid.sum(1)[:, None, None].expand(3, 1, 3)
    return torch.cat(
        [first[valid], decoder.extend(states[:, 3:4], after, cache, None, TOKENS)[:, 0]]
    )


_SCRIPTS = {
    "after reorder": _reordered,
    "after fork": _forked,
    "with segments that see themselves": _untraced,
    "with rows of unequal length (valid)": _uneven,
}


def _piece(
    side: Side, adapter: str, where: np.ndarray, causal: bool = False, visible: bool = True
) -> Piece:
    slot = SlotPlan(adapter, adapter.upper(), side, 0, adapter, adapter)
    features = {"nothing": np.zeros((len(where), 1), np.float32)}
    return Piece(slot, adapter, features, (len(where),), where, causal, visible)


def _line(number: int) -> np.ndarray:
    return np.repeat(np.arange(number)[:, None], 3, 1)


def _cells(rows: int, columns: int) -> np.ndarray:
    y, x = np.divmod(np.arange(rows * columns), columns)
    return np.stack([np.zeros_like(y), y, x], 1)


def _normal(seed: int, number: int, width: int) -> Tensor:
    return torch.randn(number, width, generator=torch.Generator().manual_seed(seed))


def _lengths(layout: Layout) -> list[int]:
    lengths: list[int] = torch.bincount(layout.sequence, minlength=layout.sequences).tolist()
    return lengths


def _close(one: Tensor | None, other: Tensor | None, tolerance: float) -> bool:
    if one is None or other is None or one.shape != other.shape:
        return one is other
    if not one.numel():
        return True
    largest = max(1.0, float(one.abs().max()))
    return float((one - other).abs().max()) <= tolerance * largest


def _right(name: str, found: Any, given: Tensor | None) -> Tensor:
    """What a method gave, which has one state for each position."""
    assert given is not None
    right = isinstance(found, Tensor) and found.shape == given.shape and found.dtype == given.dtype
    assert right, (
        f"{name} gave {_told(found)} for states {_told(given)}; give one state for each position"
    )
    return found  # type: ignore[no-any-return]


def _told(found: Any) -> str:
    return (
        f"{list(found.shape)} {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
    )
