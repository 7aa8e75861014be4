"""A micro-batch holds every position, piece and label of its examples once, wherever packing puts them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofacore.batching.collate import collate, example_length, split_micro_batches
from ofacore.batching.packing import pack
from tests.batching.toy import encoder

NINE = {
    "digits": "[NUMS:i] -> [WORD:t]",
    "caption": "[NUMS:i] what is it -> [WORD:t]",
    "spell": "[WORD:a] -> [WORD:t]",
    "ground": "[NUMS:i] where is [WORD:a] -> [PAIR:b]",
    "detect": "[NUMS:i] -> ([PAIR:b] [WORD:t])*",
    "sample": "-> [WORD:t]",
    "match": "[WORD:a | PAIR:p] ->",
    "animate": "[WORD:a] -> [NUMS:n] [WORD:t]",
    "sentiment": "is [WORD:a] good -> [WORD:t] ",
}
MADE = {name: encoder(instruction, name=name) for name, instruction in NINE.items()}


def example(name, seed, scale=1):
    rng = np.random.default_rng(seed)
    text = "".join(rng.choice(list("abc"), int(rng.integers(1, 20 * scale))))
    turns = int(rng.integers(0, 4))
    row = {
        "a": text[: 8 * scale],
        "t": text,
        "p": [1, 2],
        "i": [0.5] * (64 * scale),
        "n": [0.25] * int(rng.integers(20, 64)),
        "b": [[1, 2]] * turns if name == "detect" else [3, 4],
    }
    row["t"] = [text[:3]] * turns if name == "detect" else text
    return MADE[name].encode(row, split="train", rng=rng, row_id=f"{name}[{seed}]")


EXAMPLES = st.lists(
    st.tuples(st.sampled_from(list(NINE)), st.integers(0, 30)), min_size=1, max_size=12
)


def sides(batch):
    return [
        (name, side)
        for name, side in (("source", batch.source), ("target", batch.target))
        if side is not None
    ]


@settings(max_examples=40, deadline=None)
@given(EXAMPLES, st.booleans())
def test_every_position_has_one_place(chosen, packing):
    examples = [example(*pick) for pick in chosen]
    batch = collate(examples, packing=packing)
    for name, side in sides(batch):
        layout, n = side.layout, side.layout.positions
        pieces = [
            p
            for e in examples
            for seq in (e.source if name == "source" else (e.target,))
            for p in seq
        ]
        assert n == sum(piece.length for piece in pieces)
        assert sorted(i for rows in layout.rows for i in rows.flatten().tolist() if i >= 0) == list(
            range(n)
        )
        assert sorted(i for call in side.calls for i in call.index.tolist()) == list(range(n))
        assert torch.equal(
            layout.coordinates, torch.from_numpy(np.concatenate([p.coordinates for p in pieces]))
        )
        assert layout.sequence.diff().ge(0).all() and layout.segment.diff().ge(0).all()
        for rows in layout.rows:
            for row in rows:
                inside = layout.sequence[row[row >= 0]]
                for number in set(inside.tolist()):
                    assert int((inside == number).sum()) == int((layout.sequence == number).sum())


@settings(max_examples=40, deadline=None)
@given(EXAMPLES, st.booleans())
def test_target_rows_read_exactly_the_sources_of_their_sequences(chosen, packing):
    examples = [example(*pick) for pick in chosen]
    batch = collate(examples, packing=packing)
    if batch.target is None:
        return
    layout = batch.target.layout
    assert len(layout.memory_rows) == len(layout.rows)
    assert sum(memory >= 0 for memory in layout.memory.tolist()) == sum(
        bool(e.source and e.target) for e in examples
    )
    for rows, memories in zip(layout.rows, layout.memory_rows, strict=True):
        for row, memory in zip(rows, memories, strict=True):
            wanted = {int(layout.memory[s]) for s in layout.sequence[row[row >= 0]].unique()} - {-1}
            positions = memory[memory >= 0]
            found = set(batch.source.layout.sequence[positions].tolist()) if batch.source else set()
            assert found == wanted
            assert len(positions) == sum(
                int((batch.source.layout.sequence == s).sum()) for s in wanted
            )


@settings(max_examples=40, deadline=None)
@given(EXAMPLES, st.booleans())
def test_labels_meet_the_positions_that_learn_them(chosen, packing):
    """Feeding each label's own position back: the token before a label stands at the position that predicts it."""
    examples = [example(*pick) for pick in chosen]
    batch = collate(examples, packing=packing)
    counted, seen = {}, 0
    for group in batch.terms:
        assert sum(group.lengths) == len(group.index)
        side = batch.source if group.side == "source" else batch.target
        owners = side.layout.sequence[group.index]
        for part, sample in zip(owners.split(list(group.lengths)), group.samples, strict=True):
            assert len(part.unique()) == 1 or group.criterion == "contrastive"
            task = side.layout.tasks[int(side.layout.task[group.index][0])]
            assert group.terms[0].split("/")[0] == task or len(set(group.terms)) > 1
            assert batch.samples[sample].task in {term.split("/")[0] for term in group.terms}
        for name, lengths in group.label_lengths.items():
            assert sum(lengths) == len(group.labels[name])
        for term, count in zip(group.terms, group.counts, strict=True):
            counted[term] = counted.get(term, 0) + count
            seen += 1
    items = [item for e in examples for item in e.terms]
    assert seen == len(items)
    assert counted == {
        term: sum(i.count for i in items if i.term == term) for term in {i.term for i in items}
    }


