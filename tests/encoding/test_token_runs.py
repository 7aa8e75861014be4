"""Boundaries, shift and separators, against expectations written by hand."""

import numpy as np
import pytest

from ofacore.encoding.token_runs import RunSettings
from ofacore.ground.vocabulary import BOS, EOS, MASK, SEP
from ofacore.sources.data_errors import EncodeError
from tests.batching.toy import encoder, pair, word


def encode(instruction, row, split="train", settings=None, **options):
    made = encoder(instruction, settings=settings, **options)
    return made.encode(row, split=split, rng=np.random.default_rng(0), row_id="rows[0]")


def inputs(pieces):
    return [piece.features.get("tokens", piece.features.get("values")).tolist() for piece in pieces]


def labels(example):
    """(slot, label, input that predicts it), in order of the input positions."""
    stream = [token for piece in example.target for token in inputs([piece])[0]]
    starts = np.cumsum([0, *(piece.length for piece in example.target)])
    found = []
    for item in example.terms:
        whole = np.concatenate([np.arange(starts[p], starts[p + 1]) for p in item.pieces])
        places = whole if item.positions is None else whole[item.positions]
        found += [
            (int(place), item.term, int(label))
            for place, label in zip(places, item.labels["ids"], strict=True)
        ]
    return [(term.split("/")[1], label, stream[place]) for place, term, label in sorted(found)]


def test_a_source_run_is_wrapped_once_and_a_dense_segment_ends_it():
    row = {"a": "hi", "b": [1, 2], "n": [0.5, 0.5], "c": "no", "t": "x"}
    pieces = encode("say [WORD:a] [PAIR:b] [NUMS:n] [WORD:c] -> [WORD:t]", row).source[0]
    assert inputs(pieces) == [
        [BOS, *word("say")],
        word("hi"),
        [*pair(1, 2), EOS],
        [0.5, 0.5],
        [BOS, *word("no"), EOS],
    ]
    assert not any(piece.causal for piece in pieces)


def test_coordinates_start_behind_the_maximum_of_the_predecessor():
    row = {"a": "hi", "n": [0.5] * 3, "c": "o", "t": "x"}
    pieces = encode("[WORD:a] [NUMS:n] [WORD:c] -> [WORD:t]", row).source[0]
    assert pieces[0].coordinates.tolist() == [[i, i, i] for i in range(4)]
    assert pieces[1].coordinates.tolist() == [[4, 4, 4], [4, 5, 4], [4, 6, 4]]
    assert pieces[2].coordinates.tolist() == [[i, i, i] for i in (7, 8, 9)]


@pytest.mark.parametrize(
    ("instruction", "settings", "expected"),
    [
        ("[WORD:a] -> [WORD:t]", RunSettings(source_boundaries=False), [word("hi")]),
        ("[WORD:a,bare] [WORD:a] -> [WORD:t]", RunSettings(), [word("hi"), word("hi")]),
    ],
)
def test_boundaries_can_be_left_out(instruction, settings, expected):
    assert (
        inputs(encode(instruction, {"a": "hi", "t": "x"}, settings=settings).source[0]) == expected
    )


def test_an_empty_source_without_boundaries_is_no_sequence():
    example = encode(
        "[WORD:a] -> [WORD:t]", {"a": "", "t": "x"}, settings=RunSettings(source_boundaries=False)
    )
    assert example.source == ()


def test_one_open_slot_is_shifted_and_ends_with_eos():
    example = encode("[WORD:a] -> [WORD:t]", {"a": "hi", "t": "ab"})
    a, b = word("ab")
    assert inputs(example.target) == [[BOS, a, b]]
    assert labels(example) == [("t", a, BOS), ("t", b, a), ("t", EOS, b)]
    assert (
        example.target[0].causal
        and example.terms[0].positions is None
        and example.terms[0].count == 3
    )


def test_an_open_slot_inside_a_run_ends_with_sep_and_a_fixed_one_with_nothing():
    example = encode("-> [WORD:t] [PAIR:b] [WORD:u]", {"t": "a", "b": [1, 2], "u": "c"})
    (a,), (one, two), (c,) = word("a"), pair(1, 2), word("c")
    assert inputs(example.target) == [[BOS, a], [SEP, one], [two, c]]
    assert labels(example) == [
        ("t", a, BOS),
        ("t", SEP, a),
        ("b", one, SEP),
        ("b", two, one),
        ("u", c, two),
        ("u", EOS, c),
    ]
    assert [item.blocks for item in example.terms] == [
        ("toy/letters:27",),
        ("toy/digits:10",),
        ("toy/letters:27",),
    ]


