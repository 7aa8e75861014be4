"""A backbone is a component like any other: one that trains generates; what it cannot do is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ofa_kit import BackboneConformance
from ofacore import Generalist, Task
from ofacore.config.schema import RunConfig
from ofacore.ground.errors import UserError
from ofacore.plugin import PluginError, Registry
from ofacore.protocols import CachedBackbone
from ofacore.setup.layout_check import layout_problems


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFA_PLUGIN_DEV", "backbones=tests.contract.backbones:SOUND")


@pytest.mark.usefixtures("announced")
class TestPlain(BackboneConformance):
    plugin = "tests.contract.backbones:SOUND"
    backbone = "plain"


@pytest.mark.usefixtures("announced")
class TestRecurrent(BackboneConformance):
    plugin = "tests.contract.backbones:SOUND"
    backbone = "recurrent"
    options = {"layers": 2}

    @pytest.mark.xfail(reason="a recurrent network reads all that came before", strict=True)
    def test_a_corrupted_segment_is_seen_by_itself_alone(self):
        super().test_a_corrupted_segment_is_seen_by_itself_alone()


WORDS = ["red", "green", "blue", "cat", "dog", "sun"]
ROWS = [{"a": word, "b": word.upper()[::-1], "c": word[:1]} for word in WORDS]
SIZES = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}
LINE = "say [TEXT:a,level=character] -> [TEXT:b,level=character]"


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("OFA_PLUGIN_DEV", "backbones=tests.contract.backbones:MANIFEST")
    return Registry.discover()


def made(registry: Registry, backbone: str, line: str = LINE, **more) -> Generalist:
    task = Task("say", line, train=more.pop("rows", ROWS), **more.pop("task", {}))
    return Generalist.create([task], registry=registry, backbone=backbone, **{**SIZES, **more})


def test_it_learns_is_saved_loaded_and_answers(plugged: Registry, tmp_path: Path) -> None:
    rows = [ROWS[0], ROWS[3]]
    model = made(plugged, "plain", dropout=0.0, rows=rows)
    rate = {"name": "adamw", "lr": 0.02}
    model.fit(
        steps=40,
        samples=2,
        out=tmp_path / "run",
        precision="fp32",
        optimizer=rate,
        label_smoothing=0.0,
    )
    asked = [{"a": row["a"]} for row in rows]
    answers = [answer.text for answer in model.infer("say", asked)]
    assert answers == [row["b"] for row in rows]
    again = Generalist.from_pretrained(tmp_path / "run", registry=plugged)
    assert [answer.text for answer in again.infer("say", asked)] == answers


def test_layers_that_are_no_transformer_train_and_generate(
    plugged: Registry, tmp_path: Path
) -> None:
    model = made(plugged, "recurrent", options={"backbone/recurrent": {"layers": 2}})
    before = model.model.portable_state()
    model.fit(steps=2, samples=4, out=tmp_path / "run", precision="fp32")
    after = model.model.portable_state()
    own = [name for name in before if name.startswith("backbone.") and "weight_ih" in name]
    assert own and not any(torch.equal(before[name], after[name]) for name in own)
    again = Generalist.from_pretrained(tmp_path / "run", registry=plugged)
    for way in ({}, {"strategy": "beam", "beam": 3}):
        one, other = (m.infer("say", {"a": "red"}, max_length=5, **way) for m in (model, again))
        assert one.text == other.text


WALK = np.linspace(0.0, 1.0, 36).reshape(12, 3)
FORMS = {
    "several": ("[TEXT:a] -> first [TEXT:b] then [TEXT:c,level=character]", {}),
    "repeat": ("[TEXT:a] -> ( and [TEXT:d] )*", {}),
    "alone": ("-> [TEXT:b]", {}),
    "chosen": ("which? [TEXT:a] -> [TEXT:c,closed_set]", {}),
    "moves": ("[TEXT:a] -> [MOTION:m,length=12] [TEXT:b]", {"prompt_slot": "a"}),
}
"""Name -> instruction, and options of the task."""
WAYS = {
    "several": [
        {},
        {"strategy": "beam", "beam": 3, "n_best": 2},
        {"strategy": "sample", "seed": 3},
    ],
    "repeat": [{"max_turns": 3}, {"strategy": "beam", "beam": 2, "max_turns": 2}],
    "alone": [{}, {"strategy": "beam", "beam": 3}],
    "chosen": [{"n_best": 3}, {"strategy": "sample"}],
    "moves": [{"steps": 3}, {"steps": 3, "guidance": 2.0}],
}
"""Form -> options of generation."""


def tried(model: Generalist, form: str, way: dict) -> list:
    answers = model.infer(form, [{"a": row["a"]} for row in ROWS[:3]], max_length=6, **way)
    return [(name, entry.turns) for answer in answers for name, entry in answer.fields.items()]


def test_a_cache_changes_no_answer() -> None:
    """The core's own backbone, with its cache and without, over all that instructions can ask for."""
    rows = [{**row, "d": [row["b"], row["c"]], "m": WALK} for row in ROWS]
    tasks = [Task(name, line, train=rows, **more) for name, (line, more) in FORMS.items()]
    model = Generalist.create(tasks, positions="untied", **SIZES)
    enlarge(model)
    expected = {
        (form, str(way)): tried(model, form, way) for form, ways in WAYS.items() for way in ways
    }
    kind = type(model.model.backbone)
    model.model.backbone.__class__ = type(
        "Uncached", (kind,), {"start_cache": None, "extend": None}
    )
    assert not isinstance(model.model.backbone, CachedBackbone)
    for form, ways in WAYS.items():
        for way in ways:
            compare(tried(model, form, way), expected[form, str(way)])


