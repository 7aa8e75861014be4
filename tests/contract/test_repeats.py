"""Repeats in the target: what carries the choice of another turn, and what those see that stand behind the repeat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofacore import Generalist, Task
from ofacore.decoding.output import Output
from ofacore.evaluation.forced import reference_log_probs
from ofacore.plugin import Registry
from ofacore.sources.data_errors import EncodeError


def test_plain_text_before_dense_slots_of_a_repeat_is_learned(tmp_path: Path) -> None:
    walk = np.linspace(0.0, 1.0, 36).reshape(12, 3)
    rows = [
        {"w": word, "m": [walk + place for place in range(turns)]}
        for word, turns in (("one", 1), ("two", 2))
    ]
    sizes = {
        "preset": "tiny",
        "hidden": 32,
        "ffn": 32,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
    }
    model = Generalist.create(
        [Task("walk", "[TEXT:w] -> ( and [MOTION:m,length=12] )*", train=rows)], **sizes
    )
    assert {part.name for part in model.model.needs.criteria} >= {"cross_entropy"}
    model.fit(steps=1, samples=2, out=tmp_path / "run", precision="fp32")


ROWS = [
    {
        "what": "head",
        "pre": "d",
        "tags": ["ab", "c"],
        "kinds": ["d", "ef"],
        "side": "a",
        "post": "b",
    },
    {"what": "face", "pre": "e", "tags": ["d"], "kinds": ["h"], "side": "bc", "post": "ccc"},
]


def made(line: str, monkeypatch: pytest.MonkeyPatch, **options: str) -> Generalist:
    monkeypatch.setenv("OFA_PLUGIN_DEV", "codes=tests.contract.codes:MANIFEST")
    return Generalist.create(
        [Task("tell", f"[WORD:what] -> {line}", train=ROWS)],
        registry=Registry.discover(),
        preset="tiny",
        hidden=32,
        ffn=64,
        heads=2,
        encoder_layers=1,
        decoder_layers=2,
        **options,
    )


def agrees(
    model: Generalist, outputs: Sequence[Output], rows: Sequence[dict[str, Any]] = ROWS
) -> None:
    """What stands behind the repeat has the log-probability that one pass over the whole target gives."""
    for row, output in zip(rows, outputs, strict=True):
        written = {**row, **output.values}
        encoder = model.assembly.encoders["tell"]
        (found,) = reference_log_probs(model.model, encoder, [written], "post")
        assert output.candidates["post"][0].log_prob == pytest.approx(sum(found), abs=5e-5)


SEARCH = {"max_length": 3, "min_length": 1, "unk_penalty": 99.0, "strategy": "beam"}


@pytest.mark.parametrize("start", ["bos", "eos bos"])
@pytest.mark.parametrize("turns", [0, 1, 2])
@pytest.mark.parametrize(
    "line", ["([WORD:tags])* [WORD:post]", "(and [WORD:tags])* so [WORD:post]"]
)
def test_what_follows_a_repeat_sees_what_it_saw_in_training(
    line: str, turns: int, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made(line, monkeypatch, target_start=start)
    decide = lambda _, rows, *__: [turns == 0] * len(rows)  # noqa: E731
    monkeypatch.setattr("ofacore.decoding.target._decide", decide)
    agrees(model, model.infer("tell", ROWS, max_turns=max(turns, 1), **SEARCH))


@pytest.mark.parametrize(
    "line",
    [
        "([WORD:kinds,no_loss] [WORD:tags])* [WORD:post]",
        "([WORD:side,no_loss] (of [WORD:kinds,no_loss])? is [WORD:tags])* so [WORD:post]",
    ],
)
def test_each_turn_of_a_repeat_is_given_its_own_value(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made(line, monkeypatch)
    monkeypatch.setattr("ofacore.decoding.target._decide", lambda _, rows, *__: [False] * len(rows))
    outputs = model.infer("tell", ROWS, max_turns=9, **SEARCH)
    assert [len(output["tags"]) for output in outputs] == [2, 1]
    assert not any(output.cut for output in outputs)
    agrees(model, outputs)


@pytest.mark.parametrize(
    ("line", "sides"),
    [
        ("(of [WORD:side,no_loss])? [WORD:post]", ("a", None)),
        ("[WORD:pre] (of [WORD:side,no_loss])? [WORD:post]", (None, "a")),
        (
            "([WORD:kinds,no_loss] (of [WORD:side,no_loss])? is [WORD:tags])* so [WORD:post]",
            (["a", None], ["b"]),
        ),
        ("([WORD:side,no_loss] is [WORD:tags])* [WORD:post]", (["a", "b"], None)),
    ],
)
def test_what_lacks_a_given_value_is_left_out_as_in_training(
    line: str, sides: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made(line, monkeypatch)
    monkeypatch.setattr("ofacore.decoding.target._decide", lambda _, rows, *__: [False] * len(rows))
    rows = [{**row, "side": side} for row, side in zip(ROWS, sides, strict=True)]
    outputs = model.infer("tell", rows, max_turns=9, **SEARCH)
    agrees(model, outputs, rows)


def test_a_repeat_that_begins_with_a_given_value_may_have_no_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = made("([WORD:kinds,no_loss] [WORD:tags])* [WORD:post]", monkeypatch)
    rows = [{**row, "kinds": [], "tags": []} for row in ROWS]
    encoder = model.assembly.encoders["tell"]
    encoder.encode(rows[0], split="train", rng=np.random.default_rng(0), row_id="r")
    outputs = model.infer("tell", rows, **SEARCH)
    assert [output["tags"] for output in outputs] == [[], []]
    agrees(model, outputs, rows)


def test_a_given_value_that_cannot_be_used_is_told_by_its_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = made("([WORD:kinds,no_loss] [WORD:tags])* [WORD:post]", monkeypatch)
    rows = [ROWS[0], {**ROWS[1], "kinds": [None]}]
    with pytest.raises(EncodeError, match="row 1, column 'kinds': .* is given, not generated"):
        model.infer("tell", rows)
