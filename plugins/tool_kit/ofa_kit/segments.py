"""Checks of what a slot type says of its segments: to corruptions, to generators, to worker processes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence

import numpy as np
import pytest

from ofa_kit.bench import COLUMN, WRITE, SlotBench
from ofa_kit.compare import difference
from ofa_kit.modules import other_random_state
from ofacore.encoding.encoder import expected
from ofacore.protocols import Segment, TargetSpec, TokenSegment

FEW = 64 * 1024
"""Bytes of files by reference that are too few to matter."""


class SegmentChecks:
    """Checks of one slot type's segments."""

    def test_corruption_leaves_the_clean_segment(self, bench: SlotBench) -> None:
        """A corruption changes no array of what it gets, and draws everything from its generator."""
        slot = bench.slots.get(WRITE)
        if slot is None or not slot.corruption:
            pytest.skip("no corruption serves it")
        corrupt = bench.encoder(WRITE).corruptions[slot.corruption]
        for clean in _written(bench):
            before = copy.deepcopy(clean)
            with other_random_state(1):
                first = [corrupt(part, np.random.default_rng(7)) for part in clean]
            found = difference(before, clean, place="the clean segment")
            assert not found, (
                f"the corruption changed what it was given: {found}. Later slots and labels need the clean segment: "
                "copy arrays before you change them, and return dataclasses.replace(segment, ...)"
            )
            with other_random_state(2):
                second = [corrupt(part, np.random.default_rng(7)) for part in before]
            found = difference(first, second, place="what it made")
            assert not found, (
                f"the corruption made two things of one segment and one generator: {found}. Draw all random numbers "
                "from rng; not from `random`, np.random or torch"
            )

    def test_expected_targets_are_those_that_are_learned(self, bench: SlotBench) -> None:
        """What `expect` says of a value that is to be generated is what training shows the model."""
        if WRITE not in bench.slots:
            pytest.skip("it cannot be a target")
        slot, encoder = bench.slots[WRITE], bench.encoder(WRITE)
        corrupt = encoder.corruptions.get(slot.corruption)
        for row in bench.rows:
            ctx = bench.context(row, WRITE)
            spec = expected(bench.preprocessor, corrupt, slot, ctx)
            learned = bench.preprocessor.encode(ctx.row[COLUMN], slot, ctx)
            if corrupt is not None:
                learned = [corrupt(part, np.random.default_rng(0)) for part in learned]
            found = _unlike(spec, learned)
            assert not found, f"expect and encode do not agree on {row[COLUMN]!r:.60}: {found}"

    def test_files_by_reference_are_not_sent_to_workers(self, bench: SlotBench) -> None:
        """A worker process gets the path of a large file, not its content, also when it was opened before."""
        artifact = bench.assembly.artifacts.get(bench.slots[next(iter(bench.slots))].preprocessor)
        size = (
            sum(file.size for file in artifact.references.values()) if artifact is not None else 0
        )
        if size < FEW:
            pytest.skip("its artifact refers to no large file")
        for task in bench.slots:
            bench.examples(task)
            sent = len(pickle.dumps(bench.encoder(task)))
            assert sent < size // 2, (
                f"{sent} bytes are sent to each worker process, where a file of {size} is kept by reference: keep the "
                "artifact, open artifact.path(name) where it is first needed, and leave what was opened out in "
                "__getstate__"
            )


def _written(bench: SlotBench) -> list[list[Segment]]:
    """The clean segments of every row's learned value."""
    slot = bench.slots[WRITE]
    found = []
    for row in bench.rows:
        ctx = bench.context(row, WRITE)
        found.append(list(bench.preprocessor.encode(ctx.row[COLUMN], slot, ctx)))
    return found


def _unlike(spec: TargetSpec, segments: Sequence[Segment]) -> str:
    """Where an expectation is not what is learned, and what to write; empty: nowhere."""
    tokens = [part for part in segments if isinstance(part, TokenSegment)]
    blocks = {block for part in segments for block in part.blocks}
    if not blocks <= set(spec.blocks):
        return f"labels come from the blocks {sorted(blocks)}, TargetSpec.blocks are {list(spec.blocks)}"
    shifted = any(part.shift for part in tokens)
    if blocks and shifted != spec.shift:
        return f"TargetSpec.shift is {spec.shift}, but what is learned has shift={shifted} (dense segments: False)"
    if len(tokens) != 1 or len(segments) != 1:
        return ""
    own, told = tokens[0].coordinates, spec.coordinates
    if own is None or told is None:
        with_them = "the segment" if told is None else "the TargetSpec"
        return "" if own is told else f"{with_them} alone has coordinates; give both the same"
    return difference(own, told, place="coordinates of the segment")
