"""Criteria that a task names in ``losses`` are part of the model: built, trained, saved and loaded with it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ofa_cli.commands.explain import app
from ofacore import Generalist, Task
from ofacore.config import ConfigError
from ofacore.config.schema import RunConfig
from ofacore.ground.errors import UserError
from ofacore.plan import as_text, attention_needs
from ofacore.plugin import Registry
from ofacore.setup.run_check import checked_run

WORDS = ["red", "green", "blue", "cat", "dog"]
ROWS = [{"a": f"{x} {y}", "b": f"{y} {x}"} for x in WORDS for y in WORDS]
SIZES = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 2,
}
LINE = "[TEXT:a] -> [TEXT:b]"


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("OFA_PLUGIN_DEV", "lossy=tests.contract.lossy:MANIFEST")
    return Registry.discover()


def made(registry: Registry, losses: list[dict], **more) -> Generalist:
    task = Task("turn", LINE, train=ROWS, losses=losses)
    return Generalist.create([task], registry=registry, **{**SIZES, **more})


def fitted(model: Generalist, folder, **more) -> Generalist:
    model.fit(steps=12, samples=16, out=folder, precision="fp32", **more)
    return model


def criteria_of(model: Generalist) -> dict[str, torch.Tensor]:
    return {
        name: value
        for name, value in model.model.portable_state().items()
        if name.startswith("criteria.")
    }


def test_its_parameters_are_trained_saved_and_loaded(plugged, tmp_path):
    losses = [{"criterion": "scaled", "hidden": "b", "options": {"start": 0.5}}]
    model = made(plugged, losses)
    (before,) = criteria_of(model).values()
    assert before.item() == 0.5
    fitted(model, tmp_path / "run")
    (after,) = criteria_of(model).values()
    assert after.item() != 0.5
    again = Generalist.from_pretrained(tmp_path / "run", registry=plugged)
    (loaded,) = criteria_of(again).values()
    assert torch.equal(loaded, after)


def test_one_criterion_twice_with_other_options_are_two(plugged):
    other = {"criterion": "scaled", "hidden": "b", "options": {"start": 1.0}}
    model = made(plugged, [{"criterion": "scaled", "hidden": "b"}, other])
    assert sorted(value.item() for value in criteria_of(model).values()) == [0.0, 1.0]


def test_units_are_counted_with_the_options_of_the_loss(plugged):
    model = made(plugged, [{"criterion": "scaled", "hidden": "b", "options": {"unit": "item"}}])
    encoder = model.assembly.encoders["turn"]
    example = encoder.encode(ROWS[0], split="valid", rng=np.random.default_rng(0), row_id="0")
    assert [term.count for term in example.terms] == [1]


def test_label_smoothing_of_the_run_reaches_a_declared_loss(plugged, tmp_path):
    (loss,) = made(plugged, [{"criterion": "cross_entropy", "hidden": "b"}]).model.needs.criteria
    assert loss.options["label_smoothing"] == 0.0
    model = made(plugged, [{"criterion": "cross_entropy", "hidden": "b"}])
    config = model.assembly.config
    config.train.__dict__["label_smoothing"] = 0.1
    plan = model.assembly.with_loss_options(model.assembly.plans["turn"])
    assert plan.losses[0].options["label_smoothing"] == 0.1


def test_a_loss_on_the_encoder_has_its_own_head(plugged, tmp_path):
    losses = [
        {"criterion": "cross_entropy", "hidden": "b"},
        {"criterion": "bag", "hidden": "a", "labels": "b", "head": "mean"},
    ]
    model = made(plugged, losses)
    start = model.model.heads["mean"].turn.weight.detach().clone()
    fitted(model, tmp_path / "run")
    assert not torch.equal(model.model.heads["mean"].turn.weight, start)
    assert "heads.mean.turn.weight" in model.model.portable_state()


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_criterion_gets_the_attention_of_the_layers_that_it_names(
    plugged, tmp_path, checkpointed
):
    losses = [
        {"criterion": "cross_entropy", "hidden": "b"},
        {"criterion": "diagonal", "hidden": "b", "weight": 5.0, "options": {"layers": [1, 0]}},
    ]
    model = made(plugged, losses, dropout=0.0, checkpoint_activations=checkpointed)
    assert model.model.needs.attention_layers == (0, 1)
    model.fit(steps=30, samples=16, out=tmp_path / "run", precision="fp32")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    values = [record for record in map(json.loads, lines) if "train/turn/b/diagonal" in record]
    first, last = values[0]["train/turn/b/diagonal"], values[-1]["train/turn/b/diagonal"]
    assert last < 0.8 * first


def test_a_layer_that_the_model_lacks_is_refused_by_name(plugged):
    with pytest.raises(
        UserError, match="'diagonal' asks for the attention of decoder layer 7, but the model has 2"
    ):
        made(plugged, [{"criterion": "diagonal", "hidden": "b", "options": {"layers": [7]}}])


def test_an_unknown_head_is_refused_with_what_was_meant(plugged):
    with pytest.raises(UserError, match="did you mean 'mean'"):
        made(plugged, [{"criterion": "bag", "hidden": "a", "labels": "b", "head": "maen"}])


def test_the_plan_tells_losses_that_are_declared(plugged):
    loss = {"criterion": "bag", "hidden": "a", "labels": "b", "head": "mean", "weight": 0.5}
    told = as_text(made(plugged, [loss]).assembly.plans["turn"])
    assert told.endswith("losses\n  a: criterion bag | head mean | labels of b | weight 0.5")


def test_the_plan_tells_which_attention_a_criterion_reads(plugged):
    options = {"layers": [0, -1]}
    plan = made(
        plugged, [{"criterion": "diagonal", "hidden": "b", "options": options}]
    ).assembly.plans["turn"]
    needs = attention_needs(plan, plugged)
    assert needs == {"diagonal": (0, -1)}
    line = "criterion diagonal reads the attention of decoder layers 0, the last; pipeline stages refuse it"
    assert as_text(plan, needs).endswith(f"needs\n  {line}")


def test_explain_tells_it_of_a_criterion_that_a_slot_names(plugged):
    chosen = "[TEXT:a] -> [TEXT:b,criterion=diagonal]"
    shown = CliRunner().invoke(app, [chosen], catch_exceptions=False).stdout
    assert (
        "needs\n  criterion diagonal reads the attention of decoder layer the last; pipeline stages"
        in shown
    )
    found = json.loads(CliRunner().invoke(app, [chosen, "--json"], catch_exceptions=False).stdout)
    assert found["needs"] == {"attention": {"diagonal": [-1]}}
    assert "needs" not in CliRunner().invoke(app, [LINE], catch_exceptions=False).stdout


def test_pipeline_stages_refuse_it_before_anything_starts(plugged):
    losses = [
        {"criterion": "cross_entropy", "hidden": "b"},
        {"criterion": "diagonal", "hidden": "b"},
    ]
    values = {
        "tasks": {"turn": {"instruction": LINE, "data": {"train": ROWS}, "losses": losses}},
        "model": SIZES,
        "parallel": {"nproc": 2, "pp": 2},
    }
    with pytest.raises(ConfigError) as caught:
        checked_run(RunConfig.model_validate(values), plugged)
    (found,) = caught.value.problems
    assert found.path == "tasks.turn"
    assert (
        "criterion 'diagonal' reads attention weights" in found.message
        and "use --pp 1" in found.message
    )
