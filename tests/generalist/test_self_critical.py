"""Self-critical training: the reward rises, and nothing is learned where there is nothing to choose."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ofacore import Generalist, Task
from ofacore.batching.steps import Step, StepLoader
from ofacore.generalist.fitting import loader_settings, schedule, training_data
from ofacore.generalist.rollout import Rollout
from ofacore.ground.errors import UserError
from ofacore.plugin import CONTRACT, Component, ComponentManifest, Registry
from ofacore.training.gradients import GradientPass
from ofacore.training.optim.optimizer import RunOptimizer
from ofacore.training.step.faults import FaultCounters
from tests.generalist.test_generalist import QUIET, SMALL

TEXT = "say [TEXT:a] -> [TEXT:b,max_length=6]"
ROWS = [
    {"a": word, "b": f"{word} {word}"}
    for word in ("red", "green", "blue", "cat", "dog", "sun", "moon", "sky")
]


class Letters:
    """Share of small letters among six characters; with option ``constant``, 1 whatever was written."""

    higher_is_better: ClassVar[bool] = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options, self.seen = options, list[float]()

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        assert [row["b"] for row in rows] == list(references)
        found = [sum("a" <= letter <= "z" for letter in text[:6]) / 6 for text in predictions]
        self.seen += [1.0] * len(found) if self.options.get("constant") else found

    def compute(self) -> dict[str, float]:
        return {"letters": float(np.mean(self.seen))}

    def merge(self, other: Any) -> None:
        self.seen += other.seen

    def items(self) -> Sequence[float]:
        return self.seen


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    component = Component("metric", "letters", f"{__name__}:Letters", options={"constant": False})
    monkeypatch.setitem(globals(), "MANIFEST", ComponentManifest("letters", CONTRACT, (component,)))
    monkeypatch.setenv("OFA_PLUGIN_DEV", f"letters={__name__}:MANIFEST")
    return Registry.discover()


def made(registry: Registry, text: str = TEXT, losses: Any = (), **task: Any) -> Generalist:
    options = {"metrics": [{"metric": "letters", "slot": "b"}], **task}
    return Generalist.create(
        [Task("t", text, train=ROWS, losses=losses, **options)], registry=registry, **SMALL
    )


def term(**options: Any) -> list[dict[str, Any]]:
    return [{"criterion": "self_critical", "hidden": "b", "options": options}]


def first_step(generalist: Generalist, **train: Any) -> Step:
    config = generalist.assembly.config
    settings = config.train.model_copy(update={"samples": 8, **train})
    generalist.assembly.config = config.model_copy(update={"train": settings})
    loader = StepLoader(
        training_data(generalist), schedule(generalist), loader_settings(settings), stop=1
    )
    return next(iter(loader))


def drawn(step: Step) -> list[tuple[str, list[int]]]:
    return sorted((e.row_id, t.labels["ids"].tolist()) for e in step.examples for t in e.terms)


@pytest.mark.parametrize(
    ("text", "losses", "samples"),
    [
        (TEXT.replace("[TEXT:b", "[TEXT:b,criterion=self_critical"), (), 32),
        (TEXT, term(reward="letters", baseline="mean", samples=3), 16),
    ],
)
def test_the_reward_rises(
    registry: Registry, tmp_path: Path, text: str, losses: Any, samples: int
) -> None:
    generalist = made(registry, text, losses)
    settings = {
        **QUIET,
        "samples": samples,
        "lr": {"name": "constant"},
        "optimizer": {"name": "adamw", "lr": 1e-2},
    }
    generalist.fit(40, out=tmp_path / "run", log_every=5, **settings)
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    rewards = [line["train/t/b/reward"] for line in lines if "train/t/b/reward" in line]
    assert np.mean(rewards[:2]) < 0.45 and rewards[-1] > 0.75


@pytest.mark.parametrize("baseline", ["greedy", "mean"])
def test_nothing_is_learned_where_the_reward_equals_the_baseline(
    registry: Registry, baseline: str
) -> None:
    options = {"reward_options": {"constant": True}, "baseline": baseline, "samples": 2}
    generalist = made(registry, losses=term(**options))
    step = Rollout(generalist)(first_step(generalist), generalist.model)
    config = generalist.assembly.config.train
    optimizer = RunOptimizer(generalist.model, config.optimizer)
    GradientPass(generalist.model, optimizer, config.faults, FaultCounters(config.faults)).run(step)
    assert len(step.examples) == 16
    gradients = [p.grad for p in generalist.model.parameters() if p.grad is not None]
    assert gradients and not any(bool(gradient.any()) for gradient in gradients)


def test_what_is_drawn_depends_on_seed_step_and_sample_alone(registry: Registry) -> None:
    generalist = made(registry, losses=term(samples=2))
    step = first_step(generalist)
    whole = drawn(Rollout(generalist)(step, generalist.model))
    halves = [
        drawn(Rollout(generalist)(_part(step, part), generalist.model))
        for part in (slice(0, 3), slice(3, 8))
    ]
    assert sorted([*halves[0], *halves[1]]) == whole
    assert drawn(Rollout(generalist)(first_step(generalist, seed=7), generalist.model)) != whole


def _part(step: Step, part: slice) -> Step:
    return replace(step, examples=step.examples[part], numbers=step.numbers[part])


def test_a_cold_draw_is_the_greedy_answer_and_so_teaches_nothing(registry: Registry) -> None:
    generalist = made(registry, losses=term(temperature=1e-3))
    done = Rollout(generalist)(first_step(generalist), generalist.model)
    assert [float(e.terms[0].labels["advantage"][0]) for e in done.examples] == [0.0] * 8


def test_other_terms_of_a_row_are_learned_as_before(registry: Registry) -> None:
    both = [{"criterion": "cross_entropy", "hidden": "b"}, *term(baseline="none")]
    generalist = made(registry, losses=both)
    step = first_step(generalist)
    done = Rollout(generalist)(step, generalist.model)
    names = sorted(t.term for e in done.examples for t in e.terms)
    assert names == sorted(t.term for e in step.examples for t in e.terms)
    kept = [e for e in done.examples if e.terms[0].criterion == "cross_entropy"]
    for before, after in zip(step.examples, kept, strict=True):
        assert np.array_equal(before.terms[0].labels["ids"], after.terms[0].labels["ids"])


@pytest.mark.parametrize(
    ("text", "options", "task", "said"),
    [
        (TEXT, {"reward": "bleu"}, {}, "metric 'bleu' gives no number for each sample"),
        (TEXT, {"baseline": "best"}, {}, "found 'best', expected one of: greedy, mean, none"),
        (TEXT, {"baseline": "mean"}, {}, "samples=1"),
        (TEXT, {}, {"metrics": []}, "no reward; name a metric"),
        (TEXT, {"reward": "lettrs"}, {}, "did you mean 'letters'"),
        (TEXT.replace("max_length=6", "closed_set"), {}, {}, "has a closed set"),
    ],
)
def test_what_cannot_be_rewarded_is_said_at_once(
    registry: Registry, tmp_path: Path, text: str, options: Any, task: Any, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        generalist = made(registry, text, term(**options), **task)
        generalist.fit(2, out=tmp_path / "run", **QUIET)


def test_drawn_targets_may_stand_between_others(registry: Registry, tmp_path: Path) -> None:
    text = (
        "[TEXT:a] -> it is [TEXT:b,max_length=4,criterion=self_critical] or [TEXT:a] (so [TEXT:c])?"
    )
    rows = [{**row, "c": None if i % 2 else "yes"} for i, row in enumerate(ROWS)]
    task = Task("t", text, train=rows, valid=rows, metrics=[{"metric": "letters", "slot": "b"}])
    generalist = Generalist.create([task], registry=registry, **SMALL)
    generalist.fit(3, out=tmp_path / "run", **QUIET)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "train/t/b/reward" in lines and "valid/t/b/loss" in lines


def test_rewards_are_given_for_what_the_slot_takes(caplog: pytest.LogCaptureFixture) -> None:
    """References in the slot's own case; a row without one has no advantage, and the others learn."""
    rows = [{"a": row["a"], "b": row["b"].upper(), "refs": row["b"].title()} for row in ROWS]
    rows[0]["refs"] = None
    text = TEXT.replace("[TEXT:b,", "[TEXT:b,uncased,criterion=self_critical,")
    uses = [{"metric": "exact_match", "slot": "b", "references": "refs"}]
    generalist = Generalist.create([Task("t", text, train=rows, metrics=uses)], **SMALL)
    rollout = Rollout(generalist)
    (group,) = rollout._groups(first_step(generalist))
    judge = rollout._judge(group)
    contexts = [example.context for example in group.examples]
    preprocessor = group.encoder.preprocessors["text"]
    written = [preprocessor.encode(c.row["b"], group.slot, c)[0].ids for c in contexts if c]  # type: ignore[union-attr]
    rewards = rollout._rewards(group, judge, contexts, written)  # type: ignore[arg-type]
    lacking = [c.row["refs"] is None for c in contexts if c]
    assert lacking.count(True) == 1 and list(rewards) == [
        0.0 if missing else 1.0 for missing in lacking
    ]
    assert (
        "column 'refs': no reference (the column is empty); such rows get no reward" in caplog.text
    )
