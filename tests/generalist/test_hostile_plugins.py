"""A plugin that fails is named with its component and place; a model remembers what it was made with."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from ofa_kit.probe import MANIFEST as PROBE
from ofa_starter import prepared
from ofacore import Generalist, Task
from ofacore.components.manifest import MANIFEST as CORE
from ofacore.components.schedules import ScheduleError
from ofacore.encoding.columns import ColumnMap
from ofacore.model.checked_loss import checked_loss
from ofacore.parts import TokenPrediction
from ofacore.plugin import (
    CONTRACT,
    Component,
    ComponentManifest,
    MetricUse,
    PluginError,
    Registry,
    TaskManifest,
    TaskPreset,
)
from ofacore.protocols import Artifact, Loss
from ofacore.setup.origins import changed_versions, preferences
from ofacore.training.step.checked_schedule import CheckedSchedule
from ofacore.training.training_errors import FaultLimitError, NonFiniteError
from tests.kit.faulty.touch import Squares, Touch, TouchAdapter, TouchGenerator, TouchHead, touch

HERE = __name__
ROWS = [{"value": [0.1 * k, 0.5, 0.9], "probe": k % 4} for k in range(6)]
WRITE = "[PROBE:probe] -> [TOUCH:value]"
SIZES = {"hidden": 16, "ffn": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
OWN = "of plugin 'touch' (touch 0)"


def model(manifest, *others, metrics=(), **data):
    registry = Registry.of(CORE, PROBE, manifest, *others)
    task = Task("write", WRITE, train=ROWS, test=ROWS, metrics=list(metrics), **data)
    return Generalist.create([task], registry=registry, **SIZES)


def notes(error):
    return " ".join(getattr(error.value, "__notes__", ()))


class ShortAdapter(TouchAdapter):
    def embed(self, features, shapes):
        return super().embed(features, shapes)[1:]


class RaisingHead(TouchHead):
    def forward(self, hidden, ctx):
        raise KeyError("values")


class RaisingDecode(Touch):
    def decode(self, hypothesis, slot, ctx):
        raise KeyError("values")


class RaisingGenerator(TouchGenerator):
    def __call__(self, session, requests, generator):
        raise KeyError("values")


class Unscaled(Touch):
    def fit(self, values, rng):
        return Artifact.of_json("scale.json", 1.0)

    def bind(self, vocabulary, artifact):
        self.scale = 1.0


class RaisingFit(Touch):
    def fit(self, values, rng):
        raise KeyError("values")


class RaisingRender(Touch):
    def render(self, value, ctx=None):
        raise KeyError("values")


def train(built, folder, **settings):
    return built.fit(
        1,
        out=folder,
        samples=2,
        trackers=settings.pop("trackers", []),
        precision="fp32",
        **settings,
    )


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (touch(adapter=ShortAdapter), f"raised by adapter 'touch' {OWN}, embed, for write/value"),
        (touch(head=RaisingHead), f"raised by head 'touch' {OWN}, for write/value"),
    ],
)
def test_a_part_that_fails_in_training_is_named(manifest, told, tmp_path):
    with pytest.raises((KeyError, ValueError)) as caught:
        train(model(manifest), tmp_path)
    assert told in notes(caught)
    assert "in a micro-batch of task 'write': rows[" in notes(caught)


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (
            touch(generator=RaisingGenerator),
            f"raised by generator 'touch' {OWN}, task 'write', slot 'value'",
        ),
        (
            touch(RaisingDecode),
            f"raised by preprocessor 'touch' {OWN}, decode, task 'write', slot 'value'",
        ),
    ],
)
def test_a_part_that_fails_in_generation_is_named(manifest, told):
    with pytest.raises(KeyError) as caught:
        model(manifest).infer("write", ROWS[0])
    assert f"{told}, row 0" in notes(caught)


def test_an_adapter_that_fails_in_generation_is_named_with_the_generator_that_called_it():
    with pytest.raises(ValueError, match="embed gave") as caught:
        model(touch(adapter=ShortAdapter)).infer("write", ROWS[0])
    assert f"raised by adapter 'touch' {OWN}, embed" in notes(caught)
    assert f"called by generator 'touch' {OWN}, task 'write', slot 'value', row 0" in notes(caught)


def unsure(value):
    raise KeyError("values")


def test_an_is_element_that_fails_is_named():
    manifest = touch()
    slots = tuple(replace(slot, is_element=unsure) for slot in manifest.slots)
    with pytest.raises(KeyError) as caught:
        model(replace(manifest, slots=slots))
    assert f"raised by slot 'TOUCH' {OWN}, is_element" in notes(caught)


def no_data():
    raise KeyError("values")


def two_splits():
    return {"train": ROWS, "test": ROWS}


def no_answers(splits):
    raise KeyError("values")


@pytest.mark.parametrize(
    ("data", "place"),
    [("no_data", "starter data of task 'write'"), ("two_splits", "baseline of task 'write'")],
)
def test_starter_data_and_baselines_that_fail_are_named(data, place):
    metrics = (MetricUse("plain", "value"),)
    preset = TaskPreset(
        "touching", (WRITE,), metrics=metrics, data=f"{HERE}:{data}", baseline=f"{HERE}:no_answers"
    )
    registry = Registry.of(
        CORE, PROBE, EXTRA, touch(), TaskManifest("touching", CONTRACT, (preset,))
    )
    with pytest.raises(KeyError) as caught:
        Generalist.create([Task("write", preset="touching")], registry=registry, **SIZES).evaluate()
    assert f"raised by preset 'touching' of plugin 'touching' (touching 0), {place}" in notes(
        caught
    )


class RaisingBlocks(Touch):
    def blocks(self, artifact):
        raise KeyError("values")


class RaisingBind(Touch):
    def bind(self, vocabulary, artifact):
        raise KeyError("values")


@pytest.mark.parametrize(
    ("preprocessor", "method"),
    [(RaisingFit, "fit"), (RaisingBlocks, "blocks"), (RaisingBind, "bind")],
)
def test_a_preprocessor_that_fails_while_a_model_is_made_is_named(preprocessor, method):
    with pytest.raises(KeyError) as caught:
        model(touch(preprocessor))
    assert f"raised by preprocessor 'touch' {OWN}, {method}" in notes(caught)


class NanAdapter(TouchAdapter):
    def embed(self, features, shapes):
        return super().embed(features, shapes) * float("nan")


class CollectiveNanAdapter(NanAdapter):
    collective = True


class NanHead(TouchHead):
    def forward(self, hidden, ctx):
        return super().forward(hidden, ctx) * float("nan")


class NanSquares(Squares):
    def errors(self, prediction, labels):
        return super().errors(prediction, labels) * float("inf")


NAN_PARTS = [
    ("adapter", NanAdapter),
    ("adapter", CollectiveNanAdapter),
    ("head", NanHead),
    ("criterion", NanSquares),
]


def test_an_adapter_that_gives_nan_is_named(tmp_path):
    with pytest.raises(
        NonFiniteError, match=r"adapter 'touch' of plugin 'touch' \(touch 0\) gives numbers"
    ):
        train(model(touch(adapter=NanAdapter)), tmp_path, faults={"nan": "raise"})


@pytest.mark.parametrize(("kind", "part"), NAN_PARTS)
def test_the_limit_of_faults_names_the_part_that_gives_nan_and_does_not_blame_the_data(
    kind, part, tmp_path
):
    with pytest.raises(FaultLimitError) as caught:
        train(model(touch(**{kind: part})), tmp_path, faults={"nan_limit": 0})
    assert f"{kind} 'touch' {OWN} gives numbers that are not finite, from numbers that are" in str(
        caught.value
    )
    assert f"Mend {kind} 'touch' {OWN}" in str(caught.value) and "the data" not in str(caught.value)


def test_data_that_are_not_finite_are_blamed_themselves(tmp_path):
    rows = [{"value": [float("inf"), 0.5], "probe": 1}] * 2
    with pytest.raises(FaultLimitError, match="Fix the data or raise") as caught:
        task = Task("write", WRITE, train=rows)
        built = Generalist.create(
            [task], registry=Registry.of(CORE, PROBE, touch(Unscaled)), **SIZES
        )
        train(built, tmp_path, faults={"nan_limit": 0})
    assert "touch 0" not in str(caught.value)


def test_rows_prepared_under_one_name_by_two_packages_are_kept_apart(tmp_path):
    def mine():
        return {"train": [{"a": 1}]}

    def theirs():
        return {"train": [{"a": 2}]}

    theirs.__module__ = "another_package.data"
    for build, value in ((mine, 1), (theirs, 2), (mine, 1)):
        assert prepared("digits", build, cache=tmp_path)["train"] == [{"a": value}]


class Plain:
    """A metric and a tracker that show the options that they get."""

    higher_is_better = True
    seen: list[dict] = []

    def __init__(self, *given):
        self.seen.append(dict(given[-1]))
        assert given[-1]["unit"] == "bar"

    def update(self, predictions, references, rows):
        """Nothing to remember."""

    def compute(self):
        return {"plain": 1.0}

    def merge(self, other):
        """Nothing to add."""

    def items(self):
        return ()

    def log(self, record):
        """Nothing to write."""

    def close(self):
        raise OSError("the service is gone")


class Shifted:
    """A transform with an option."""

    def __init__(self, options):
        self.by = options["by"]

    def __call__(self, value):
        return [number + self.by for number in value]


EXTRA = ComponentManifest(
    "extra",
    CONTRACT,
    (
        Component("metric", "plain", f"{HERE}:Plain", options={"unit": "bar"}),
        Component("tracker", "plain", f"{HERE}:Plain", options={"unit": "bar"}),
        Component("transform", "shifted", f"{HERE}:Shifted", options={"by": 1.0}),
    ),
)


def test_metrics_trackers_and_transforms_get_the_options_that_they_declare(tmp_path, caplog):
    Plain.seen.clear()
    built = model(touch(RaisingRender), EXTRA, metrics=[{"metric": "plain", "slot": "value"}])
    with caplog.at_level(logging.WARNING, "ofacore.training"):
        train(built, tmp_path, trackers=["plain"])
        (score,) = built.evaluate()
    assert score.score == 1.0
    assert {"unit": "bar", "resume_step": 0} in Plain.seen and {"unit": "bar"} in Plain.seen
    assert (
        "tracker 'plain' of plugin 'extra' (extra 0): close raised OSError: the service is gone"
        in caplog.text
    )
    assert f"preprocessor 'touch' {OWN}: render raised KeyError" in caplog.text
    columns = ColumnMap.of({}, {"value": ("shifted",)}, built.assembly.registry.make)
    assert columns.apply(ROWS[0])["value"][0] == 1.0


class OffsetTouch(Touch):
    def decode(self, hypothesis, slot, ctx):
        return [number + self.options["offset"] for number in super().decode(hypothesis, slot, ctx)]


def offset(value):
    manifest = touch(OffsetTouch)
    components = tuple(
        replace(part, options={"offset": value}) if part.kind == "preprocessor" else part
        for part in manifest.components
    )
    return replace(manifest, components=components)


def test_a_model_keeps_the_options_that_it_was_made_with(tmp_path):
    built = model(offset(0))
    built.save(tmp_path / "saved")
    newer = Registry.of(CORE, PROBE, offset(100))
    loaded = Generalist.from_pretrained(tmp_path / "saved", registry=newer)
    assert loaded.infer("write", ROWS[0]).values == built.infer("write", ROWS[0]).values


def test_a_changed_version_and_the_distribution_to_prefer_are_known_from_the_model():
    built = model(touch())
    stored = built.assembly.state()["components"]
    assert (
        preferences(stored)["TOUCH"] == "touch" and preferences(stored)["adapter/touch"] == "touch"
    )
    assert changed_versions(stored, built.assembly.registry) == []
    older = {
        key: {**origin, "version": "0.1"}
        for key, origin in stored.items()
        if "touch" in key.casefold()
    }
    assert changed_versions(older, built.assembly.registry) == ["touch 0.1 (here is 0)"]


class Counts:
    def __init__(self, counts):
        self.given = counts

    def counts(self, step):
        return self.given


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({}, "gives 0 samples, but a step has train.samples=4"),
        ({"a": 9}, "gives 9 samples"),
        ({"a": -1, "b": 5}, "gives task 'a' -1 samples"),
        ({"a": 2.5, "b": 1.5}, "gives task 'a' 2.5 samples"),
        ({"c": 4}, "names task 'c'; there are a, b"),
        (None, "gives None, no mapping"),
    ],
)
def test_a_schedule_that_gives_no_step_is_refused_by_name(counts, told):
    schedule = CheckedSchedule(Counts(counts), "schedule 'x' of plugin 'y' (z 1)", ("a", "b"), 4)
    with pytest.raises(ScheduleError, match="schedule 'x' of plugin 'y'") as caught:
        schedule.counts(3)
    assert told in str(caught.value)


class CountsBelowZero(Squares):
    def count(self, labels):
        return -1


class CountsHalves(Squares):
    def count(self, labels):
        return 2.5


class CountsNothing(Squares):
    def count(self, labels):
        return None


class CountsInNumpy(Squares):
    def count(self, labels):
        return np.float32(len(labels["numbers"]))


class Detached(Squares):
    def __call__(self, prediction, labels, ctx):
        return super().__call__(prediction.detach(), labels, ctx)


class OneForAll(Squares):
    def __call__(self, prediction, labels, ctx):
        return Loss(super().__call__(prediction, labels, ctx).values.sum())


class PartForAll(Squares):
    def __call__(self, prediction, labels, ctx):
        found = super().__call__(prediction, labels, ctx)
        return Loss(found.values, {"squares": found.values.detach().mean()})


class PlainTensor(Squares):
    def __call__(self, prediction, labels, ctx):
        return super().__call__(prediction, labels, ctx).values


@pytest.mark.parametrize(
    ("criterion", "told"),
    [
        (CountsBelowZero, "count, term write/value: gives -1, no whole number from 0"),
        (CountsHalves, "count, term write/value: gives 2.5, no whole number"),
        (CountsNothing, "count, term write/value: gives None, no whole number"),
        (Detached, "for write/value: gives a loss that is detached from its prediction"),
        (OneForAll, "for write/value: gives 'values' of shape [] for 2 items; wanted is [2]"),
        (PartForAll, "for write/value: gives 'squares' of shape [] for 2 items"),
        (PlainTensor, "for write/value: gives Tensor, no Loss"),
    ],
)
def test_a_criterion_whose_losses_cannot_be_trained_on_is_refused_by_name(
    criterion, told, tmp_path
):
    with pytest.raises(PluginError) as caught:
        train(model(touch(criterion=criterion)), tmp_path)
    assert f"criterion 'touch' {OWN}, {told}" in str(caught.value)


def test_a_count_that_is_whole_may_have_any_type(tmp_path):
    train(model(touch(criterion=CountsInNumpy)), tmp_path)


def test_a_detached_loss_is_refused_whatever_holds_the_prediction():
    tensor = torch.ones(2, requires_grad=True)
    lost = Loss(tensor.detach())
    for prediction in (
        tensor,
        {"a": tensor},
        (tensor, None),
        TokenPrediction(tensor, tensor.detach(), tensor),
    ):
        with pytest.raises(PluginError, match="c, for t: gives a loss that is detached"):
            checked_loss(lost, prediction, 2, "c", "for t")
    with torch.no_grad():
        assert checked_loss(lost, tensor, 2, "c", "for t") is lost
    assert checked_loss(lost, tensor.detach(), 2, "c", "for t") is lost


def change_for_everybody():
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_grad_enabled(False)


class RudeAdapter(TouchAdapter):
    def __init__(self, context):
        super().__init__(context)
        change_for_everybody()


class RudeSquares(Squares):
    def __init__(self, options):
        super().__init__(options)
        change_for_everybody()


@pytest.mark.parametrize(("kind", "part"), [("adapter", RudeAdapter), ("criterion", RudeSquares)])
def test_what_a_constructor_changes_for_everybody_is_undone_and_told(kind, part, caplog):
    with caplog.at_level(logging.WARNING):
        model(touch(**{kind: part}))
    assert torch.empty(1).dtype == torch.float32 and str(torch.empty(1).device) == "cpu"
    assert torch.is_grad_enabled() and not torch.are_deterministic_algorithms_enabled()
    assert f"building {kind} 'touch' {OWN} changed" in caplog.text
    for state in ("default dtype", "default device", "deterministic mode", "gradients"):
        assert state in caplog.text


class CountedRouter:
    """All positions go to the first expert."""

    built = 0

    def __init__(self, options):
        type(self).built += 1

    def __call__(self, layout, hidden):
        experts = torch.zeros(layout.positions, 1, dtype=torch.long)
        return experts, torch.ones(experts.shape)


def test_a_router_is_built_once_for_a_model(tmp_path):
    routers = ComponentManifest(
        "routers", CONTRACT, (Component("router", "first", f"{HERE}:CountedRouter"),)
    )
    task = Task("write", WRITE, train=ROWS)
    registry = Registry.of(CORE, PROBE, touch(), routers)
    built = Generalist.create([task], registry=registry, experts="first", experts_number=2, **SIZES)
    built.fit(2, out=tmp_path, samples=2, trackers=[], precision="fp32")
    assert CountedRouter.built == 1