def enlarge(model: Generalist) -> None:
    """Weights that are large enough for answers to differ."""
    with torch.no_grad():
        for parameter in model.model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)


def compare(found: list, expected: list) -> None:
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (_, own), (_, other) in zip(found, expected, strict=True):
        assert [len(turn) for turn in own] == [len(turn) for turn in other]
        for one, two in zip(
            [c for turn in own for c in turn], [c for turn in other for c in turn], strict=True
        ):
            if isinstance(two.value, np.ndarray):
                np.testing.assert_allclose(one.value, two.value, atol=1e-4)
            else:
                assert one.value == two.value
            assert one.score == pytest.approx(two.score, abs=1e-5)


def test_a_missing_method_is_named_with_what_to_write(plugged: Registry) -> None:
    told = r"backbone 'halved' of plugin 'backbones'.*no method 'decode'; write decode\(self, states, layout, memory"
    with pytest.raises(PluginError, match=told):
        made(plugged, "halved")


def test_states_of_a_wrong_shape_are_blamed_on_it(plugged: Registry) -> None:
    with pytest.raises(ValueError, match=r"encode gave \[6, 32\], not \[\d+, 32\]") as caught:
        made(plugged, "short").infer("say", [{"a": row["a"]} for row in ROWS])
    assert "raised by backbone 'short' of plugin 'backbones'" in str(caught.value.__notes__)


def test_its_width_is_that_of_the_model(plugged: Registry) -> None:
    model = made(plugged, "narrow", hidden=64)
    assert model.model.sizes.hidden == 32 and model.model.backbone.told == 32
    assert model.model.embedding.table.weight.shape[1] == 32
    assert len(model.infer("say", {"a": "red"}, max_length=3).text) <= 3


def test_its_options_are_declared_ones(plugged: Registry) -> None:
    assert (
        made(
            plugged, "recurrent", options={"backbone/recurrent": {"layers": 2}}
        ).model.backbone.encoder.num_layers
        == 2
    )
    for options, told in (
        ({"depth": 2}, "no option 'depth'"),
        ({"layers": 0}, "expected at least 1"),
    ):
        with pytest.raises(UserError, match=f"options.backbone/recurrent.*{told}"):
            made(plugged, "recurrent", options={"backbone/recurrent": options})


def test_experts_and_attention_that_it_has_not_are_refused(plugged: Registry) -> None:
    with pytest.raises(
        UserError,
        match=r"model.experts=topk, but backbone 'plain' of plugin 'backbones'.*set model",
    ):
        made(plugged, "plain", experts="topk")
    lossy = "lossy=tests.contract.lossy:MANIFEST,backbones=tests.contract.backbones:MANIFEST"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFA_PLUGIN_DEV", lossy)
        loss = {"criterion": "diagonal", "hidden": "b"}
        with pytest.raises(
            UserError, match=r"'diagonal' reads the attention .* which backbone 'plain' of plugin"
        ):
            made(Registry.discover(), "plain", task={"losses": [loss]})


@pytest.mark.parametrize(
    ("parallel", "told"),
    [
        (
            {"nproc": 2, "tp": 2},
            "parallel.tp.*'plain' cannot be divided: --tp 2; set 1, or model.backbone=megatron",
        ),
        (
            {"nproc": 2, "pp": 2},
            "parallel.pp.*'plain' cannot be divided: --pp 2; set 1, or model.backbone=megatron",
        ),
        (
            {"nproc": 2, "fsdp": True},
            "parallel.fsdp.*'plain' cannot be divided: --fsdp; leave it out, or",
        ),
        (
            {"nproc": 2, "tp": 2, "sp": True},
            "parallel.sp.*'plain' cannot be divided: --sp; leave it out, or",
        ),
    ],
    ids=str,
)
def test_a_layout_that_it_does_not_know_is_refused_before_the_start(
    parallel: dict, told: str, plugged: Registry
):
    config = RunConfig.model_validate(
        {"model": {"backbone": "plain", "encoder_layers": 2}, "parallel": parallel}
    )
    assert re.search(told, "\n".join(map(str, layout_problems(config, {}, plugged))))


def test_low_rank_updates_go_where_a_layer_is_called(plugged: Registry) -> None:
    model = made(plugged, "plain", lora={"rank": 2, "targets": ["backbone"]})
    updated = {name for name, _ in model.model.named_modules() if name.endswith("low_rank")}
    assert "backbone.encoder.0.linear1.low_rank" in updated and not any(
        "out_proj" in name for name in updated
    )
    with pytest.raises(UserError, match="no linear matches .*gru.*names look like 'backbone.out'"):
        made(plugged, "recurrent", lora={"rank": 2, "targets": ["gru"]})
