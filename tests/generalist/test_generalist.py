"""The object a user holds, with the real plugins: every form of instruction trains two steps and answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ofacore import Generalist, Task
from ofacore.ground.errors import UserError
from ofacore.instruction import InstructionError
from ofacore.sources.data_errors import EncodeError

SMALL = {
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "dropout": 0.0,
}
QUIET: dict[str, Any] = {"samples": 8, "trackers": ("jsonl",), "precision": "fp32", "threads": 1}
WORDS = ("red", "green", "blue", "cat", "dog", "sun")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def picture(colour: str) -> Image.Image:
    return Image.new("RGB", (32, 24), colour)


def wave(frames: int) -> np.ndarray:
    t = np.linspace(0, 6, frames, dtype=np.float32)
    return np.stack([np.sin(t), np.cos(t), t], 1)


ROWS = [
    {
        "img": picture(colour),
        "other": picture("white"),
        "cap": colour,
        "n": str(len(colour)),
        "box": [4, 4, 20, 18],
        "boxes": [[1, 1, 10, 10], [12, 4, 30, 20]][: 1 + k % 2],
        "names": ["cat", "dog"][: 1 + k % 2],
        "m": wave(12 + k % 3),
        "note": "bright" if k % 2 else None,
    }
    for k, colour in enumerate(("red", "green", "blue", "red", "green", "blue", "gray", "black"))
]

FORMS = {
    "image to text": "[IMAGE:img,size=32] what colour? -> [TEXT:cap]",
    "closed set": "[IMAGE:img,size=32] which? -> [TEXT:cap,closed_set]",
    "box": '[IMAGE:img,size=32] where is " [TEXT:cap] "? -> [BOX:box]',
    "region": "[IMAGE:img,size=32] what is in [BOX:box]? -> [TEXT:cap]",
    "two images": "[IMAGE:img,size=32] [IMAGE:other,size=32] which differs? [BOX:box,image=img] -> [TEXT:cap]",
    "repeat": "[IMAGE:img,size=32] what is there? -> ([BOX:boxes] [TEXT:names])*",
    "source repeat": "[IMAGE:img,size=32] list: ([BOX:boxes] is [TEXT:names])* -> [TEXT:cap]",
    "optional": "[TEXT:cap] (note: [TEXT:note])? -> [TEXT:n] (because [TEXT:note])?",
    "prompted": "is [TEXT:cap] long? -> is [TEXT:cap,no_loss] long? [TEXT:n,closed_set]",
    "text to motion": "move: [TEXT:cap] -> [MOTION:m,min_length=0]",
    "motion to text": "[MOTION:m,min_length=0] -> [TEXT:cap]",
    "three targets": "[IMAGE:img,size=32] -> [TEXT:cap] [MOTION:m,min_length=0] [BOX:box]",
    "decoder only": "-> [TEXT:cap]",
    "plain target": "[TEXT:cap] -> the length is [TEXT:n] letters",
}


def trained(tmp_path: Path, tasks: list[Task], **model: Any) -> Generalist:
    generalist = Generalist.create(tasks, **{**SMALL, **model})
    generalist.fit(2, out=tmp_path / "run", **QUIET)
    return generalist


def test_every_form_of_instruction_trains_and_answers_in_one_model(tmp_path: Path) -> None:
    tasks = [Task(name, text, train=ROWS, valid=ROWS[:2]) for name, text in FORMS.items()]
    generalist = trained(tmp_path, tasks)
    for name, text in FORMS.items():
        given = {
            k: v
            for k, v in ROWS[1].items()
            if f":{k}]" in text.split("->")[0] or f":{k}," in text.split("->")[0]
        }
        given |= {"cap": "red"} if "no_loss" in text else {}
        target = text.split("->")[1]
        quick = {"steps": 3} if "MOTION" in target else {}
        quick |= {"max_length": 4} if "TEXT" in target or "BOX" in target else {}
        out = generalist.infer(name, [given, given], max_turns=3, **quick)
        assert [set(o.fields) for o in out] == [set(out[0].fields)] * 2, name
        assert out[0].fields, name
    turns = generalist.infer("repeat", ROWS[0], max_turns=3, max_length=3)
    assert len(turns["boxes"]) == len(turns["names"]) <= 3
    motion = generalist.infer("text to motion", {"cap": "red"}, steps=3)
    assert motion.motion.shape[1] == 3
    assert all(len(b) == 4 for b in [generalist.infer("box", ROWS[0]).boxes])


def test_a_contrast_trains_two_steps_and_pulls_pairs_together(tmp_path: Path) -> None:
    task = Task("match", "[IMAGE:img,size=32|TEXT:cap] ->", train=ROWS[:3])
    generalist = Generalist.create([task], **SMALL)
    generalist.fit(30, out=tmp_path / "run", **QUIET)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    first, last = (float(eval_loss(line)) for line in (lines[0], lines[-2]))
    assert last < first


def eval_loss(line: str) -> float:
    import json

    return next(
        v for k, v in json.loads(line).items() if k.startswith("train/match") and k.count("/") == 2
    )


def test_a_saved_model_answers_the_same_whatever_else_is_asked(tmp_path: Path) -> None:
    generalist = trained(
        tmp_path,
        [Task("t", FORMS["image to text"], train=ROWS), Task("b", FORMS["box"], train=ROWS)],
    )
    generalist.save(tmp_path / "saved")
    loaded = Generalist.from_pretrained(tmp_path / "saved")
    rows = [{"img": row["img"], "cap": row["cap"]} for row in ROWS]
    together = generalist.infer("t", rows, max_length=5)
    for row, output in zip(rows, together, strict=True):
        alone = loaded.infer("t", row, max_length=5)
        assert alone["cap"] == output["cap"]
        assert alone.score == pytest.approx(output.score, abs=1e-4)
    from_run = Generalist.from_pretrained(tmp_path / "run")
    assert from_run.infer("b", rows[0])["box"] == generalist.infer("b", rows[0])["box"]


DRAWN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "repeat": (
        {"img": picture("red")},
        {"strategy": "sample", "n_best": 2, "max_length": 5, "max_turns": 3},
    ),
    "three targets": (
        {"img": picture("red")},
        {"strategy": "sample", "max_length": 5, "steps": 3, "scheduler": "ddpm"},
    ),
    "text to motion": ({"cap": "red"}, {"n_best": 2, "steps": 3, "scheduler": "ddpm"}),
}


def test_what_is_drawn_depends_on_the_seed_and_the_row_alone(tmp_path: Path) -> None:
    generalist = trained(tmp_path, [Task(name, FORMS[name], train=ROWS) for name in DRAWN])
    for name, (row, options) in DRAWN.items():
        whole, single, two, other = (
            generalist.infer(name, [row] * 4, batch_size=size, seed=seed, **options)
            for size, seed in ((4, 1), (1, 1), (2, 1), (4, 2))
        )
        for answers in (single, two):
            assert all(map(alike, whole, answers)), name
        assert not any(map(alike, whole, other)), f"{name}: another seed draws something else"
        assert not any(alike(whole[0], one) for one in whole[1:]), f"{name}: rows draw their own"


def alike(one: Any, other: Any) -> bool:
    """Whether two outputs have the same values, numbers within 1e-4."""
    return all(same(one[name], other[name]) for name in one.values)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, str) or (isinstance(one, list) and one and isinstance(one[0], str)):
        return bool(one == other)
    return np.shape(one) == np.shape(other) and np.allclose(one, other, atol=1e-4)


def test_guidance_of_one_is_no_guidance_and_guidance_needs_a_prompt(tmp_path: Path) -> None:
    task = Task("move", FORMS["text to motion"], train=ROWS, prompt_slot="cap", drop_prompt=0.5)
    generalist = trained(tmp_path, [task])
    plain = generalist.infer("move", {"cap": "red"}, steps=4, guidance=1.0, seed=3).motion
    again = generalist.infer("move", {"cap": "red"}, steps=4, seed=3).motion
    guided = generalist.infer("move", {"cap": "red"}, steps=4, guidance=3.0, seed=3).motion
    assert np.array_equal(plain, again)
    assert not np.allclose(plain, guided)


def test_a_free_instruction_is_answered_and_embeddings_have_the_width_of_the_model(
    tmp_path: Path,
) -> None:
    generalist = trained(tmp_path, [Task("t", FORMS["image to text"], train=ROWS)])
    asked = {"img": ROWS[0]["img"]}
    out = generalist.infer(
        "[IMAGE:img] tell me: -> [TEXT:x]", asked, max_length=3, n_best=2, strategy="beam", beam=3
    )
    assert out.text == out["x"] and len(out.candidates["x"]) == 2
    vectors = generalist.encode(
        "[IMAGE:img] what colour? -> [TEXT:cap]", [{"img": row["img"]} for row in ROWS[:3]]
    )
    assert vectors.shape == (3, 32)


def test_a_closed_set_given_at_inference_is_kept_to(tmp_path: Path) -> None:
    generalist = trained(tmp_path, [Task("t", FORMS["closed set"], train=ROWS)])
    allowed = generalist.infer(
        "t", {"img": ROWS[0]["img"]}, closed_set={"cap": ["cat", "dog"]}, n_best=2
    )
    assert {c.value for c in allowed.candidates["cap"]} == {"cat", "dog"}
    assert sum(np.exp([c.score for c in allowed.candidates["cap"]])) == pytest.approx(1, abs=1e-3)
    assert generalist.infer("t", {"img": ROWS[0]["img"]})["cap"] in {row["cap"] for row in ROWS}


def test_mistakes_are_told_in_the_users_terms(tmp_path: Path) -> None:
    generalist = trained(tmp_path, [Task("t", FORMS["image to text"], train=ROWS)])
    with pytest.raises(UserError, match="did you mean 't'|no task"):
        generalist.infer("tt", {})
    with pytest.raises(InstructionError, match="IMAEG"):
        generalist.infer("[IMAEG:img] -> [TEXT:cap]", {})
    with pytest.raises(EncodeError, match="img"):
        generalist.infer("t", {})
    with pytest.raises(UserError, match="no adapter 'motion'"):
        generalist.infer("[MOTION:m] -> [TEXT:cap]", {"m": wave(12)})
    with pytest.raises(UserError, match="did you mean 'beam'"):
        generalist.infer("t", {"img": ROWS[0]["img"]}, beams=3)
    with pytest.raises(UserError, match="holds a run already"):
        generalist.fit(2, out=tmp_path / "run", **QUIET)
    with pytest.raises(UserError, match="two tasks are called 'x'"):
        Generalist.create(
            [Task("x", "[TEXT:a] -> [TEXT:b]", train=[]), Task("x", "-> [TEXT:b]", train=[])]
        )
    with pytest.raises(UserError, match="tasks.x.data.train"):
        Generalist.create([Task("x", "[TEXT:a] -> [TEXT:b]")])


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    states = []
    for place in ("a", "b"):
        generalist = Generalist.create([Task("t", FORMS["image to text"], train=ROWS)], **SMALL)
        generalist.fit(3, out=tmp_path / place, **QUIET)
        states.append(generalist.model.portable_state())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_labels_are_smoothed_as_each_training_asks(tmp_path: Path) -> None:
    tasks = [Task("t", FORMS["image to text"], train=ROWS)]

    def smoothing(model: Generalist) -> float:
        rng = np.random.default_rng(0)
        encoder = model.assembly.encoders["t"]
        (item,) = encoder.encode(ROWS[0], split="train", rng=rng, row_id="0").terms
        return model.model.criterion(item.criterion, item.options).label_smoothing

    generalist = Generalist.create(tasks, **SMALL)
    assert smoothing(generalist) == 0.0
    for place, share in {"a": 0.5, "b": 0.25, "c": 0.0}.items():
        generalist.fit(1, out=tmp_path / place, label_smoothing=share, **QUIET)
        assert smoothing(generalist) == share
        assert smoothing(Generalist.from_pretrained(tmp_path / place)) == share


def test_what_rules_freeze_is_trained_by_the_next_training_without_them(tmp_path: Path) -> None:
    generalist = Generalist.create([Task("t", FORMS["image to text"], train=ROWS)], **SMALL)
    rules = [{"pattern": "backbone.encoder", "freeze": True}]
    generalist.fit(2, out=tmp_path / "frozen", optimizer={"rules": rules}, **QUIET)
    with pytest.raises(UserError, match="nothing is left to train"):
        every = [{"pattern": ".", "freeze": True}]
        generalist.fit(2, out=tmp_path / "none", optimizer={"rules": every}, **QUIET)
    loaded = Generalist.from_pretrained(tmp_path / "frozen")
    before = loaded.model.portable_state()
    generalist.fit(2, out=tmp_path / "all", optimizer={}, **QUIET)
    loaded.fit(2, out=tmp_path / "loaded", data={"t": ROWS}, optimizer={}, **QUIET)
    found, expected = generalist.model.portable_state(), loaded.model.portable_state()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    encoder = [name for name in found if "backbone.encoder" in name]
    assert not all(torch.equal(found[name], before[name]) for name in encoder)
