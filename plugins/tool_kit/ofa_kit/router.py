"""Checks of routers: what chooses the feed-forward experts of each position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from ofa_kit.declaration import DeclarationChecks
from ofa_kit.modules import HIDDEN, other_random_state, random_states
from ofacore.contract.batch import LayoutFacts
from ofacore.model.backbone.routing import RouterChoice
from ofacore.plugin.blame import who
from ofacore.protocols import Layout, Routes

NAMES = ("first", "second", "third")
"""Adapters of the layout that is tried, and its tasks."""
NUMBER = 4
LENGTHS = (7, 3, 5)


class RouterConformance(DeclarationChecks):
    """Checks of one router, on a stream of three sequences whose positions are of three adapters and tasks.

    Attributes:
        router: Name of the router component.
        options: In place of the options that its component declares. Default: none.
        k: Experts for each position that the configuration asks for. Default: 1 and 2.
    """

    router: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}
    k: ClassVar[Sequence[int]] = (1, 2)

    def test_can_be_built_from_declared_options(self) -> None:
        """The options of the component are those that the class takes."""
        declared = self.component("router", self.router).options
        unknown = sorted(set(self.options) - set(declared))
        assert not unknown, (
            f"options {unknown} are not declared: add them with defaults to Component(options={{...}})"
        )
        self._made()

    def test_every_position_has_experts_that_exist(self) -> None:
        """Experts from 0 to ``number - 1``, as many gates, and a loss that is one number."""
        for k in self.k:
            for lengths in (LENGTHS, (1,)):
                routes = self._routes(self._made(k), stream(lengths))
                if routes.loss is not None:
                    finite = routes.loss.numel() == 1 and bool(routes.loss.isfinite().all())
                    assert finite, f"its loss is {routes.loss!r:.60}; give one finite number"

    def test_a_position_has_different_experts(self) -> None:
        """One expert twice is half the work for nothing."""
        for k in self.k:
            experts = self._routes(self._made(k), stream(LENGTHS)).experts
            for row in experts.tolist():
                assert len(set(row)) == len(row), (
                    f"a position goes to the experts {row}; choose different ones (torch.topk does)"
                )

    def test_counts_are_those_of_the_experts(self) -> None:
        """``counts`` spare the host a question, so they have to be right."""
        for k in self.k:
            routes = self._routes(self._made(k), stream(LENGTHS))
            if routes.counts is not None:
                found = torch.bincount(routes.experts.flatten(), minlength=self._number()).tolist()
                assert list(routes.counts) == found, (
                    f"counts say {list(routes.counts)}, but its experts have {found} positions; count them, or leave "
                    "counts out"
                )

    def test_needs_no_facts_of_the_host(self) -> None:
        """`Layout.facts` may be None: then nothing but the tensors is known."""
        made, layout = self._made(), stream(LENGTHS)
        known, unknown = self._routes(made, layout), self._routes(made, replace(layout, facts=None))
        assert torch.equal(known.experts, unknown.experts), (
            "without layout.facts it chooses other experts; facts say what the tensors say, faster"
        )

    def test_chooses_alike_while_a_target_is_produced(self) -> None:
        """There ``segment``, ``causal`` and ``visible`` are zeros, so experts may not depend on them."""
        made, layout = self._made(), stream(LENGTHS)
        zeros = torch.zeros_like(layout.segment)
        producing = replace(layout, segment=zeros, causal=zeros.bool(), visible=zeros.bool())
        same = torch.equal(
            self._routes(made, layout).experts, self._routes(made, producing).experts
        )
        assert same, (
            "with segment, causal and visible of zeros, as they are while a target is produced, it chooses other "
            "experts than in training; leave these three alone"
        )

    def test_draws_no_random_numbers_in_evaluation(self) -> None:
        """The same states go to the same experts, or an answer would not repeat."""
        made, layout = self._made(), stream(LENGTHS)
        before = random_states()
        first = self._routes(made, layout).experts
        assert before == random_states(), (
            "global random numbers were drawn: add noise where self.training holds, and nowhere else"
        )
        with other_random_state(3):
            again = self._routes(made, layout).experts
        assert torch.equal(first, again), "the same states go to other experts when asked again"

    def test_experts_go_by_name(self) -> None:
        """Experts of adapters or tasks keep theirs where the names joined in another order."""
        if self._kind() == "numbers":
            pytest.skip("its experts are numbers")
        assert self._chosen(NAMES) == self._chosen(NAMES[::-1]), (
            "with names in another order positions go to other experts: an expert is the place of its name in "
            "options['names'], not layout.adapter or layout.task itself"
        )

    def test_what_it_learns_has_gradients(self) -> None:
        """Every parameter takes part in the gates or the loss."""
        for k in self.k:
            router = self._made(k)
            if not isinstance(router, nn.Module):
                pytest.skip("it is no module, so it learns nothing")
            routes = self._routes(router, stream(LENGTHS))
            told = [part.float().sum() for part in (routes.gates, routes.loss) if part is not None]
            if told and any(part.requires_grad for part in told):
                sum(told).backward()  # type: ignore[union-attr]
            without = [name for name, p in router.named_parameters() if p.grad is None]
            assert not without, (
                f"with k={k} the parameters {without} get no gradient: give gates that depend on them, or a loss"
            )

    def _chosen(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """Names of the experts of each position."""
        routes = self._routes(self._made(names=names), stream(LENGTHS))
        return [tuple(map(names.__getitem__, row)) for row in routes.experts.tolist()]

    def _kind(self) -> str:
        return self._choice().experts

    def _number(self) -> int:
        return NUMBER if self._kind() == "numbers" else len(NAMES)

    def _choice(self) -> RouterChoice:
        registry = self.closed_registry()
        name = self.component("router", self.router).name
        declared = registry.component("router", name).options
        options = {**declared, **self.options}
        return RouterChoice(who(registry, "router", name), registry.load("router", name), options)

    def _made(self, k: int = 1, names: Sequence[str] = NAMES) -> Any:
        choice = self._choice()
        own = names if choice.experts != "numbers" else [str(number) for number in range(NUMBER)]
        with other_random_state(1):
            made = choice.made(own, HIDDEN, k)
            if isinstance(made, nn.Module):
                made.eval()
                for parameter in made.parameters():
                    if parameter.dim() > 1:
                        nn.init.normal_(parameter, std=0.5)
        return made

    def _routes(self, router: Any, layout: Layout) -> Routes:
        """Its answer, of the shapes that the core takes."""
        choice = self._choice()
        states = states_of(layout) if choice.by_layer else None
        try:
            choice.routing(router, layout, states, self._number())
        except ValueError as error:
            pytest.fail(f"{error}; see ofacore.protocols.Router", pytrace=False)
        return Routes(*router(layout, states))


def states_of(layout: Layout) -> Tensor:
    """States [N, H] of a layer, the same whenever they are asked for."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(layout.positions, HIDDEN, generator=generator)


def stream(lengths: Sequence[int]) -> Layout:
    """Sequences of those lengths; adapters and tasks of positions take turns."""
    total, number = sum(lengths), len(lengths)
    sequence = torch.repeat_interleave(torch.arange(number), torch.tensor(lengths))
    place = torch.cat([torch.arange(length) for length in lengths])
    rows = torch.full((number, max(lengths)), -1)
    rows[sequence, place] = torch.arange(total)
    turns = torch.arange(total) % len(NAMES)
    counts = tuple(torch.bincount(turns, minlength=len(NAMES)).tolist())
    return Layout(
        sequence=sequence,
        segment=torch.arange(total),
        coordinates=place[:, None].expand(-1, 3).contiguous(),
        causal=torch.ones(total, dtype=torch.bool),
        visible=torch.ones(total, dtype=torch.bool),
        adapter=turns,
        adapters=NAMES,
        task=turns,
        tasks=NAMES,
        slots=tuple("slot" for _ in range(total)),
        rows=(rows,),
        sequences=number,
        facts=LayoutFacts((False,), None, counts, counts),  # type: ignore[arg-type]
    )
