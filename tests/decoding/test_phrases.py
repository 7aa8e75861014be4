"""Phrases that a value must contain: they are there, or the call is refused before anything is generated."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from ofacore import Generalist, Task
from ofacore.ground.errors import UserError

SMALL: dict[str, Any] = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "heads": 2,
}
ROWS = [
    {"a": f"cat {i}", "b": f"blue dog {i}", "img": Image.new("RGB", (16, 16)), "box": [1, 1, 9, 9]}
    for i in range(6)
]
TEXT = "[TEXT:a] -> [TEXT:b]"
PHRASE = "blue dog blue dog blue dog"


@pytest.fixture(scope="module")
def model() -> Generalist:
    tasks = [
        Task("t", TEXT, train=ROWS),
        Task("named", "[TEXT:a] which? -> [TEXT:b,closed_set]", train=ROWS),
        Task(
            "both", "[IMAGE:img,size=16] [TEXT:a] -> [BOX:box] [TEXT:b,max_length=30]", train=ROWS
        ),
        Task("place", "[IMAGE:img,size=16] where? -> [BOX:box]", train=ROWS),
    ]
    return Generalist.create(tasks, **SMALL)


@pytest.mark.parametrize(
    "strategy", ["greedy", "beam", "sample", "diverse_beam", "diverse_siblings"]
)
@pytest.mark.parametrize("forced_end", ["scored", "free", "none"])
def test_phrases_occur_within_the_length(model: Generalist, strategy: str, forced_end: str) -> None:
    options: dict[str, Any] = {
        "strategy": strategy,
        "forced_end": forced_end,
        "beam": 4,
        "groups": 2,
    }
    out = model.infer("t", {"a": "cat"}, must_contain=["blue dog", "cat"], max_length=9, **options)
    assert "blue dog" in out["b"] and "cat" in out["b"]


@pytest.mark.parametrize("strategy", ["greedy", "beam"])
def test_a_phrase_longer_than_the_value_may_be_is_refused_with_both_numbers(
    model: Generalist, strategy: str
) -> None:
    with pytest.raises(
        UserError,
        match=r"slot 'b' needs (\d+) tokens for it, but max_length is 3; raise max_length",
    ):
        model.infer("t", {"a": "cat"}, must_contain=[PHRASE], max_length=3, strategy=strategy)
    with pytest.raises(UserError, match=r"but its max_length is 3"):
        model.infer(
            "[TEXT:a] -> [TEXT:b,max_length=3]",
            {"a": "cat"},
            must_contain=[PHRASE],
            strategy=strategy,
        )


def test_phrases_within_phrases_need_no_room_of_their_own(model: Generalist) -> None:
    alone = model.infer("t", {"a": "cat"}, must_contain=["blue dog blue"], max_length=12)
    assert "blue dog blue" in alone["b"]
    fewest = next(n for n in range(1, 20) if _fits(model, ["blue dog blue"], n))
    assert _fits(model, ["blue dog blue", "dog blue", "blue dog blue"], fewest)


def _fits(model: Generalist, phrases: list[str], length: int) -> bool:
    try:
        model.infer("t", {"a": "cat"}, must_contain=phrases, max_length=length)
    except UserError:
        return False
    return True


def test_phrases_are_for_open_text(model: Generalist) -> None:
    row = {"a": "cat", "img": ROWS[0]["img"]}
    out = model.infer("both", row, must_contain=["dog"], max_length=30)
    assert "dog" in out["b"] and len(out["box"] or [0] * 4) == 4
    for task in ("place", "named"):
        with pytest.raises(
            UserError, match=r"must_contain=\['dog'\]: no target slot takes phrases"
        ):
            model.infer(task, row, must_contain=["dog"])


def test_lengths_of_slot_and_options_that_contradict_each_other_are_named(
    model: Generalist,
) -> None:
    with pytest.raises(UserError, match="slot 'b': min_length=9 is more than max_length=4"):
        model.infer("[TEXT:a] -> [TEXT:b,min_length=9]", {"a": "cat"}, max_length=4)


@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample"])
def test_a_phrase_of_banned_tokens_is_refused(model: Generalist, strategy: str) -> None:
    out = model.infer(
        "t",
        {"a": "cat"},
        must_contain=["blue dog"],
        max_length=9,
        banned_tokens=[[5]],
        strategy=strategy,
    )
    assert "blue dog" in out["b"]
    encoder = model.assembly.encoders["t"]
    slot = next(iter(encoder.plan.templates[0].targets()))
    (segment,) = encoder.preprocessors[slot.preprocessor].encode(
        "blue dog", slot, encoder.context({}, encoder.plan.templates[0], "infer", None)
    )
    for banned in (segment.ids[-1:].tolist(), segment.ids.tolist()):
        with pytest.raises(
            UserError, match=r"banned_tokens forbids \[.*\], which slot 'b' needs for it"
        ):
            model.infer(
                "t",
                {"a": "cat"},
                must_contain=["blue dog"],
                banned_tokens=[banned],
                strategy=strategy,
            )


def test_a_phrase_of_which_nothing_is_left_is_refused(model: Generalist) -> None:
    bare = "[TEXT:a] -> [TEXT:b,no_punctuation]"
    for phrases in (["!!!"], ["dog", "!!!"]):
        with pytest.raises(
            UserError, match="nothing is left of '!!!' as slot 'b' writes its values; leave it out"
        ):
            model.infer(bare, {"a": "cat"}, must_contain=phrases)
    assert "dog" in model.infer(bare, {"a": "cat"}, must_contain=["dog!"], max_length=9)["b"]


def test_a_negative_token_is_refused(model: Generalist) -> None:
    with pytest.raises(
        UserError, match=r"banned_tokens holds \[-1\]; expected lists of token ids from 0"
    ):
        model.infer("t", {"a": "cat"}, banned_tokens=[[-1]])
