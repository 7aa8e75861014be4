"""Closed sets from whatever a user gives to the answers of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofacore import Generalist, Task
from ofacore.config.problems import ConfigError
from ofacore.ground.errors import UserError
from ofacore.setup.run_check import read_checked

SIZES = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 32,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}
CHOICE = "[TEXT:q] -> [TEXT:y,closed_set]"
ROWS = [{"q": "good", "y": "yes"}, {"q": "bad", "y": "no"}] * 20


def made(instruction: str = CHOICE, rows: Any = ROWS, **options: Any) -> Generalist:
    return Generalist.create([Task("t", instruction, train=rows, **options)], **SIZES)


@pytest.fixture(scope="module")
def model() -> Generalist:
    open_task = Task("open", "[TEXT:q] -> [TEXT:z]", train=[{"q": "good", "z": "well"}])
    generalist = Generalist.create([Task("t", CHOICE, train=ROWS), open_task], **SIZES)
    generalist.model.eval()
    return generalist


@pytest.mark.parametrize("odd", [True, float("nan"), None, ["x"], b"x", "\ud800"], ids=repr)
def test_an_odd_row_costs_that_row_alone(odd: Any) -> None:
    generalist = made(rows=[*ROWS, {"q": "odd", "y": odd}])
    assert generalist.assembly.plans["t"].closed_sets == {"y": ("no", "yes")}
    encoder, rng = generalist.assembly.encoders["t"], np.random.default_rng(0)
    encoder.encode(ROWS[0], split="train", rng=rng, row_id="row 0")
    with pytest.raises(ValueError, match="row 40, column 'y'"):
        encoder.encode({"q": "odd", "y": odd}, split="train", rng=rng, row_id="row 40")


def test_sets_of_numpy_survive_a_checkpoint(tmp_path: Path) -> None:
    rows = [{"q": f"{value}", "y": value} for value in np.array([1, 0])]
    generalist = made(rows=rows)
    assert generalist.infer("t", {"q": "1"}).text in ("0", "1")
    again = Generalist.from_pretrained(generalist.save(tmp_path / "saved"))
    assert again.assembly.plans["t"].closed_sets == {"y": (0, 1)}
    given = made(closed_sets={"y": np.array(["yes", "no"])})
    assert given.assembly.state()["config"]["tasks"]["t"]["closed_sets"] == {"y": ["yes", "no"]}


def test_a_set_from_a_file_is_saved_with_the_model(tmp_path: Path) -> None:
    file = tmp_path / "answers.txt"
    file.write_text("yes\nno\n\nmaybe\n", encoding="utf-8")
    saved = made(closed_sets={"y": str(file)}).save(tmp_path / "saved")
    file.unlink()
    (candidates,) = (
        Generalist.from_pretrained(saved).infer("t", {"q": "good"}, n_best=9).candidates.values()
    )
    assert {candidate.value for candidate in candidates} == {"yes", "no", "maybe"}


@pytest.mark.parametrize(
    ("instruction", "labels", "message"),
    [
        (
            "[TEXT:q] -> [TEXT:y,closed_set,max_length=3]",
            ["a very long label about dogs", "a very long label about cats"],
            r"'a very long label about cats' and 'a very long label about dogs' are the same tokens in "
            r"\[TEXT:y\]; change its attributes \(max_length=3\), or list one of them",
        ),
        (
            "[TEXT:q] -> [TEXT:y,closed_set,uncased]",
            ["Yes", "yes", "no"],
            r"'Yes' and 'yes' .*\(uncased\)",
        ),
        (
            "[TEXT:q] -> [TEXT:y,closed_set,no_punctuation]",
            ["no", "no!"],
            r"'no' and 'no!' .*\(no_punctuation\)",
        ),
    ],
)
def test_members_that_become_the_same_tokens_are_refused(
    instruction: str, labels: list[str], message: str
) -> None:
    rows = [{"q": f"{number}", "y": label} for number, label in enumerate(labels)]
    with pytest.raises(ConfigError, match=f"tasks.t.closed_sets.y: {message}"):
        made(instruction, rows)
    generalist = made(instruction, rows, closed_sets={"y": labels[1:]})
    with pytest.raises(UserError, match=r"closed_set\['y'\]: .* are the same tokens"):
        generalist.infer("t", {"q": "0"}, closed_set={"y": labels})


def test_truth_values_are_told_by_the_check_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("q,y\ngood,true\nbad,false\n", encoding="utf-8")
    config = tmp_path / "run.yaml"
    text = (
        "tasks:\n  t:\n    instruction: '[TEXT:q] -> [TEXT:y,closed_set]'\n"
        f"    data: {{train: {tmp_path / 'labels.csv'}}}\n    closed_sets: {{y: [BOTH]}}\n"
    )
    config.write_text(text.replace("BOTH", "true, false"), encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"run.yaml:5: tasks.t.closed_sets.y.0: .*put it into quotes: 'true'"
    ):
        read_checked([str(config)])
    config.write_text(text.replace("BOTH", "'true', 'false'"), encoding="utf-8")
    read_checked([str(config)])


def test_a_set_that_no_slot_asks_for_is_told(model: Generalist) -> None:
    message = r"tasks.t.closed_sets.y: slot 'y' takes any value; write \[TEXT:y,closed_set\]"
    with pytest.raises(ConfigError, match=message):
        made("[TEXT:q] -> [TEXT:y]", closed_sets={"y": ["yes"]})
    with pytest.raises(UserError, match="the slot takes any value"):
        model.infer("open", {"q": "good"}, closed_set={"z": ["well"]})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("yes", r"found str, expected a list of values, such as \['yes', 'no'\]"),
        ([], "expected at least one value"),
        ([True], "expected text or a number, got bool True"),
        ([float("inf")], "but number 1 is inf"),
        ([1, "1"], "1 and '1' are the same tokens"),
    ],
    ids=repr,
)
def test_a_set_given_with_a_call_is_checked_then(
    model: Generalist, given: Any, message: str
) -> None:
    with pytest.raises(UserError, match=rf"closed_set\['y'\]: .*{message}"):
        model.infer("t", {"q": "good"}, closed_set={"y": given})


def test_any_collection_is_taken_with_a_call(model: Generalist) -> None:
    for given in (range(3), np.array([2, 1, 0]), ["0", "0", "1", "2"], (str(n) for n in range(3))):
        (found,) = model.infer(
            "t", {"q": "good"}, closed_set={"y": given}, n_best=9
        ).candidates.values()
        assert {candidate.value for candidate in found} == {"0", "1", "2"}


@pytest.mark.parametrize("size", [5, 1200])
def test_scores_have_one_unit_and_options_of_search_no_say(model: Generalist, size: int) -> None:
    values = [f"answer {number}" for number in range(size)]
    options = {"closed_set": {"y": values}, "n_best": 3, "beam": 3}
    plain = model.infer("t", {"q": "good"}, **options)
    for more in (
        {"min_length": 40},
        {"strategy": "sample", "temperature": 0.1},
        {"strategy": "beam", "length_penalty": 3.0},
        {"max_length": 1},
        {"no_repeat_ngram": 1},
    ):
        found = model.infer("t", {"q": "good"}, **options, **more)
        assert found["y"] == plain["y"] in values
        assert found.score == found.log_prob == plain.log_prob
        assert np.isfinite([candidate.log_prob for candidate in found.candidates["y"]]).all()
    assert plain.mean_log_prob == pytest.approx(plain.log_prob / plain.candidates["y"][0].tokens)
    everything = model.infer("t", {"q": "good"}, **{**options, "n_best": size})
    if size <= 1000:
        assert sum(np.exp([c.log_prob for c in everything.candidates["y"]])) == pytest.approx(
            1, abs=1e-4
        )


def test_an_open_value_has_its_sum_and_its_mean(model: Generalist) -> None:
    out = model.infer(
        "open", {"q": "good"}, strategy="beam", beam=3, n_best=3, max_length=6, length_penalty=0.5
    )
    for candidate in out.candidates["z"]:
        assert candidate.score == pytest.approx(candidate.log_prob / candidate.tokens**0.5)
        assert candidate.mean_log_prob == pytest.approx(candidate.log_prob / candidate.tokens)
    assert (out.log_prob, out.mean_log_prob) == (
        out.candidates["z"][0].log_prob,
        out.candidates["z"][0].mean_log_prob,
    )


@pytest.mark.parametrize(
    ("generation", "message"),
    [
        (
            {"no_repeat_ngram": 1, "min_length": 900, "max_length": 900},
            "no_repeat_ngram=1 leaves room for",
        ),
        ({"must_contain": ["aa aa"], "no_repeat_ngram": 1}, "a phrase repeats 1 of its tokens"),
        ({"must_contain": ["abc"], "max_length": 1}, "max_length is 1"),
        ({"min_length": 9}, "min_length=9 is more than max_length=5"),
    ],
)
def test_what_no_value_can_meet_is_told_before_training(
    generation: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"tasks.t.generation: .*{message}"):
        made(
            "[TEXT:q] -> [TEXT:y,max_length=5]"
            if "min_length" in message
            else "[TEXT:q] -> [TEXT:y]",
            generation=generation,
        )
    if "must_contain" not in generation:
        assert made(generation=generation).infer("t", {"q": "good"})["y"] in ("yes", "no")


def test_what_a_checkpoint_cannot_keep_is_told_before_training() -> None:
    place = "options.criterion/self_critical.reward_options.x"
    options = {"criterion/self_critical": {"reward_options": {"x": float("nan")}}}
    with pytest.raises(ConfigError, match=f"{place}: a number that is not finite cannot be kept"):
        Generalist.create([Task("t", CHOICE, train=ROWS)], **SIZES, options=options)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            "cafe\u0301",
            "a member reads the same, but its accents are other characters; .* form NFC",
        ),
        (
            "yes ",
            "a member differs in blanks alone, 'yes'; take them out, or list the value as it is",
        ),
        ("Yes", "did you mean 'yes'"),
    ],
)
def test_a_value_that_only_looks_like_a_member_is_told(value: str, said: str) -> None:
    generalist = made(closed_sets={"y": ["yes", "no", "caf\u00e9"]})
    with pytest.raises(ValueError, match=f"row 0, column 'y': .*{said}"):
        encoded(generalist, {"q": "good", "y": value})
    encoded(made(closed_sets={"y": ["yes", value]}), {"q": "good", "y": value})


def encoded(generalist: Generalist, row: dict[str, Any]) -> None:
    encoder = generalist.assembly.encoders["t"]
    encoder.encode(row, split="train", rng=np.random.default_rng(0), row_id="row 0")


@pytest.mark.parametrize("pair", [("yes", "yes "), ("cafe\u0301", "caf\u00e9"), (1, 1.0)], ids=repr)
def test_members_that_a_reader_takes_for_one_are_told(
    pair: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    made(rows=[{"q": "good", "y": value} for value in (*pair, "no")])
    assert (
        "the closed set of 'y' holds" in caplog.text and "differ in blanks, accents" in caplog.text
    )
    caplog.clear()
    made(rows=[{"q": "good", "y": value} for value in ("yes", "Yes", "no", 1, 2.5)])
    assert "differ in blanks" not in caplog.text and "nothing to choose" not in caplog.text


def test_a_set_of_one_is_told(caplog: pytest.LogCaptureFixture) -> None:
    made(rows=[{"q": "good", "y": "yes"}, {"q": "bad", "y": "yes"}])
    assert "all training rows have 'yes' in 'y', so there is nothing to choose" in caplog.text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('["yes", "no"]', "which are a list, not a str; the transform 'from_json'"),
        ([], "but the list is empty in this row"),
        (["yes", None], "but value 1 of its list is missing"),
        (None, "but the row does not have it"),
        ({"yes": 1}, "which are a list, not a dict$"),
    ],
    ids=repr,
)
def test_a_column_of_allowed_values_is_blamed_itself(given: Any, said: str) -> None:
    rows = [{"q": "good", "y": "yes", "allowed": ["yes", "no"]}]
    generalist = made(rows=rows, closed_sets={"y": {"column": "allowed"}})
    with pytest.raises(
        ValueError, match=f"row 0, column 'allowed': it holds the allowed values of 'y', {said}"
    ):
        encoded(generalist, {**rows[0], "allowed": given})
    encoded(generalist, {**rows[0], "allowed": np.array(["yes", "no"])})


def test_allowed_values_as_text_of_json_are_read_as_advised() -> None:
    rows = [{"q": "good", "y": "yes", "allowed": '["yes", "no"]'}]
    data = {"transforms": {"allowed": ["from_json"]}}
    encoded(made(rows=rows, closed_sets={"y": {"column": "allowed"}}, data=data), rows[0])
