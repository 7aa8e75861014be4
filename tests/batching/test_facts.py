"""What the host knows of a micro-batch is what the tensors say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ofacore.contract.batch import RowPlaces
from ofacore.model.backbone.attention_rows import cross_groups, places_of, self_groups, stream_of
from ofacore.protocols import Batch
from tests.device.on_a_pretended_gpu import made, steps


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    model = made()
    return [
        batch for samples in (0, 1, 3) for step in steps(model, samples) for batch in step.batches
    ]


def same(known: RowPlaces, asked: RowPlaces) -> bool:
    pairs = ((known.index, asked.index), (known.inverse, asked.inverse))
    return all(
        a is None and b is None or a is not None and b is not None and torch.equal(a, b)
        for a, b in pairs
    )


def test_facts_of_a_batch_are_those_of_its_tensors(batches: list[Batch]) -> None:
    seen = set()
    for batch in batches:
        sides = {"source": batch.source, "target": batch.target}
        for name, side in sides.items():
            if side is None or side.layout.facts is None:
                continue
            layout, facts = side.layout, side.layout.facts
            stream = stream_of(layout, layout.adapters, ())
            asked = self_groups(replace(layout, facts=None), stream, name == "source")
            assert facts.full == tuple(group.mask is None for group in asked)
            assert same(facts.places, places_of(layout.rows, layout.positions))
            assert facts.adapters == tuple(
                torch.bincount(layout.adapter, minlength=len(layout.adapters)).tolist()
            )
            assert facts.tasks == tuple(
                torch.bincount(layout.task, minlength=len(layout.tasks)).tolist()
            )
            index = torch.cat([call.index for call in side.calls])
            assert side.in_order == torch.equal(index, torch.arange(len(index)))
            assert side.order is None or torch.equal(side.order, torch.argsort(index))
            seen |= {("full", value) for value in facts.full}
        if batch.source is not None and batch.target is not None:
            source, target = batch.source.layout, batch.target.layout
            streams = [stream_of(layout, layout.adapters, ()) for layout in (target, source)]
            read = cross_groups(replace(target, facts=None), streams[0], source, streams[1])
            facts = target.facts
            assert facts is not None and facts.memory_places is not None
            assert facts.memory_full == tuple(group.mask is None for group in read)
            assert facts.memory_blind == tuple(group.blind is not None for group in read)
            assert same(
                facts.memory_places, places_of(target.memory_rows, source.positions, once=False)
            )
            seen |= {("memory", value) for value in facts.memory_full}
            seen |= {("blind", value) for value in facts.memory_blind}
        for group in batch.terms:
            side = sides[group.side]
            assert side is not None
            everything = torch.arange(side.layout.positions)
            assert group.whole == torch.equal(group.index, everything)
            seen.add(("whole", group.whole))
    assert {
        ("full", True),
        ("full", False),
        ("memory", True),
        ("blind", True),
        ("blind", False),
    } <= seen, seen