def test_plain_text_and_no_loss_slots_of_the_target_are_read_but_not_learned():
    example = encode("-> is [WORD:s,no_loss] [WORD:t]", {"s": "b", "t": "a"})
    assert inputs(example.target) == [[BOS, word("i")[0]], word("s"), [*word("b"), *word("a")]]
    assert labels(example) == [("t", word("a")[0], word("b")[0]), ("t", EOS, word("a")[0])]


def test_plain_text_is_learned_if_the_task_says_so():
    example = encode("-> is [WORD:t]", {"t": "a"}, decoder_plain_with_loss=True)
    i, s, a = word("isa")
    assert labels(example) == [("0", i, BOS), ("0", s, i), ("t", a, s), ("t", EOS, a)]


def test_a_fixed_slot_at_the_end_needs_no_end():
    example = encode("-> [PAIR:b]", {"b": [1, 2]})
    one, two = pair(1, 2)
    assert labels(example) == [("b", one, BOS), ("b", two, one)]


def test_without_separator_a_run_always_ends_with_eos_and_has_one_open_slot():
    settings = RunSettings(separator=False)
    one, two = pair(1, 2)
    assert labels(encode("-> [PAIR:b]", {"b": [1, 2]}, settings=settings))[-1] == ("b", EOS, two)
    row = {"t": "a", "u": "b", "b": [1, 2]}
    assert [x[1] for x in labels(encode("-> [PAIR:b] [WORD:t]", row, settings=settings))] == [
        one,
        two,
        *word("a"),
        EOS,
    ]
    for ends_early in ("-> [WORD:t] [WORD:u]", "-> [WORD:t] then", "-> [WORD:t] [PAIR:b]"):
        with pytest.raises(EncodeError, match=r"open slot must be the last .* behind \[WORD:t\]"):
            encode(ends_early, row, settings=settings)


def test_what_follows_a_run_sees_its_last_token_unless_that_is_eos():
    example = encode("-> [PAIR:b] [NUMS:n] [WORD:t] [NUMS:n]", {"b": [1, 2], "n": [0.0], "t": "a"})
    one, two = pair(1, 2)
    assert inputs(example.target) == [[BOS, one, two], [1.0], [0.0], [BOS, *word("a")], [1.0]]
    assert example.terms[0].positions.tolist() == [0, 1]


def test_a_corrupted_segment_is_followed_by_its_clean_copy_only_if_something_follows():
    last = encode("-> [NUMS:n]", {"n": [0.0, 0.5]})
    assert inputs(last.target) == [[1.0, 1.5]] and not last.target[0].visible
    example = encode("-> [NUMS:n] [WORD:t]", {"n": [0.0, 0.5], "t": "a"})
    noisy, clean, text = example.target
    assert inputs([noisy, clean]) == [[1.0, 1.5], [0.0, 0.5]]
    assert (noisy.visible, clean.visible) == (False, True)
    assert noisy.coordinates.tolist() == clean.coordinates.tolist() and text.coordinates[
        0
    ].tolist() == [2, 2, 2]
    assert example.terms[0].positions.tolist() == [0, 1] and example.terms[0].labels[
        "values"
    ].tolist() == [0.0, 0.5]


def test_a_dense_slot_without_loss_is_clean():
    example = encode("-> [NUMS:n,no_loss] [WORD:t]", {"n": [0.0], "t": "a"})
    assert inputs(example.target)[0] == [0.0] and [item.term for item in example.terms] == ["toy/t"]


def test_masked_prediction_is_not_shifted_and_sees_both_ways():
    alone = encode("-> [WORD:m,masked]", {"m": "ab"})
    assert inputs(alone.target) == [[MASK, MASK]] and not alone.target[0].causal
    assert [label for _, label, _ in labels(alone)] == word("ab")
    both = encode("-> [WORD:m,masked] [WORD:t]", {"m": "ab", "t": "c"})
    assert inputs(both.target) == [[MASK, MASK], word("ab"), [BOS, *word("c")]]
    assert [piece.visible for piece in both.target] == [False, True, True]


def test_boundaries_in_the_value_are_the_only_ones():
    example = encode("-> [WORD:t,bare]", {"t": "abc"})
    a, b, c = word("abc")
    assert inputs(example.target) == [[a, b]] and labels(example) == [("t", b, a), ("t", c, b)]


def test_each_turn_begins_with_a_choice_and_the_repeat_ends_with_eos():
    example = encode("-> ([PAIR:b] [WORD:t])*", {"b": [[1, 2], [3, 4]], "t": ["a", "c"]})
    (one, two), (three, four), (a, c) = pair(1, 2), pair(3, 4), word("ac")
    assert labels(example) == [
        ("b", one, BOS),
        ("b", two, one),
        ("t", a, two),
        ("t", SEP, a),
        ("b", three, SEP),
        ("b", four, three),
        ("t", c, four),
        ("t", SEP, c),
        ("b", EOS, SEP),
    ]
    assert example.terms[-1].blocks == ("toy/digits:10",)


