"""Checks of modalities."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofa_kit.adapter import CLOSE, AdapterChecks
from ofa_kit.bench import COLUMN, OTHER, READ, WRITE, SlotBench
from ofa_kit.compare import difference
from ofa_kit.declaration import DeclarationChecks
from ofa_kit.learning import APART, STEPS, learned_and_turned, several_positions
from ofa_kit.losses import losses, losses_of, own_parameters, total
from ofa_kit.memory import growth
from ofa_kit.modules import other_random_state
from ofa_kit.replicas import digest, encode_digests
from ofa_kit.segments import SegmentChecks
from ofa_kit.slot_type import SlotTypeChecks, written_attributes
from ofacore.batching.collate import collate
from ofacore.evaluation.references import TargetValues
from ofacore.generalist.facade import Generalist
from ofacore.ground.errors import UserError
from ofacore.plan.generation import taken_by, target_slots
from ofacore.protocols import (
    AsDecoded,
    BuiltOnOthers,
    FileWriting,
    Growing,
    Hypothesis,
    RowContext,
    RowError,
    SlotPlan,
)
from ofacore.setup.assembly import Assembly
from ofacore.setup.bound_neighbours import neighbours

BATCHES = 80
LEAK = 256
"""Bytes a batch that memory may grow by."""
SLACK = 32 * 1024
"""Bytes besides, which a library may allocate at any time."""
QUICK = {"max_length": 8, "steps": 2}
"""Options that keep generation short, for generators that have them."""


class ModalityConformance(SlotTypeChecks, SegmentChecks, AdapterChecks, DeclarationChecks):
    """Checks of one slot type and everything that serves it. Settings: `ofa_kit.slot_suite.SlotSuite`."""

    def test_round_trip(self, bench: SlotBench) -> None:
        """What was encoded is decoded to the same value."""
        slot = _written_slot(bench)
        for value in bench.values:
            ctx = bench.context({**bench.rows[0], COLUMN: value}, WRITE)
            bench.preprocessor.expect(slot, ctx)
            segments = bench.preprocessor.encode(ctx.row[COLUMN], slot, ctx)
            decoded = bench.preprocessor.decode(
                Hypothesis(bench.suite.hypothesis(segments)), slot, ctx
            )
            found = bench.suite.compare(value, decoded)
            assert not found, (
                f"{value!r:.80} is not the same after encode and decode: {found}. decode undoes "
                "what encode and the row transform did, in the caller's units; if a loss is "
                "meant, set tolerance or override compare"
            )

    def test_references_look_like_answers(self, bench: SlotBench) -> None:
        """What metrics get as a reference is what a faultless answer would be, whatever the slot's attributes ask."""
        _written_slot(bench)
        for written in ("", *written_attributes(bench, WRITE)):
            for row in bench.rows:
                _check_reference(bench, row, written)
        preprocessor = bench.preprocessor
        if not isinstance(preprocessor, AsDecoded):
            return
        for bad in bench.suite.bad_values:
            slot, ctx = bench.slots[WRITE], bench.context(bench.rows[0], WRITE, "test")
            try:
                preprocessor.as_decoded(bad, slot, ctx)
            except RowError:
                continue
            raise AssertionError(
                f"as_decoded accepted {bad!r:.60}, which is no {bench.slot_type.name}: raise a RowError, so that a row "
                "with a bad reference is left out and named"
            )

    def test_encoding_is_deterministic(self, bench: SlotBench) -> None:
        """An encoded row depends on the row and its generator alone."""
        for task in bench.slots:
            for row in bench.rows:
                with other_random_state(1):
                    first = digest(bench.example(task, row, "train", seed=3))
                with other_random_state(2):
                    second = digest(bench.example(task, row, "train", seed=3))
                assert first == second, (
                    f"encoding {row[COLUMN]!r:.60} twice with the same generator gave different "
                    "features: draw all random numbers from ctx.rng; not from `random`, np.random "
                    "or torch, and keep nothing from call to call"
                )

    def test_values_are_left_as_they_are(self, bench: SlotBench) -> None:
        """Encoding changes neither the value nor the row."""
        for task in bench.slots:
            for row in bench.rows:
                before = copy.deepcopy(row)
                bench.example(task, row, "train")
                found = (
                    bench.suite.compare(before[COLUMN], row[COLUMN])
                    if set(before) == set(row)
                    else "its columns"
                )
                assert not found, (
                    f"encoding changed the row that it was given: {found}. Rows are used again in the next epoch: copy "
                    "arrays before you change them in place"
                )

    def test_bad_values_are_refused_by_name(self, bench: SlotBench) -> None:
        """A value that cannot be used raises a `RowError` that says what is wrong."""
        for task, slot in bench.slots.items():
            for bad in bench.suite.bad_values:
                said = _refusal(bench, slot, bench.context(bench.rows[0], task), bad)
                assert len(said) > 10, (
                    f"the refusal of {bad!r:.60} says only {said!r}: name the column (slot.name) and what would be "
                    "right"
                )

    def test_worker_processes_encode_the_same(
        self, bench: SlotBench, run_distributed: Callable[..., Any]
    ) -> None:
        """The encoder reaches worker processes, and their number does not change what it makes."""
        for task in bench.slots:
            encoder = bench.encoder(task)
            try:
                pickle.dumps(encoder)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                pytest.fail(
                    f"the preprocessor cannot be sent to a worker process: {error}. Keep no lambda, local function, "
                    "open file or lock in it, or leave it out in __getstate__; is_element of the slot type is a "
                    "function at the top level of its module, no lambda",
                    pytrace=False,
                )
            here = encode_digests(encoder, bench.rows, 5, False)
            there = run_distributed(encode_digests, 2, encoder, bench.rows, 5, True)
            joined = [first or second for first, second in zip(*there, strict=True)]
            assert here == joined, (
                "two worker processes encode rows differently from one process: everything encode needs must be in the "
                "preprocessor after fit and bind (no module-level state), and depend on nothing that earlier rows left"
            )

    def test_restored_preprocessor_encodes_the_same(self, bench: SlotBench) -> None:
        """What `fit` learned is in the artifact: a loaded model encodes as the one that was saved."""
        state = bench.assembly.state()
        restored = Assembly.restore(state, bench.assembly.artifacts, bench.registry)
        for task in bench.slots:
            for row in bench.rows:
                rng = np.random.default_rng(0)
                example = restored.encoders[task].encode(
                    row, split="valid", rng=rng, row_id="values"
                )
                assert digest(example) == digest(bench.example(task, row)), (
                    f"a preprocessor that got its artifact by bind encodes {row[COLUMN]!r:.60} "
                    "differently from the one that was fitted: put everything fit learns into the "
                    "artifact, and read it in bind"
                )

    def test_batches_do_not_change_losses(self, bench: SlotBench) -> None:
        """Loss and prediction of a sample are the same alone and in a batch."""
        for task in bench.slots:
            examples = bench.examples(task)
            together = losses(bench, collate(examples))
            for i, example in enumerate(examples):
                for term, value in losses(bench, collate([example])).items():
                    found = difference(
                        value, together[i, term[1]], CLOSE * max(1.0, abs(value)), "its loss"
                    )
                    assert not found, (
                        f"task '{bench.instruction(task)}': sample {i} has another loss in a "
                        f"batch than alone: {found}. Head and criterion may not mix items: split "
                        "by ctx.lengths, and return one sum for each item"
                    )

    def test_packing_changes_nothing(self, bench: SlotBench) -> None:
        """Samples that share a row of the attention matrix do not see each other."""
        for task in bench.slots:
            examples = bench.examples(task)
            packed, apart = (
                losses(bench, collate(examples, packing=packing)) for packing in (True, False)
            )
            for key, value in apart.items():
                found = difference(value, packed[key], CLOSE * max(1.0, abs(value)), "its loss")
                assert not found, (
                    f"task '{bench.instruction(task)}': sample {key[0]} has another loss when "
                    f"rows are packed: {found}. Do not rely on the order or number of segments in "
                    "a call"
                )

    def test_absent_from_a_step(self, bench: SlotBench) -> None:
        """A step without the slot type neither calls nor changes anything of it, and is not changed by it."""
        model = bench.model
        others = bench.examples(OTHER)
        alone = losses(bench, collate(others))
        mixed = losses(bench, collate([*others, *bench.examples(READ)]))
        worst = next(
            filter(None, (difference(v, mixed[k], CLOSE, "its loss") for k, v in alone.items())), ""
        )
        assert not worst, (
            f"a sample without {bench.slot_type.name} has another loss when the batch holds one: "
            f"{worst}. An adapter may change nothing but the states it returns"
        )
        before = copy.deepcopy(model.state_dict())
        model.train()
        model.zero_grad(set_to_none=True)
        total(model, collate(others)).backward()
        model.eval()
        touched = sorted(name for name, p in own_parameters(bench) if p.grad is not None)
        model.zero_grad(set_to_none=True)
        assert not touched, (
            f"a step without any {bench.slot_type.name} gave a gradient to {touched}: parameters "
            "may be used in embed, in the head and in the criterion only; remove hooks on shared "
            "modules"
        )
        moved = [
            n
            for n, v in model.state_dict().items()
            if torch.is_tensor(v) and not torch.equal(v, before[n])
        ]
        assert not moved, (
            f"a step without any {bench.slot_type.name} changed {moved}; change buffers in embed only"
        )

    def test_trains_and_answers(self, bench: SlotBench, tmp_path: Path) -> None:
        """Two steps of training run, losses are finite, and a target can be generated and shown."""
        model = Generalist(bench.assembly, bench.model_of(seed=1), bench.data)
        model.fit(2, out=tmp_path, samples=6, trackers=[], log_every=1, threads=1, precision="fp32")
        batch = collate([example for task in bench.slots for example in bench.examples(task)])
        with torch.no_grad():
            assert all(np.isfinite(value) for value in losses_of(model.model, batch).values()), (
                "after two steps a loss is not finite: scale the features to the range of -1 to 1, or the loss by "
                "its count"
            )
        if WRITE in bench.slots:
            self._answer(model, bench)

    def test_positions_can_be_learned(self, bench: SlotBench) -> None:
        """Of a target whose positions are predicted at once, each is learned for itself."""
        slot = _written_slot(bench)
        if slot.corruption:
            pytest.skip("its noise tells the positions of a target apart")
        example = several_positions(bench)
        if example is None:
            pytest.skip(
                "none of the values has several unequal positions that are predicted at once"
            )
        right, turned = learned_and_turned(bench, example)
        assert turned - right > APART * max(abs(turned), abs(right)), (
            f"after {STEPS} steps on one value its loss is {right:.4g}, and {turned:.4g} for the same numbers in "
            "reverse order: all positions of a target get the same answer. They bring equal features, so embed must "
            "tell them apart: add an embedding of each position's number, torch.arange(n) for (n,) in shapes"
        )

    def _answer(self, model: Generalist, bench: SlotBench) -> None:
        """Generate a value for a row that holds one, which says how long it is, and show it."""
        try:
            slots = target_slots(model.plan(WRITE))
            output = model.infer(WRITE, bench.rows[0], **taken_by(slots, bench.registry, QUICK))
        except UserError as error:
            raise AssertionError(f"a value could not be generated: {error}") from error
        _check_html(output.html())

    def test_values_can_be_shown(self, bench: SlotBench) -> None:
        """`render` gives a self-contained piece of HTML."""
        for row in bench.rows:
            _check_html(bench.preprocessor.render(row[COLUMN], bench.context(row)))

    def test_values_can_be_saved(self, bench: SlotBench, tmp_path: Path) -> None:
        """Where values become files, an ending that is none of theirs is a ValueError, and no file is left out."""
        if not isinstance(bench.preprocessor, FileWriting):
            return
        for number, row in enumerate(bench.rows):
            path = tmp_path / f"{number}.no-such-ending"
            try:
                bench.preprocessor.save(row[COLUMN], bench.context(row), path)
            except (ValueError, OSError):
                continue
            except Exception as error:
                raise AssertionError(
                    f"save of '{path.name}' raised {error!r}: raise a ValueError that names the endings there are"
                ) from error
            assert path.exists(), (
                f"save of '{path.name}' wrote nothing and raised nothing: raise a ValueError"
            )

    def test_published_values_are_typed(self, bench: SlotBench) -> None:
        """What a slot publishes are instances of frozen dataclasses."""
        for task, slot in bench.slots.items():
            for row in bench.rows:
                ctx = bench.context(row, task)
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    bench.preprocessor.encode(ctx.row[COLUMN], slot, ctx)
                    if task == WRITE:
                        bench.preprocessor.expect(slot, ctx)
                told = [
                    str(one.message)
                    for one in caught
                    if issubclass(one.category, DeprecationWarning)
                ]
                assert not any("ctx.published" in text for text in told), (
                    f"{bench.slot_type.name} publishes a dict: {told[0]}, whose Type is a frozen dataclass with a "
                    "sentence for each field"
                )

    def test_others_get_what_they_understand(self, bench: SlotBench) -> None:
        """A preprocessor that builds on others hands values on to them that they can encode."""
        built = bench.preprocessor
        if not isinstance(built, BuiltOnOthers):
            return
        slot, ctx = bench.slots[READ], bench.context(bench.rows[0])
        for name in bench.serving.builds_on:
            other = neighbours(bench.serving.name, bench.registry, bench.assembly)[name]
            handed = [part for value in bench.values for part in built.handed_on(name, value, slot)]
            assert handed, (
                f"handed_on gives nothing for '{name}', which is then fitted on nothing: give what encode gives to it"
            )
            for part in handed:
                try:
                    other.encode(part, slot, ctx)
                except Exception as error:
                    raise AssertionError(
                        f"handed_on gives {part!r:.60} for '{name}', which does not take it: {error}"
                    ) from error

    def test_growing_keeps_what_older_tasks_have(self, bench: SlotBench) -> None:
        """What a preprocessor learns for tasks that join a model changes nothing for the tasks that it has."""
        name, assembly = bench.serving.name, bench.assembly
        built = bench.registry.make("preprocessor", name)
        if not isinstance(built, Growing):
            return
        values = [
            ("joining", slot, value) for slot in bench.slots.values() for value in bench.values
        ]
        grown = built.grow(assembly.artifacts.get(name), values, np.random.default_rng(0))
        artifacts = dict(assembly.artifacts)
        if grown is not None:
            artifacts[name] = grown
        joined = Assembly.restore(assembly.state(), artifacts, bench.registry)
        for task in bench.slots:
            for row in bench.rows:
                rng = np.random.default_rng(0)
                example = joined.encoders[task].encode(row, split="valid", rng=rng, row_id="values")
                assert digest(example) == digest(bench.example(task, row)), (
                    f"after grow, {row[COLUMN]!r:.60} of a task that was there before is encoded differently: what the "
                    "artifact says of older tasks stays, what is new is put beside it"
                )

    def test_memory_does_not_grow(self, bench: SlotBench) -> None:
        """Many batches of fresh copies of the values leave nothing behind."""
        modules = {name: bench.module(name) for name, _ in bench.groups}

        def batch(number: int) -> None:
            for task in bench.slots:
                row = copy.deepcopy(bench.rows[number % len(bench.rows)])
                side = collate([bench.example(task, row, "train", seed=number)])
                for call in [
                    *(side.source.calls if side.source else ()),
                    *(side.target.calls if side.target else ()),
                ]:
                    if call.adapter in modules and call.adapter != "token":
                        features = {
                            n: v.float() if v.is_floating_point() else v
                            for n, v in call.features.items()
                        }
                        modules[call.adapter].embed(features, call.shapes)

        grown, where = growth(batch, BATCHES)
        assert grown <= LEAK * BATCHES + SLACK, (
            f"{BATCHES} batches of the same values left {grown / 1024:.0f} KiB behind ({where}): bound every cache "
            "(functools.lru_cache(maxsize=...)), keep no list of what was encoded or embedded, and no tensor with a "
            "graph"
        )