def test_a_label_stands_one_behind_its_input():
    examples = [example("spell", seed) for seed in range(5)] + [example("animate", 1)]
    batch = collate(examples)
    stream = torch.full((batch.target.layout.positions,), -1)
    for call in batch.target.calls:
        if "tokens" in call.features:
            stream[call.index] = call.features["tokens"]
    for group in (group for group in batch.terms if "ids" in group.labels):
        labels = group.labels["ids"].split(list(group.label_lengths["ids"]))
        for index, ids in zip(group.index.split(list(group.lengths)), labels, strict=True):
            assert stream[index[1:]].tolist() == ids[:-1].tolist()


def test_there_is_one_call_for_each_adapter_whatever_the_mix():
    batch = collate([example(name, seed) for seed in range(3) for name in NINE])
    for _, side in sides(batch):
        assert sorted(call.adapter for call in side.calls) == sorted(set(side.layout.adapters))
        for call in side.calls:
            assert sum(shape[0] for shape in call.shapes) == len(call.index)
    assert [sample.row_id for sample in batch.samples[:2]] == ["digits[0]", "caption[0]"]


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize("count", [18, 64])
def test_nine_mixed_tasks_leave_less_than_a_tenth_of_the_attention_empty(count, scale):
    names = list(NINE)
    batch = collate([example(names[k % 9], k, scale) for k in range(count)])
    for _, side in sides(batch):
        matrices = [*side.layout.rows, *side.layout.memory_rows]
        real = sum(int((matrix >= 0).sum()) for matrix in matrices)
        assert real / sum(matrix.numel() for matrix in matrices) >= 0.9
        assert len(side.layout.rows) <= 8


def test_without_packing_each_sequence_has_its_row():
    batch = collate([example("spell", seed) for seed in range(7)], packing=False)
    (rows,), (memory,) = batch.target.layout.rows, batch.target.layout.memory_rows
    assert len(rows) == len(memory) == 7
    assert (
        int((rows[:, 0] >= 0).sum()) == 7 and (batch.target.layout.memory == torch.arange(7)).all()
    )


def test_a_source_alone_makes_a_batch_without_target():
    batch = collate([example("match", 1)])
    assert batch.target is None and batch.source.layout.sequences == 2
    only_target = collate([example("sample", 1)])
    assert only_target.source is None and only_target.target.layout.memory.tolist() == [-1]


def test_segments_with_other_features_of_one_adapter_are_refused():
    from dataclasses import replace

    good = example("spell", 1)
    bad = replace(good, source=((replace(good.source[0][0], features={"words": np.zeros(3)}),),))
    with pytest.raises(ValueError, match="adapter 'token': segments bring different features"):
        collate([good, bad])


@settings(deadline=None)
@given(EXAMPLES, st.integers(1, 400), st.integers(0, 4), st.booleans())
def test_any_split_keeps_every_sample_once_and_the_limits(chosen, positions, samples, by_length):
    examples = [example(*pick) for pick in chosen]
    parts = split_micro_batches(examples, positions, samples, by_length=by_length)
    assert sorted(i for part in parts for i in part) == list(range(len(examples)))
    assert by_length or [i for part in parts for i in part] == list(range(len(examples)))
    for part in parts:
        assert part and (not samples or len(part) <= samples)
        assert len(part) == 1 or sum(example_length(examples[i]) for i in part) <= positions


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 300)), max_size=40))
def test_packing_holds_every_sequence_once_in_few_groups(sizes):
    groups = pack(sizes, (64, 128))
    assert sorted(i for rows in groups for row in rows for i in row) == list(range(len(sizes)))
    assert len(groups) <= 8 and all(rows and all(rows) for rows in groups)
