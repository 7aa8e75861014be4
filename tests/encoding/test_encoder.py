"""One row's way to an example: order of the steps, dependencies, errors, prompts, terms."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from ofacore.ground.errors import UserError
from ofacore.plan import LossPlan
from ofacore.sources import SourceError
from ofacore.sources.data_errors import EncodeError
from tests.batching.toy import Shortened, encoder, pair, word

ROW = {"a": "hi", "t": "ab"}


def encode(made, row, split="train", seed=0):
    return made.encode(row, split=split, rng=np.random.default_rng(seed), row_id="f.csv:7")


def same(left, right):
    return repr(left) == repr(right)


def test_columns_are_mapped_and_transformed_before_anything_else():
    made = encoder(
        "[WORD:a] -> [WORD:t]",
        columns={"a": "question"},
        transforms={"question": ("lower",), "t": ("lower",)},
    )
    example = encode(made, {"question": "HI", "t": "AB"}, split="valid")
    assert example.context.row["a"] == "hi" and example.context.row["question"] == "hi"
    assert example.terms[0].labels["ids"][:2].tolist() == word("ab")
    request = made.encode_request({"question": "HI"}, rng=np.random.default_rng(0), row_id="r")
    assert request.context.row["a"] == "hi"


def test_a_transform_of_a_slot_name_leaves_the_raw_column_alone():
    made = encoder("[WORD:a] -> [WORD:t]", columns={"a": "question"}, transforms={"a": ("lower",)})
    row = encode(made, {"question": "HI", "t": "ab"}, split="valid").context.row
    assert (row["a"], row["question"]) == ("hi", "HI")


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        ({"quest": "hi", "t": "a"}, "question", "did you mean 'quest'"),
        ({"question": 5, "t": "a"}, "question", "transform 'lower' fails on a int"),
        ({"question": "1", "t": "a"}, "a", "'1' holds other than small letters"),
        ({"question": "hi"}, "t", "needs a value"),
    ],
)
def test_an_error_names_task_row_and_column(row, column, words):
    made = encoder(
        "[WORD:a] -> [WORD:t]",
        name="qa",
        columns={"a": "question"},
        transforms={"question": ("lower",)},
    )
    with pytest.raises(EncodeError) as caught:
        encode(made, row)
    assert (caught.value.task, caught.value.row_id, caught.value.column) == (
        "qa",
        "f.csv:7",
        column,
    )
    assert words in str(caught.value) and "f.csv:7" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_mistake_in_a_plugin_is_no_bad_row_but_names_the_row():
    made = encoder("[PAIR:a] -> [WORD:t]")
    with pytest.raises(ValueError, match="invalid literal") as caught:
        encode(made, {"a": ["x", "y"], "t": "a"})
    assert not isinstance(caught.value, EncodeError) and "f.csv:7" in " ".join(
        caught.value.__notes__
    )


def test_templates_are_drawn_by_weight_in_training_and_the_first_is_used_else():
    made = encoder([("one [WORD:a] -> [WORD:t]", 3.0), ("two [WORD:a] -> [WORD:t]", 1.0)])
    drawn = [encode(made, ROW, seed=seed).source[0][0].slot.plain for seed in range(400)]
    assert 0.68 < drawn.count("one") / 400 < 0.82
    assert {encode(made, ROW, split="valid", seed=s).source[0][0].slot.plain for s in range(9)} == {
        "one"
    }


def test_the_same_generator_gives_the_same_example():
    made = encoder("[WORD:a] -> [WORD:t] ||| [WORD:a] [WORD:a] -> [WORD:t]", drop_prompt=0.5)
    assert same(encode(made, ROW, seed=3), encode(made, ROW, seed=3))
    assert same(encode(made, ROW, seed=3), encode(pickle.loads(pickle.dumps(made)), ROW, seed=3))


def test_row_transforms_run_once_on_all_slots_of_their_type_before_groups_expand():
    made = encoder("([WORD:a])* [WORD:s] -> [WORD:t]")
    context = encode(made, {"a": ["x"], "s": "wz", "t": "ab"}, split="valid").context
    assert (
        context.published.one("shortened", Shortened).slots == ("a", "s", "t")
        and context.row["s"] == "w"
    )


def test_slots_are_encoded_behind_those_they_name():
    made = encoder("[WORD:a,reads=b] [WORD:b] -> [WORD:t]")
    pieces = encode(made, {"a": "a", "b": "bbb", "t": "a"}).source[0]
    assert pieces[0].features["tokens"].tolist()[1:] == word("axxx")


def test_slots_that_name_each_other_are_an_error():
    with pytest.raises(UserError, match="circle: a, b"):
        encoder("[WORD:a,reads=b] [WORD:b,reads=a] -> [WORD:t]")


@pytest.mark.parametrize(("prompt_slot", "left"), [("", 0), ("a", 1)])
def test_prompts_are_dropped_at_the_given_rate_in_training_only(prompt_slot, left):
    made = encoder("say [WORD:a] -> [WORD:t]", drop_prompt=0.25, prompt_slot=prompt_slot)
    counts = [sum(map(len, encode(made, ROW, seed=seed).source)) for seed in range(400)]
    assert set(counts) == {left, 2} and 0.18 < counts.count(left) / 400 < 0.32
    assert all(encode(made, ROW, split="valid", seed=seed).source for seed in range(20))


def test_a_slot_can_have_its_own_rate():
    made = encoder("say [WORD:a,drop_prompt=1.0] -> [WORD:t]")
    assert [piece.slot.plain for piece in encode(made, ROW).source[0]] == ["say"]


def test_a_row_that_teaches_nothing_is_a_bad_row_in_training():
    made = encoder("[WORD:a] -> ([WORD:t])?")
    with pytest.raises(EncodeError, match="nothing to learn"):
        encode(made, {"a": "hi"})
    assert encode(made, {"a": "hi"}, split="valid").terms == ()


def test_a_request_needs_no_target_and_knows_the_source_without_its_prompt():
    made = encoder("say [WORD:a] -> [WORD:g,no_loss] [NUMS:n]", prompt_slot="a")
    request = made.encode_request(
        {"a": "hi", "g": "x"}, rng=np.random.default_rng(0), row_id="r", guided=True
    )
    assert [piece.length for piece in request.source.source[0]] == [4, 3]
    assert [piece.length for piece in request.unprompted.source[0]] == [5]
    assert request.source.target == () and request.context.row["g"] == "x"
    assert request.template is made.plan.templates[0]


def test_losses_of_a_task_replace_the_default_and_may_sit_on_the_source():
    losses = (LossPlan("cross_entropy", "a", "t", 0.5), LossPlan("cross_entropy", "t", "t", 2.0))
    items = encode(encoder("say [WORD:a] -> [WORD:t]", losses=losses, loss_weight=0.1), ROW).terms
    source, target = items
    assert (source.term, source.side, source.pieces, source.head) == (
        "toy/a",
        "source",
        (1,),
        "token",
    )
    assert source.labels["ids"].tolist() == word("ab") and source.positions is None
    assert (target.term, target.side, target.count) == ("toy/t", "target", 3)
    assert [item.weight for item in items] == pytest.approx([0.05, 0.2])


def test_two_losses_on_one_slot_have_two_names():
    losses = (LossPlan("cross_entropy", "t", "t"), LossPlan("squared", "t", "n"))
    items = encode(encoder("[NUMS:n] -> [WORD:t]", losses=losses), {"n": [0.5], "t": "a"}).terms
    assert [item.term for item in items] == ["toy/t/cross_entropy", "toy/t/squared"]
    assert items[1].labels["values"].tolist() == [0.5] and items[1].head == "numbers"


def test_a_contrast_has_an_item_for_each_side_of_the_pair():
    made = encoder("see [WORD:l | PAIR:r] ->", name="match")
    first, second = (encode(made, {"l": "x", "r": [1, 2]}, seed=seed) for seed in (1, 2))
    left, right = first.terms
    assert [len(sequence) for sequence in first.source] == [2, 2]
    assert (left.pieces, right.pieces) == ((0, 1), (2, 3))
    assert (left.head, left.criterion, left.term, left.side) == (
        "embedding",
        "contrastive",
        "match/l",
        "source",
    )
    assert [item.labels["side"].tolist() for item in (left, right)] == [[0], [1]]
    assert left.labels["pair"] == right.labels["pair"] != second.terms[0].labels["pair"]
    assert left.labels["identity"] == second.terms[0].labels["identity"] != right.labels["identity"]
    other = encode(made, {"l": "y", "r": [1, 2]}).terms
    assert (
        other[0].labels["identity"] != left.labels["identity"]
        and other[1].labels["identity"] == right.labels["identity"]
    )


def test_closed_sets_come_from_a_file_or_with_the_row(tmp_path):
    (tmp_path / "set.txt").write_text("ab\n\nb\n")
    made = encoder("[WORD:a] -> [WORD:t,closed_set]", closed_sets={"t": str(tmp_path / "set.txt")})
    assert encode(made, ROW).terms[0].labels["allowed_lengths"].tolist() == [2, 1, 1]
    made = encoder("[WORD:a] -> [WORD:t,closed_set]", closed_sets={"t": {"column": "options"}})
    example = encode(made, {**ROW, "options": ["ab", "b", "c"]})
    assert example.terms[0].labels["allowed_lengths"].tolist() == [3, 1, 1]
    with pytest.raises(EncodeError, match="column 'options'"):
        encode(made, ROW)
    with pytest.raises(SourceError, match="one value a line"):
        encoder("[WORD:a] -> [WORD:t,closed_set]", closed_sets={"t": str(tmp_path / "none.txt")})
    for content, said in ((b"\xff\xfe", "set.txt is not UTF-8"), (b"\n", "set.txt is empty")):
        (tmp_path / "set.txt").write_bytes(content)
        with pytest.raises(SourceError, match=said):
            encoder("[WORD:a] -> [WORD:t,closed_set]", closed_sets={"t": str(tmp_path / "set.txt")})
    (tmp_path / "set.txt").write_bytes(b"\xef\xbb\xbfx\r\ny\nx\n")
    made = encoder("[WORD:a] -> [WORD:t,closed_set]", closed_sets={"t": str(tmp_path / "set.txt")})
    assert made.closed_sets == {"t": ("x", "y")}
    (tmp_path / "set.txt").write_text("x\u2028y\nz\x85\n", encoding="utf-8")
    made = encoder("[WORD:a] -> [WORD:t,closed_set]", closed_sets={"t": str(tmp_path / "set.txt")})
    assert made.closed_sets == {"t": ("x\u2028y", "z\x85")}


def test_context_stays_with_the_example_outside_training():
    made = encoder("[PAIR:p] -> [WORD:t]")
    row = {"p": [1, 2], "t": "a", "other": SimpleNamespace()}
    assert encode(made, row).context is None
    assert encode(made, row, split="test").context.row["other"] is row["other"]
    assert encode(made, row).source[0][0].features["tokens"].tolist()[1:-1] == pair(1, 2)
