"""Instructions against a registry: what is decided, and what is refused with a caret under it."""

from __future__ import annotations

import pickle

import pytest

from ofacore.plan import LossPlan, PlanError, as_dict, as_text, compile_instruction, compile_task
from ofacore.plugin import MetricUse, UnknownNameError
from tests.plan.toys import pictures_only, registry


def test_every_slot_gets_its_components() -> None:
    plan = compile_instruction("[PICTURE:p] what is it? -> [WORD:w,max_length=5]", registry())
    picture, plain, word = plan.slots.values()
    assert (picture.adapter, picture.loss, picture.side) == ("patches", False, "source")
    assert (plain.plain, plain.type, plain.preprocessor) == ("what is it?", "WORD", "word")
    assert (word.adapter, word.head, word.criterion, word.generator) == (
        "token",
        "token",
        "cross_entropy",
        "token",
    )
    assert word.loss and word.attributes == {"level": "piece", "max_length": 5}


def test_plain_text_and_no_loss_slots_of_the_target_are_not_learned() -> None:
    text = "[WORD:a] -> it is [WORD:a,no_loss] or [WORD:b]"
    assert [s.loss for s in compile_instruction(text, registry()).slots.values()] == [
        False,
        False,
        False,
        False,
        True,
    ]
    with_loss = compile_instruction(text, registry(), plain_loss=True)
    assert [s.loss for s in with_loss.slots.values()] == [False, True, False, True, True]


@pytest.mark.parametrize(
    ("text", "message", "under", "hint"),
    [
        ("[WRD:a] -> [WORD:b]", "slot type WRD", "WRD", "WORD"),
        (
            "[WORD:a,max_lenght=3] -> [WORD:b]",
            "no attribute 'max_lenght'",
            "max_lenght",
            "'max_length'",
        ),
        ("[WORD:a,max_length=x] -> [WORD:b]", "needs a whole number", "x]", "max_length=10"),
        ("[WORD:a,max_length] -> [WORD:b]", "needs a value", "]", "max_length=10"),
        ("[WORD:a,max_length=0] -> [WORD:b]", "at least 1", "0", None),
        (
            "[WORD:a] -> [WORD:b,max_length=3,min_length=9]",
            "is more than 'max_length=3'",
            "min_length",
            None,
        ),
        ("[WORD:a,ratio=nan] -> [WORD:b]", "0 to 1", "nan", None),
        ("[WORD:a,level=leter] -> [WORD:b]", "no value of 'level'", "leter", "'letter'"),
        ("[WORD:a] -> [WORD:b,closed_set=1]", "takes no value", "1]", "closed_set"),
        ("[WORD:a,closed_set] -> [WORD:b]", "target side", "closed_set", None),
        ("[WORD:a,preprocess=wrd] -> [WORD:b]", "no preprocessor 'wrd'", "wrd", "word"),
        ("[WORD:a,adaptor=tokn] -> [WORD:b]", "no adapter 'tokn'", "tokn", "token"),
        ("[WORD:a,adapter=token,adaptor=token] -> [WORD:b]", "says again", "adaptor", None),
        ("[WORD:a] -> [PICTURE:p]", "cannot be a target", "[PICTURE", "head="),
        ("[WORD:a|WORD:b] -> [WORD:c]", "has no target", "[WORD:a|", "empty"),
    ],
)
def test_mistakes_are_shown_in_place(text: str, message: str, under: str, hint: str | None) -> None:
    with pytest.raises(PlanError) as caught:
        compile_instruction(text, registry())
    assert message in caught.value.message
    assert text[caught.value.position :].startswith(under)
    assert (hint or "") in (caught.value.hint or "")


