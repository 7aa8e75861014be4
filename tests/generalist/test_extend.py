"""A model takes more tasks: what it knew stays bit for bit, and only what is new is initialised."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ofacore import Generalist, Task
from ofacore.ground.errors import UserError
from tests.generalist.growing import (
    QUIET,
    ROWS,
    SHOUT,
    SMALL,
    answers,
    joining,
    logits,
    made,
)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Generalist:
    torch.set_num_threads(1)
    model = made()
    model.fit(6, out=tmp_path_factory.mktemp("old") / "run", **QUIET)
    return model


@pytest.fixture(scope="module")
def grown(old: Generalist) -> Generalist:
    return old.extend(joining())


def test_old_tasks_say_the_same_bit_for_bit(old: Generalist, grown: Generalist) -> None:
    assert grown.tasks == ("shout", "place", "move", "sort")
    assert grown.assembly.vocabulary.size > old.assembly.vocabulary.size
    for task in old.tasks:
        assert torch.equal(logits(old, task), logits(grown, task))
        assert answers(old, task) == answers(grown, task)
    assert answers(old, "shout", strategy="beam", beam=3) == answers(
        grown, "shout", strategy="beam", beam=3
    )


def test_what_was_there_stays_and_the_model_it_came_from_too(
    old: Generalist, grown: Generalist
) -> None:
    before, after = old.model.portable_state(), grown.model.portable_state()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert set(old.model.adapters) < set(grown.model.adapters)
    assert old.tasks == ("shout", "place")
    blocks = old.assembly.vocabulary.blocks
    assert grown.assembly.vocabulary.blocks[: len(blocks)] == blocks
    for name, artifact in old.assembly.artifacts.items():
        assert grown.assembly.artifacts[name].digest == artifact.digest


def test_what_is_new_does_not_depend_on_the_order_in_which_it_joins(
    old: Generalist, grown: Generalist
) -> None:
    other = old.extend(joining("sort")).extend(joining("move"))
    first, second = grown.model.portable_state(), other.model.portable_state()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_trains_new_tasks_alone_or_with_kept_ones(old: Generalist, tmp_path: Path) -> None:
    model = old.extend(joining("sort"), keep=["shout"])
    assert set(model.data) == {"shout", "sort"}
    model.fit(2, out=tmp_path / "run", **QUIET)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "train/sort/kind" in lines and "train/shout/b" in lines and "place" not in lines
    again = Generalist.from_pretrained(tmp_path / "run")
    assert again.tasks == ("shout", "place", "sort")
    assert torch.equal(logits(again, "sort"), logits(model, "sort"))
    assert [row.task for row in model.evaluate("shout")] == ["shout"]


def test_new_rows_of_a_task_leave_its_held_out_rows(old: Generalist, tmp_path: Path) -> None:
    model = old.extend(joining("sort"))
    model.fit(1, out=tmp_path / "a", data={"shout": ROWS[:4]}, **QUIET)
    assert [row.samples for row in model.evaluate("shout", baseline=False)] == [len(ROWS)]


def test_held_out_files_are_scored_after_a_training_on_other_rows(tmp_path: Path) -> None:
    texts = [{"a": row["a"], "b": row["b"]} for row in ROWS]
    for name, part in (("train", texts[:4]), ("test", texts[4:])):
        (tmp_path / f"{name}.json").write_text(json.dumps(part))
    uses = [{"metric": "accuracy", "slot": "b"}]
    files = {name: str(tmp_path / f"{name}.json") for name in ("train", "test")}
    task = Task("shout", SHOUT, **files, metrics=uses)
    place = Generalist.create([task], **SMALL).save(tmp_path / "model")
    model = Generalist.from_pretrained(place)
    model.fit(1, out=tmp_path / "run", data={"shout": texts[:3]}, **QUIET)
    assert [row.samples for row in model.evaluate(baseline=False)] == [2]


def test_tasks_that_are_left_without_rows_are_not_asked_for_them(tmp_path: Path) -> None:
    place = made().save(tmp_path / "old")
    uses = [{"metric": "accuracy", "slot": "b"}]
    new = Task("louder", SHOUT, train=ROWS, test=ROWS, metrics=uses)
    model = Generalist.from_pretrained(place).extend([new])
    assert [row.task for row in model.evaluate(baseline=False)] == ["louder"]
    with pytest.raises(UserError, match="task 'shout': its rows were given as Python objects"):
        model.evaluate("shout")


def test_a_training_that_cannot_begin_changes_nothing(old: Generalist, tmp_path: Path) -> None:
    model = old.extend(joining("sort"))
    model.fit(1, out=tmp_path / "run", **QUIET)
    with pytest.raises(UserError, match="holds a run already"):
        model.fit(1, out=tmp_path / "run", data={"shout": ROWS[:1]}, **QUIET)
    model.fit(1, out=tmp_path / "other", **QUIET)
    assert "train/shout" not in (tmp_path / "other" / "metrics.jsonl").read_text()
    assert set(model.aside) == {"shout", "place"} and set(model.data) == {"sort"}


def test_a_model_of_some_tasks_is_slim_and_says_the_same(grown: Generalist, tmp_path: Path) -> None:
    slim = grown.only(["place", "move"])
    assert slim.tasks == ("place", "move")
    slim.save(tmp_path / "slim")
    loaded = Generalist.from_pretrained(tmp_path / "slim")
    for task in slim.tasks:
        assert torch.equal(logits(grown, task), logits(loaded, task))
    assert answers(grown, "place") == answers(loaded, "place")
    assert not any("category" in name for name in loaded.model.portable_names())
    whole, part = (m.model.portable_state() for m in (grown, loaded))
    assert sum(v.numel() for v in part.values()) < sum(v.numel() for v in whole.values())
    with pytest.raises(UserError, match="no task 'plase' in this model; did you mean 'place'"):
        grown.only(["plase"])


def test_a_head_that_scores_all_blocks_does_not_score_those_that_join_later(
    tmp_path: Path,
) -> None:
    old = made()
    whole = Generalist.create(
        [Task("shout", "louder: [TEXT:a] -> [TEXT:b]", train=ROWS)],
        options={"head/token": {"whole": True}},
        **{key: getattr(old.assembly.config.model, key) for key in ("hidden", "ffn", "heads")},
        encoder_layers=1,
        decoder_layers=1,
    )
    grown = whole.extend(joining("sort"))
    assert torch.equal(logits(whole, "shout"), logits(grown, "shout"))
    assert logits(grown, "sort").numel()
    grown.save(tmp_path / "saved")
    loaded = Generalist.from_pretrained(tmp_path / "saved")
    assert torch.equal(logits(whole, "shout"), logits(loaded, "shout"))
    assert torch.equal(logits(grown.only("shout"), "shout"), logits(whole, "shout"))
    assert grown.only("shout").assembly.vocabulary.size == whole.assembly.vocabulary.size


@pytest.mark.parametrize(
    "model", [{"experts": "modality"}, {"experts": "task"}, {"positions": "untied"}]
)
def test_experts_and_positions_of_new_tasks_are_added(model: dict[str, str]) -> None:
    old = made(**model)
    grown = old.extend(joining())
    for task in old.tasks:
        assert torch.equal(logits(old, task), logits(grown, task))
    for task in ("sort", "move"):
        assert logits(grown, task).isfinite().all()


def test_new_classes_and_sizes_join_what_the_model_has_fitted(grown: Generalist) -> None:
    sizes = [{**row, "kind": "long" if len(row["a"]) > 3 else "c"} for row in ROWS]
    wide = [{**row, "m": np.repeat(row["m"], 2, axis=1)} for row in ROWS]
    more = grown.extend(
        [
            Task("size", "how long is [TEXT:a]? -> [CATEGORY:kind]", train=sizes),
            Task("wider", "[MOTION:m,min_length=0] is what? -> [TEXT:a]", train=wide),
        ]
    )
    for task in grown.tasks:
        assert torch.equal(logits(grown, task), logits(more, task))
    found = more.infer("size", [{"a": row["a"]} for row in ROWS])
    assert {out["kind"] for out in found} <= {"long", "c"}
    kinds = {out["kind"] for out in more.infer("sort", [{"a": row["a"]} for row in ROWS])}
    assert kinds <= {row["kind"] for row in ROWS}
    assert more.infer("wider", {"m": wide[0]["m"]}, max_length=2).text is not None
    blocks = grown.assembly.vocabulary.blocks
    assert more.assembly.vocabulary.blocks[: len(blocks)] == blocks
    assert len(more.assembly.vocabulary.blocks) == len(blocks) + 1


def test_what_asks_for_another_model_is_refused_with_both_sides(old: Generalist) -> None:
    with pytest.raises(UserError, match="tasks.shout: the model has a task of that name"):
        old.extend([Task("shout", "[TEXT:a] -> [TEXT:b]", train=ROWS)])
    with pytest.raises(UserError, match="no task 'shot'; did you mean 'shout'"):
        old.extend(joining("sort"), keep=["shot"])
    with pytest.raises(UserError, match=r"vocab_size: found 512, but the model .* has 4096"):
        old.extend(joining("sort"), options={"preprocessor/text": {"vocab_size": 512}})
    with pytest.raises(UserError, match="IMAEG"):
        old.extend([Task("bad", "[IMAEG:a] -> [TEXT:b]", train=ROWS)])
