"""Checks of adapters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from ofa_kit.bench import SlotBench
from ofa_kit.compare import difference
from ofa_kit.declaration import DeclarationChecks
from ofa_kit.modules import embed, other_random_state, random_states
from ofa_kit.replicas import embed_and_differentiate, told_apart
from ofa_kit.slot_suite import SlotSuite
from ofacore.plugin import LoadError
from ofacore.protocols import Adapter, Piece, PositionGrid, seen_as

CLOSE = 1e-4
"""Largest difference of states that different ways of batching may cause by rounding."""


class AdapterChecks(SlotSuite):
    """Checks of the adapters that the values of a slot go through."""

    def test_length_and_coordinates_are_pure_and_right(self, bench: SlotBench) -> None:
        """They are known before any weight exists: equal for equal shapes, and as many as `embed` returns rows."""
        for name, piece in _distinct(bench):
            geometry = bench.geometry(name)
            where = f"adapter '{name}', shape {piece.shape}"
            before = random_states()
            with other_random_state(1):
                lengths = [geometry.adapter.length(piece.shape, geometry.options)]
                places = [geometry.coordinates(piece.shape)]
            with other_random_state(2):
                lengths.append(geometry.adapter.length(piece.shape, geometry.options))
                places.append(geometry.coordinates(piece.shape))
            assert lengths[0] == lengths[1] and np.array_equal(places[0], places[1]), (
                f"{where}: length and coordinates must be pure: they gave {lengths} and "
                f"{difference(places[0], places[1]) or 'equal coordinates'} for the same shape; use the shape and "
                "the options alone"
            )
            assert before == random_states(), (
                f"{where}: length or coordinates drew random numbers; they may not"
            )
            _check_coordinates(places[0], lengths[0], where)
            with torch.no_grad():
                rows = embed(bench.module(name), [piece])
            assert rows.dim() == 2 and len(rows) == lengths[0], (
                f"{where}: length says {lengths[0]}, but embed returned {tuple(rows.shape)}; embed returns one row "
                "[hidden] for each position, all segments below each other: [sum of lengths, hidden]"
            )

    def test_batch_of_one_equals_row_of_a_batch(self, bench: SlotBench) -> None:
        """What a value is embedded as does not depend on what is embedded with it."""
        for name, pieces in bench.groups:
            if bench.registry.component("adapter", name).batch_coupled:
                continue
            module = bench.module(name)
            with torch.no_grad():
                together = _split(embed(module, pieces), bench, pieces)
                alone = [embed(module, [piece]) for piece in pieces]
            for i, (one, row) in enumerate(zip(alone, together, strict=True)):
                found = difference(one, row, CLOSE, "its states")
                assert not found, (
                    f"adapter '{name}': segment {i} is embedded differently beside others than alone: {found}. Compute "
                    "every segment from its own features (split them by the shapes), with no mean, maximum or "
                    "normalisation over the batch; if that is meant, set batch_coupled=True on its Component"
                )
            _check_statistics(module, name)

    def test_order_and_padding_do_not_matter(self, bench: SlotBench) -> None:
        """Segments can come in any order, beside longer ones and shorter ones."""
        for name, pieces in bench.groups:
            if bench.registry.component("adapter", name).batch_coupled:
                continue
            module = bench.module(name)
            with torch.no_grad():
                forward = _split(embed(module, pieces), bench, pieces)
                backward = _split(embed(module, pieces[::-1]), bench, pieces[::-1])[::-1]
            for i, (first, second) in enumerate(zip(forward, backward, strict=True)):
                found = difference(first, second, CLOSE, "its states")
                assert not found, (
                    f"adapter '{name}': segment {i} is embedded differently when the segments come in reverse order: "
                    f"{found}. Return the states in the order of `shapes`; if embed pads to the longest segment, mask "
                    "the padding out"
                )

    def test_state_dict_round_trip(self, bench: SlotBench) -> None:
        """Everything that an adapter computes with is in its state dict."""
        for name, pieces in bench.groups:
            first, second = bench.module(name, seed=1), bench.module(name, seed=2)
            missing, unexpected = second.load_state_dict(first.state_dict(), strict=False)
            assert not missing and not unexpected, (
                f"adapter '{name}': two instances with the same options have different "
                f"parameters: {missing + unexpected}; make the same modules in every __init__"
            )
            with torch.no_grad():
                found = difference(embed(first, pieces), embed(second, pieces), 1e-6, "its states")
            assert not found, (
                f"adapter '{name}': loading the state dict of another instance does not give the "
                f"same states: {found}. A tensor is in no state dict: wrap it in nn.Parameter, or "
                "self.register_buffer(...), or make it from constants alone"
            )

    def test_gradients_are_finite(self, bench: SlotBench) -> None:
        """The states have a finite gradient with respect to every parameter they depend on."""
        for name, pieces in bench.groups:
            module = bench.module(name).train()
            states = embed(module, pieces)
            assert bool(states.isfinite().all()), (
                f"adapter '{name}': some states are not finite; look for a division by zero, or scale the features"
            )
            trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
            if not trained:
                continue
            assert states.requires_grad, (
                f"adapter '{name}': the states have no gradient although it has parameters; remove detach(), .data and "
                "torch.no_grad() from embed, or freeze the parameters"
            )
            states.float().square().sum().backward()
            bad = [
                n
                for n, p in trained.items()
                if p.grad is not None and not bool(p.grad.isfinite().all())
            ]
            assert not bad, (
                f"adapter '{name}': the gradient of {bad} is not finite; look for sqrt, log or norm of zero"
            )
            unused = [n for n, p in trained.items() if p.grad is None]
            assert len(unused) < len(trained), (
                f"adapter '{name}': no parameter gets a gradient: {unused}"
            )

    def test_optional_members_are_what_the_core_takes(self, bench: SlotBench) -> None:
        """What an adapter says of its positions, its communication and its stored options has the right form."""
        for name, pieces in bench.groups:
            seen = seen_as(Adapter, bench.module(name))
            assert seen.axes in (1, 3), (
                f"adapter '{name}': axes = {seen.axes!r}; 1 for positions on a line, or 3"
            )
            for piece in pieces if seen.axes == 1 else ():
                places = bench.geometry(name).coordinates(piece.shape)
                equal = bool((places == places[:, :1]).all())
                assert equal, (
                    f"adapter '{name}': axes = 1, but its coordinates differ by axis; leave axes out"
                )
            assert isinstance(seen.collective, bool), (
                f"adapter '{name}': collective = {seen.collective!r}; True where its forward pass communicates"
            )
            _check_grid(seen.grid, [(name, piece) for piece in pieces], bench)
            _check_stored_options(name, bench)

    @pytest.mark.dist
    def test_tensor_parallel_ranks_agree(
        self, bench: SlotBench, run_distributed: Callable[..., Any]
    ) -> None:
        """With two tensor-parallel ranks an adapter computes what it computes on one."""
        own = {part.name for part in self.manifest().components if part.kind == "adapter"}
        groups = [(name, pieces) for name, pieces in bench.groups if name in own]
        if not groups:
            pytest.skip("its adapter is another plugin's, whose own tests check it")
        for name, pieces in groups:
            geometry = bench.geometry(name)
            state = {key: value.numpy() for key, value in bench.module(name).state_dict().items()}
            known = bench.assembly.vocabulary, dict(bench.assembly.artifacts)
            arguments = (geometry.adapter, dict(geometry.options), *known, state, pieces)
            expected = embed_and_differentiate(*arguments)
            for rank, found in enumerate(
                run_distributed(embed_and_differentiate, 2, *arguments, tensor=2)
            ):
                wrong = told_apart(expected, found, CLOSE)
                assert not wrong, (
                    f"adapter '{name}': rank {rank} of 2 tensor-parallel ranks differs from one "
                    f"process: {wrong}. Plugin modules are replicated: every rank gets the same "
                    "features and computes the same; use no torch.distributed, no rank number and "
                    "no parallel layers in embed"
                )


class AdapterConformance(AdapterChecks, DeclarationChecks):
    """Checks of one adapter on values of a slot type.

    Attributes:
        adapter: Name of the adapter component.
        options: In place of the options that its component declares. Default: none.
    """

    adapter: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}

    def model_keys(self) -> Mapping[str, Any]:
        """With the adapter's options."""
        given = dict(self.model.get("adapters", {}))
        return {
            **self.model,
            "adapters": {**given, self.adapter: {**given.get(self.adapter, {}), **self.options}},
        }

    def bench(self) -> SlotBench:
        """The slot, embedded by this adapter."""
        component = self.component("adapter", self.adapter)
        try:
            self.closed_registry().load("adapter", component.name)
        except LoadError as error:
            pytest.fail(f"{error}; correct the component's target", pytrace=False)
        return SlotBench(self, adapter=self.adapter)


