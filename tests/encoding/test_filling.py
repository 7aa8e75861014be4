"""Groups repeat and drop, lists advance together, a contrast makes two sequences."""

import pytest

from ofacore.encoding.filling import Filled, RepeatEnd, expand
from ofacore.sources.data_errors import ColumnError
from tests.batching.toy import encoder

TESTS = {
    name: kind.is_element
    for name, kind in encoder("[WORD:a] [PAIR:b] [NUMS:c] -> [WORD:d]").kinds.types.items()
}


def filled(instruction, row, split="train", dropped=()):
    template = encoder(instruction).plan.templates[0]
    return expand(template, row, TESTS, split, frozenset(dropped))


def values(items):
    return ["end" if isinstance(item, RepeatEnd) else item.value for item in items]


def test_plain_text_and_slots_keep_their_order():
    found = filled("say [WORD:a] now -> [WORD:b]", {"a": "x", "b": "y"})
    assert [values(items) for items in (*found.sources, found.target)] == [
        ["say", "x", "now"],
        ["y"],
    ]


def test_a_repeat_takes_one_element_of_each_list_a_turn_and_scalars_every_time():
    row = {"b": [[1, 2], [3, 4]], "t": ["x", "y"], "s": "same"}
    found = filled("[WORD:s] -> ([PAIR:b] is [WORD:t] [WORD:s,no_loss])*", row)
    assert values(found.target) == [[1, 2], "is", "x", "same", [3, 4], "is", "y", "same", "end"]
    assert [item.turn for item in found.target if isinstance(item, Filled)] == [(0,)] * 4 + [
        (1,)
    ] * 4
    chosen = [isinstance(item, Filled) and item.choice is not None for item in found.target]
    assert [index for index, flag in enumerate(chosen) if flag] == [0, 4]
    assert found.target[-1].choice.name == "b" and found.target[-1].slot.name == "b"


def test_a_pair_is_one_value_and_a_list_of_pairs_is_many():
    assert (
        len(
            filled("([PAIR:b] [WORD:t])* -> [WORD:t]", {"b": [1, 2], "t": ["x", "y", "z"]}).sources[
                0
            ]
        )
        == 6
    )


def test_an_empty_list_gives_no_turn_but_an_end():
    assert values(filled("[WORD:a] -> ([WORD:t])*", {"a": "x", "t": []}).target) == ["end"]


def test_unequal_lists_name_both_columns_and_lengths():
    with pytest.raises(ColumnError, match=r"column 't'.*3 values here, but 2 in column 'b'"):
        filled(
            "[WORD:a] -> ([PAIR:b] [WORD:t])*",
            {"a": "x", "b": [[1, 2], [3, 4]], "t": ["x", "y", "z"]},
        )


def test_a_repeat_without_any_list_is_an_error():
    with pytest.raises(ColumnError, match="none of t holds one"):
        filled("[WORD:a] -> ([WORD:t])*", {"a": "x", "t": "y"})


def test_nested_repeats_descend_one_level_of_lists():
    row = {"q": ["x", "y"], "a": [["b", "c"], ["d"]], "s": "s"}
    found = filled("[WORD:s] -> ([WORD:q] ([WORD:a])*)*", row)
    assert values(found.target) == ["x", "b", "c", "end", "y", "d", "end", "end"]
    assert [item.turn for item in found.target] == [
        (0,),
        (0, 0),
        (0, 1),
        (0,),
        (1,),
        (1, 0),
        (1,),
        (),
    ]


@pytest.mark.parametrize("row", [{"a": "x"}, {"a": "x", "b": None}])
def test_absence_drops_an_optional_group_on_either_side(row):
    found = filled("[WORD:a] (and [WORD:b])? -> [WORD:a] ([WORD:b])?", row)
    assert [values(found.sources[0]), values(found.target)] == [["x"], ["x"]]


def test_empty_values_are_not_absent():
    assert values(filled("(and [WORD:b])? -> [WORD:b]", {"b": ""}).sources[0]) == ["and", ""]


def test_an_optional_group_inside_a_repeat_is_per_turn():
    row = {"t": ["x", "y", "z"], "n": ["one", None, "three"]}
    found = filled("([WORD:t] (is [WORD:n])?)* -> [WORD:t,no_loss] [WORD:o]", {**row, "o": "o"})
    assert values(found.sources[0]) == ["x", "is", "one", "y", "z", "is", "three"]


def test_a_repeat_with_an_absent_column_is_dropped():
    assert values(
        filled("[WORD:a] ([PAIR:b] [WORD:t])* -> [WORD:a]", {"a": "x", "t": ["y"]}).sources[0]
    ) == ["x"]


def test_a_missing_value_names_the_slot_and_the_way_out():
    with pytest.raises(
        ColumnError, match=r"column 'b': \[WORD:b\] needs a value.*\(\[WORD:b\]\)\?"
    ):
        filled("[WORD:a] [WORD:b] -> [WORD:a]", {"a": "x"})
    with pytest.raises(ColumnError, match="column 'd'"):
        filled("[WORD:a] -> [WORD:d]", {"a": "x"})
    assert values(filled("[WORD:a] -> [WORD:d]", {"a": "x"}, split="infer").target) == [None]


def test_a_contrast_gives_two_sequences_that_share_the_rest():
    found = filled("see [WORD:l | PAIR:r] here ->", {"l": "x", "r": [1, 2]})
    assert [values(items) for items in found.sources] == [
        ["see", "x", "here"],
        ["see", [1, 2], "here"],
    ]


def test_dropped_positions_are_left_out_and_need_no_value():
    assert values(filled("say [WORD:a] now -> [WORD:b]", {"b": "y"}, dropped={1}).sources[0]) == [
        "say",
        "now",
    ]
    assert filled("say [WORD:a] -> [WORD:b]", {"b": "y"}, dropped={0, 1}).sources == ()