def _check_reference(bench: SlotBench, row: dict[str, Any], written: str) -> None:
    """The reference of a row against its round trip; rows that the attributes do not fit are passed over."""
    encoder = bench.encoder_with(WRITE, written)
    if encoder is None:
        return
    template, values = encoder.plan.templates[0], TargetValues.of(encoder)
    slot = values.slots[COLUMN]
    preprocessor = encoder.preprocessors[slot.preprocessor]
    try:
        ctx = encoder.context(row, template, "test", np.random.default_rng(0))
        segments = preprocessor.encode(ctx.row[COLUMN], slot, ctx)
        preprocessor.expect(slot, ctx)
    except RowError:
        return
    answer = preprocessor.decode(Hypothesis(bench.suite.hypothesis(segments)), slot, ctx)
    found = values.references(ctx)[COLUMN]
    shown = f"{row[COLUMN]!r:.60} in a slot with {written or 'no attribute'}"
    if isinstance(found, RowError):
        pytest.fail(
            f"{shown} can be encoded, but as a reference it is refused: {found}", pytrace=False
        )
    apart = bench.suite.compare(found.shown, answer)
    assert not apart, (
        f"{shown}: a faultless answer is not its reference, {apart}. as_decoded (or encode and decode) must apply all "
        "that the attributes ask: form, case, rate, cut"
    )
    compared = values.predictions({COLUMN: answer}, ctx)[COLUMN]
    apart = bench.suite.compare(found.value, compared)
    assert not apart, (
        f"{shown}: metrics get answer and reference in unlike form, {apart}; see as_compared"
    )