def _check_grid(grid: object, found: list[tuple[str, Piece]], bench: SlotBench) -> None:
    for name, piece in found if grid is not None else ():
        assert isinstance(grid, PositionGrid), (
            f"adapter '{name}': grid is a {type(grid).__name__}, not a PositionGrid"
        )
        highest = bench.geometry(name).coordinates(piece.shape).max(0, initial=0)
        rows, columns = grid.rows + grid.class_token, grid.columns + grid.class_token
        assert highest[1] < rows and highest[2] < columns, (
            f"adapter '{name}': a cell stands at (y, x) = ({highest[1]}, {highest[2]}), outside its grid of "
            f"{grid.rows} rows and {grid.columns} columns; give the grid that its positions need"
        )


def _check_stored_options(name: str, bench: SlotBench) -> None:
    options = bench.assembly.adapter_options(name)
    before = copy.deepcopy(options)
    reduce = seen_as(Adapter, bench.registry.load("adapter", name)).stored_options
    stored = reduce(options)
    assert options == before, (
        f"adapter '{name}': stored_options changed what it was given; return a new dict"
    )
    unknown = sorted(set(stored) - set(bench.registry.component("adapter", name).options))
    assert not unknown, (
        f"adapter '{name}': stored_options gives {unknown}, which its component does not declare"
    )
    assert reduce(stored) == stored, (
        f"adapter '{name}': stored_options of what is stored is something else; a model is stored again after loading"
    )


