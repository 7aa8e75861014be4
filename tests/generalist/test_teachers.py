"""Models that learn from what others predict: ``train.teachers``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ofacore import Generalist, Task
from ofacore.batching.steps import Step, StepLoader
from ofacore.checkpoint import CheckpointError
from ofacore.config.problems import ConfigError
from ofacore.config.train_section import OptimizerConfig, TeacherConfig
from ofacore.generalist.fitting import loader_settings, schedule, training_data
from ofacore.generalist.teachers import teaching_of
from ofacore.setup.layout_check import teacher_problems
from ofacore.training.gradients import GradientPass
from ofacore.training.optim.optimizer import RunOptimizer
from ofacore.training.step.faults import FaultCounters
from ofacore.training.step.teaching import Teacher, Teaching
from ofacore.training.training_errors import TeacherError
from tests.generalist.growing import PLACE, QUIET, ROWS, SHOUT, SMALL

WRONG = [{"a": row["a"], "kind": ROWS[k - 1]["kind"]} for k, row in enumerate(ROWS)]
"""Each row has the answer of another."""
KIND = "which kind is [TEXT:a]? -> [CATEGORY:kind]"
SORT = "sort [TEXT:a] -> [TEXT:kind,closed_set]"
MOVE = "show [TEXT:a] -> [MOTION:m,min_length=0]"


def tasks(rows: list[dict[str, Any]] = ROWS) -> list[Task]:
    lines = {"shout": SHOUT, "kind": KIND, "place": PLACE, "sort": SORT, "move": MOVE}
    return [Task(name, line, train=rows) for name, line in lines.items()]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of all tasks."""
    return Generalist.create(tasks(), **SMALL).save(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def teacher(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Taken out of it, it has learned which kind a word is."""
    one = Generalist.from_pretrained(base).only(["kind"])
    data = {"kind": [{key: row[key] for key in ("a", "kind")} for row in ROWS]}
    out = tmp_path_factory.mktemp("teacher") / "run"
    return one.fit(150, out=out, data=data, optimizer={"lr": 5e-3}, **QUIET)


def answers(model: Generalist) -> list[str]:
    found = model.infer("kind", [{"a": row["a"]} for row in ROWS])
    return [answer["kind"] for answer in found]


def fitted(base: Path, out: Path, steps: int = 150, **train: Any) -> Generalist:
    """Trained on wrong rows of one task."""
    model = Generalist.from_pretrained(base)
    settings = {**QUIET, "optimizer": {"lr": 5e-3}, **train}
    model.fit(steps, out=out, data={"kind": WRONG}, **settings)
    return model


def test_a_model_learns_what_its_teacher_says_whatever_the_rows_say(base, teacher, tmp_path):
    right, wrong = [row["kind"] for row in ROWS], [row["kind"] for row in WRONG]
    by_teacher = {"teachers": [{"model": str(teacher), "weight": 1.0}]}
    assert answers(fitted(base, tmp_path / "taught", **by_teacher)) == right
    assert answers(fitted(base, tmp_path / "untaught")) == wrong


def test_the_distance_is_told_beside_the_loss(base, teacher, tmp_path):
    fitted(base, tmp_path / "run", steps=2, log_every=1, teachers=[{"model": str(teacher)}])
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    values = json.loads(lines[0])
    assert values["train/kind/kind/taught"] > 0
    assert values["train/kind/kind"] == pytest.approx(values["train/kind/kind/nll"], rel=1e-4)


def step_of(model: Generalist, **settings: Any) -> Step:
    """A step of all tasks."""
    config = model.assembly.config.train.model_copy(update={"samples": 8, **settings})
    registry = model.assembly.registry
    model.assembly.configure(model.assembly.config.model_copy(update={"train": config}), registry)
    loader = StepLoader(training_data(model), schedule(model), loader_settings(config), stop=1)
    return next(iter(loader))


def gradients(model: Generalist, step: Step, teaching: Teaching | None) -> dict[str, torch.Tensor]:
    model.model.float().train()
    faults = model.assembly.config.train.faults
    optimizer = RunOptimizer(model.model, OptimizerConfig(name="adamw"))
    passing = GradientPass(model.model, optimizer, faults, FaultCounters(faults), seed=1)
    passing.teaching = teaching
    passing.run(step)
    masters = optimizer.masters.items()
    return {name: master.grad.clone() for name, master in masters if master.grad is not None}


def all_tasks(base: Path, seed: int = 1) -> Generalist:
    """The untrained model with its data; another seed has other weights."""
    model = Generalist.from_pretrained(base)
    made = Generalist.create(tasks(), **SMALL)
    model.data = made.data
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.model.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return model


def taught_by(other: Generalist, weight: float) -> Teaching:
    known = frozenset(other.tasks)
    return Teaching([Teacher(other.model.float().eval(), "other", known, weight)])


def test_rows_and_teachers_share_the_gradient_as_the_weight_says(base):
    model, other = all_tasks(base), all_tasks(base, 2)
    step = step_of(model)
    rows, taught = gradients(model, step, None), gradients(model, step, taught_by(other, 1.0))
    mixed = gradients(model, step, taught_by(other, 0.25))
    for name, gradient in mixed.items():
        expected = 0.75 * rows.get(name, 0) + 0.25 * taught.get(name, 0)
        torch.testing.assert_close(gradient, expected, atol=2e-6, rtol=1e-4)


def test_nothing_is_learned_from_a_teacher_that_says_the_same(base):
    model, other = all_tasks(base), all_tasks(base)
    found = gradients(model, step_of(model), taught_by(other, 1.0))
    assert max(float(gradient.abs().max()) for gradient in found.values()) < 1e-5


@pytest.mark.parametrize("samples", [1, 3])
def test_any_split_of_a_step_gives_the_same_gradient(base, samples):
    model, other = all_tasks(base), all_tasks(base, 2)
    whole = gradients(model, step_of(model), taught_by(other, 0.5))
    split = gradients(model, step_of(model, micro_batch_samples=samples), taught_by(other, 0.5))
    assert whole.keys() == split.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(gradient, split[name], atol=2e-6, rtol=1e-4)


def test_a_teacher_whose_tokens_stand_elsewhere_says_what_it_says_alone(base, tmp_path):
    """Between text and boxes the whole model has the tokens of kinds."""
    model = all_tasks(base)
    part = model.only(["place"])
    places = [each.assembly.vocabulary.offset("box/bins:1000") for each in (model, part)]
    assert places[0] > places[1]
    part.save(tmp_path / "part")
    teachers = (TeacherConfig(model=str(tmp_path / "part"), weight=1.0),)
    step = step_of(model, teachers=teachers)
    teaching = teaching_of(model, torch.float32)
    assert teaching.told.endswith("/part, too: 100% of the losses of place")
    batch = step.batches[0]
    teaching.begin(step)
    teaching.look(batch)
    with torch.no_grad():
        hidden = model.model.eval().hidden(batch)
        (group,) = [each for each in batch.terms if "place/box" in each.terms]
        loss = model.model.loss(group, model.model.predict(group, hidden), hidden)
        (_, rows), (told, distance) = teaching.losses(model.model, group, loss, hidden)
    assert set(told.terms) == {"place/box/taught"} and rows is loss
    assert float(distance.values.abs().max()) < 1e-5 < float(loss.values.max())


def test_a_run_that_was_interrupted_goes_on_to_the_same_weights(base, teacher, tmp_path):
    taught = {"teachers": [{"model": str(teacher)}], "checkpoint": {"every": 3}}
    whole = fitted(base, tmp_path / "whole", 6, **taught)
    first = fitted(base, tmp_path / "parts", 6, **taught)
    del first
    for later in (tmp_path / "parts" / "checkpoints").glob("step-*6"):
        for file in sorted(later.rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
        later.rmdir()
    again = Generalist.from_pretrained(base)
    settings = {**QUIET, "optimizer": {"lr": 5e-3}, **taught}
    again.fit(6, out=tmp_path / "parts", resume=True, data={"kind": WRONG}, **settings)
    for name, value in whole.model.portable_state().items():
        assert torch.equal(value, again.model.portable_state()[name]), name


def test_gradients_of_tasks_are_put_together_with_what_teachers_add(base, teacher, tmp_path):
    taught = {"teachers": [{"model": str(teacher), "weight": 1.0}], "aggregator": "upgrad"}
    model = fitted(base, tmp_path / "run", 150, **taught)
    assert answers(model) == [row["kind"] for row in ROWS]


def on_a_rank(base: str, teacher: str, out: str) -> list[float]:
    """Train on this rank's share; the values of every weight, one behind the other."""
    settings = {"optimizer": {"name": "sgd", "lr": 0.1}, "teachers": [{"model": teacher}]}
    model = fitted(Path(base), Path(out), 4, micro_batch_samples=3, **settings)
    weights = model.model.portable_state()
    return torch.cat([weights[name].flatten() for name in sorted(weights)]).tolist()


@pytest.mark.dist
def test_data_ranks_learn_what_one_process_learns(base, teacher, tmp_path, run_distributed):
    here = on_a_rank(str(base), str(teacher), str(tmp_path / "one"))
    for there in run_distributed(on_a_rank, 2, str(base), str(teacher), str(tmp_path / "two")):
        assert there == pytest.approx(here, abs=1e-5)


def test_a_loss_that_no_teacher_can_take_part_in_is_learned_from_rows(base, tmp_path):
    """Pairs that are told from one another in a step have no distance from a teacher."""
    pairs = Task("match", "[TEXT:a|TEXT:b] ->", train=ROWS)
    both = Generalist.create([pairs, Task("kind", KIND, train=ROWS)], **SMALL)
    both.save(tmp_path / "both")
    whole = {"model": str(tmp_path / "both")}
    settings = {**QUIET, "samples": 12}
    both.fit(1, out=tmp_path / "run", teachers=[whole], log_every=1, **settings)
    told = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "train/kind/kind/taught" in told and told.count("/taught") == 1
    with pytest.raises(TeacherError, match="cannot teach task 'match': .* criterion contrastive"):
        both.fit(1, out=tmp_path / "no", teachers=[{**whole, "tasks": ["match"]}], **settings)


def test_of_two_teachers_each_task_has_one(base, tmp_path):
    model = all_tasks(base)
    model.save(tmp_path / "all")
    path = str(tmp_path / "all")
    rest, own = TeacherConfig(model=path), TeacherConfig(model=path, tasks=("kind",))
    step_of(model, teachers=(rest, own))
    first, second = teaching_of(model, torch.float32).teachers
    assert second.tasks == {"kind"} and first.tasks == set(model.tasks) - {"kind"}


def test_a_teacher_of_another_tokenizer_is_refused(base, tmp_path):
    other = Generalist.create([Task("kind", KIND, train=ROWS[:3])], **SMALL)
    other.save(tmp_path / "other")
    told = "other cannot teach task 'kind': its preprocessor 'text' was fitted on other values; .*--from"
    with pytest.raises(TeacherError, match=told):
        fitted(base, tmp_path / "run", 1, teachers=[{"model": str(tmp_path / "other")}])
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_is_not_there_is_refused(base, tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        fitted(base, tmp_path / "run", 1, teachers=[{"model": str(tmp_path / "nowhere")}])


def test_a_teacher_that_knows_none_of_the_tasks_is_refused(base, teacher, tmp_path):
    model = Generalist.from_pretrained(base)
    with pytest.raises(TeacherError, match="knows no task that it could teach here, but kind"):
        data = {"place": [{key: row[key] for key in ("a", "box")} for row in ROWS]}
        model.fit(1, out=tmp_path / "run", data=data, teachers=[{"model": str(teacher)}], **QUIET)
    with pytest.raises(TeacherError, match="knows no task 'place'; it knows kind"):
        taught = [{"model": str(teacher), "tasks": ["place"]}]
        model.fit(1, out=tmp_path / "run", data=data, teachers=taught, **QUIET)


def config_with(base: Path, teachers: list[dict[str, Any]], **parallel: int) -> Any:
    config = Generalist.from_pretrained(base).assembly.config
    made = tuple(TeacherConfig(**each) for each in teachers)
    train = config.train.model_copy(update={"teachers": made})
    layout = config.parallel.model_copy(update=parallel)
    return config.model_copy(update={"train": train, "parallel": layout})


def test_what_cannot_be_taught_is_told_before_anything_starts(base):
    one = {"model": "runs/one", "tasks": ("shout",)}
    twice = teacher_problems(config_with(base, [one, {**one, "model": "runs/other"}]))
    assert [str(each.path) for each in twice] == ["train.teachers.1.tasks"]
    assert "has a teacher already" in twice[0].message
    (unknown,) = teacher_problems(config_with(base, [{**one, "tasks": ("shoot",)}]))
    assert "no task 'shoot'" in unknown.message and "shout" in unknown.hint
    for key in ("tp", "pp", "ep"):
        (cut,) = teacher_problems(config_with(base, [one], nproc=2, **{key: 2}))
        assert cut.path == "train.teachers" and f"parallel.{key}" in cut.message


def test_a_share_that_is_none_is_refused(base, teacher, tmp_path):
    for weight in (0.0, 1.5, -1):
        with pytest.raises(ConfigError, match="weight"):
            fitted(base, tmp_path / "run", 1, teachers=[{"model": str(teacher), "weight": weight}])


def test_without_teachers_there_is_no_teaching(base):
    model = Generalist.from_pretrained(base)
    assert teaching_of(model, torch.float32) is None