def test_no_turn_is_an_end_at_once_and_what_follows_begins_a_new_run():
    example = encode("-> ([PAIR:b])* [WORD:t]", {"b": [], "t": "a"})
    assert inputs(example.target) == [[BOS], [BOS, *word("a")]]
    assert labels(example) == [("b", EOS, BOS), ("t", word("a")[0], BOS), ("t", EOS, word("a")[0])]
    assert example.terms[0].blocks == ("toy/digits:10",)


def test_the_choice_is_learned_even_where_a_turn_begins_with_plain_text():
    example = encode("-> (at [PAIR:b])*", {"b": [[1, 2]]})
    a, t = word("at")
    one, two = pair(1, 2)
    assert labels(example) == [("b", a, BOS), ("b", one, t), ("b", two, one), ("b", EOS, two)]
    assert example.terms[0].blocks == ("toy/letters:27",)


def test_a_repeat_of_given_values_learns_nothing_but_its_text():
    example = encode("-> ([PAIR:b,no_loss])* [WORD:t]", {"b": [[1, 2]], "t": "a"})
    assert [slot for slot, _, _ in labels(example)] == ["t", "t"]


def test_a_target_repeat_of_dense_values_is_refused():
    with pytest.raises(
        EncodeError, match=r"must begin with text or a slot of tokens, not \[NUMS:n\]"
    ):
        encode("-> ([NUMS:n])*", {"n": [[0.5], [0.25]]})


def test_a_closed_set_gives_the_tokens_allowed_at_each_place():
    example = encode(
        "-> [WORD:t,closed_set] [WORD:u]",
        {"t": "ab", "u": "c"},
        closed_sets={"t": ("ab", "abc", "b")},
    )
    a, b, c = word("abc")
    item = example.terms[0]
    assert item.labels["ids"].tolist() == [a, b, SEP]
    assert item.labels["allowed_lengths"].tolist() == [2, 1, 2]
    assert [set(x.tolist()) for x in np.split(item.labels["allowed"], [2, 3])] == [
        {a, b},
        {b},
        {c, SEP},
    ]
    assert "allowed" not in example.terms[1].labels


def test_a_closed_set_in_a_repeat_allows_the_end_too():
    example = encode("-> ([WORD:t,closed_set])*", {"t": ["b"]}, closed_sets={"t": ("a", "b")})
    a, b = word("ab")
    first, end = example.terms
    assert first.labels["ids"].tolist() == [b, SEP]
    assert set(first.labels["allowed"][:3].tolist()) == {a, b, EOS}
    assert end.labels["ids"].tolist() == [EOS] and set(end.labels["allowed"].tolist()) == {
        a,
        b,
        EOS,
    }


def test_too_long_a_row_is_an_error_that_names_the_longest_slot():
    with pytest.raises(
        EncodeError, match=r"33 positions on the target side.*t\] 31.*set max_length on \[WORD:t\]"
    ):
        encode(
            "-> [PAIR:b] [WORD:t]",
            {"b": [1, 2], "t": "a" * 30},
            settings=RunSettings(max_positions=32),
        )


def test_coordinates_may_count_from_zero_in_every_run_and_segment():
    settings = RunSettings(restart=True, separator=False)
    row = {"a": "ab", "n": [0.0, 1.0], "b": [1, 2], "t": "a"}
    example = encode("[WORD:a] is [NUMS:n] [WORD:a] -> [PAIR:b] [WORD:t]", row, settings=settings)
    starts = [piece.coordinates[0].tolist() for piece in example.source[0]]
    assert starts == [[0, 0, 0], [3, 3, 3], [0, 0, 0], [0, 0, 0]]
    first, second = example.target
    assert first.coordinates[0].tolist() == [0, 0, 0] and second.coordinates[0].tolist() == [
        2,
        2,
        2,
    ]


def test_with_restarts_each_run_has_the_whole_length():
    settings = RunSettings(restart=True, max_positions=5)
    row = {"a": "abc", "n": [0.0, 1.0], "t": "a"}
    encode("[WORD:a] [NUMS:n] [WORD:a] -> [WORD:t]", row, settings=settings)
    with pytest.raises(EncodeError, match="6 of its run"):
        encode("[WORD:a] [NUMS:n] -> [WORD:t]", {**row, "a": "abcd"}, settings=settings)