def _refusal(bench: SlotBench, slot: SlotPlan, ctx: RowContext, bad: Any) -> str:
    """What the preprocessor says about a bad value."""
    remedy = (
        f"raise RowError(f\"column '{{slot.name}}': expected {bench.slot_type.values}, got ...\")"
    )
    try:
        bench.preprocessor.encode(bad, slot, ctx)
    except RowError as error:
        return str(error)
    except Exception as error:
        raise AssertionError(
            f"encode raised a bare {type(error).__name__} ({error}) on {bad!r:.60}: look at the value first, and "
            f"{remedy}"
        ) from error
    raise AssertionError(
        f"encode accepted {bad!r:.60}, which is no {bench.slot_type.name}: {remedy}"
    )


def _written_slot(bench: SlotBench) -> SlotPlan:
    if WRITE not in bench.slots:
        pytest.skip(
            f"{bench.slot_type.name} cannot be a target: its preprocessor names no head, criterion and generator"
        )
    return bench.slots[WRITE]


def _check_html(shown: Any) -> None:
    assert isinstance(shown, str) and shown.strip(), (
        f"render returned {shown!r:.60}: return a piece of HTML"
    )
    outside = next(
        (
            word
            for word in ('src="http', "src='http", "<script", 'href="http')
            if word in shown.lower()
        ),
        "",
    )
    assert not outside, (
        f"render refers to something outside ({outside}): put pictures in as data URIs, and no scripts"
    )