def _distinct(bench: SlotBench) -> Iterator[tuple[str, Piece]]:
    """One piece for each adapter and shape."""
    seen = set()
    for name, pieces in bench.groups:
        for piece in pieces:
            if (name, piece.shape) not in seen:
                seen.add((name, piece.shape))
                yield name, piece


def _check_coordinates(places: np.ndarray, length: int, where: str) -> None:
    assert places.ndim == 2 and places.shape == (length, 3) and places.dtype.kind in "iu", (
        f"{where}: coordinates has shape {places.shape} and type {places.dtype}, but length says "
        f"{length}: return int64 [length, 3], a row (t, y, x) for every position"
    )
    assert not length or int(places.min()) == 0, (
        f"{where}: the smallest coordinate is {places.min()}; count from 0, the core moves a segment to its place"
    )


def _split(states: torch.Tensor, bench: SlotBench, pieces: list[Piece]) -> list[torch.Tensor]:
    lengths = [piece.length for piece in pieces]
    assert len(states) == sum(lengths), (
        f"embed returned {len(states)} rows for segments of {lengths} positions; return one row for each position"
    )
    return list(states.split(lengths))


def _check_statistics(module: torch.nn.Module, name: str) -> None:
    module.train()
    norms = [
        key
        for key, part in module.named_modules()
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm) and part.training
    ]
    module.eval()
    assert not norms, (
        f"adapter '{name}': in training {norms} normalises over the batch, so the gradient depends on how samples are "
        "batched; keep the layer in evaluation mode, take LayerNorm, or set batch_coupled=True on its Component"
    )