def test_a_first_party_type_names_its_distribution() -> None:
    with pytest.raises(PlanError, match="pip install ofa-modality-image"):
        compile_instruction("[IMAGE:i] -> [WORD:b]", registry())
    with pytest.raises(PlanError, match="pip install ofa-modality-text"):
        compile_instruction("say it: [PICTURE:i] ->", pictures_only())


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("[PICTURE:p] where? -> [FRAME:f]", "p"),
        ("[PICTURE:p] [PICTURE:q] where? -> [FRAME:f,picture=p]", "p"),
        ("[PICTURE:p] ([PICTURE:q] [FRAME:f])* -> [WORD:w]", "q"),
        ("[PICTURE:p] ([FRAME:f] [WORD:x])* -> [WORD:w]", "p"),
        ("where? -> [FRAME:f]", None),
    ],
)
def test_a_value_is_bound_to_the_nearest_slot_of_its_turn(text: str, bound: str | None) -> None:
    frame = compile_instruction(text, registry()).named("f")
    assert frame is not None and frame.attributes.get("picture") == bound


def test_an_ambiguous_or_wrong_binding_is_refused() -> None:
    with pytest.raises(PlanError, match=r"try: \[FRAME:f,picture=q\]"):
        compile_instruction("[PICTURE:p] [PICTURE:q] -> [FRAME:f]", registry())
    with pytest.raises(PlanError, match="no slot 'x' of type PICTURE"):
        compile_instruction("[PICTURE:p] -> [FRAME:f,picture=x]", registry())


@pytest.mark.parametrize(
    ("instruction", "said", "way_out"),
    [
        (
            "[WORD:a] -> [MARK:m,kind=dot]",
            "MARK needs 'picture', and no PICTURE stands before it",
            "[MARK:m,picture=name]",
        ),
        ("[PICTURE:p] -> [MARK:m]", "MARK needs 'kind'", "[MARK:m,kind=dot]"),
        ("[PICTURE:p] -> [MARK:m,kind]", "'kind' needs a value", "kind=dot"),
    ],
)
def test_what_a_slot_needs_is_asked_for(instruction, said, way_out):
    with pytest.raises(PlanError) as caught:
        compile_instruction(instruction, registry())
    assert said in str(caught.value) and f"try: {way_out}" in str(caught.value)


def test_what_a_slot_needs_may_be_found_or_belong_to_the_other_side():
    written = compile_instruction("[PICTURE:p] -> [MARK:m,kind=dot]", registry())
    read = compile_instruction("[PICTURE:p] [MARK:m] -> [WORD:w]", registry())
    found = [slot for plan in (written, read) for slot in plan.slots.values() if slot.name == "m"]
    assert [slot.attributes for slot in found] == [
        {"kind": "dot", "picture": "p"},
        {"picture": "p"},
    ]


def test_templates_of_a_task_carry_weights() -> None:
    plan = compile_task(
        "t", ["[WORD:a] -> [WORD:b] ||| say [WORD:a] -> [WORD:b]", ("-> [WORD:b]", 3)], registry()
    )
    assert [(t.text, t.weight) for t in plan.templates] == [
        ("[WORD:a] -> [WORD:b]", 1.0),
        ("say [WORD:a] -> [WORD:b]", 1.0),
        ("-> [WORD:b]", 3.0),
    ]


def test_losses_and_metrics_name_slots_and_components_that_exist() -> None:
    text = "[WORD:a] -> [WORD:b]"
    with pytest.raises(PlanError, match="metric names the slot 'c'"):
        compile_task("t", text, registry(), metrics=[MetricUse("accuracy", "c")])
    with pytest.raises(UnknownNameError, match="did you mean 'accuracy'"):
        compile_task("t", text, registry(), metrics=[MetricUse("acuracy", "b")])
    with pytest.raises(UnknownNameError, match="unknown criterion 'ctc'"):
        compile_task("t", text, registry(), losses=[LossPlan("ctc", "a", "b")])


def test_plans_survive_pickling_and_print_every_slot() -> None:
    plan = compile_instruction("[PICTURE:p] (say [WORD:x])* -> ([FRAME:f] [WORD:w])*", registry())
    assert pickle.loads(pickle.dumps(plan)) == plan
    text = as_text(plan)
    assert all(
        name in text
        for name in ("[PICTURE:p]", "[FRAME:f]", "patches", "cross_entropy", "picture=p")
    )
    assert as_dict(plan)["target"] == [{"repeat": [3, 4]}]
