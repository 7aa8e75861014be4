"""A plugin changes names and parameters between versions; what was stored before goes on working."""

from __future__ import annotations

import shutil

import pytest
import torch

from ofacore import Generalist, Task
from ofacore.ground.errors import UserError
from ofacore.plugin import CONTRACT, Component, ComponentManifest, PluginError, Registry

ROWS = [{"before": [x / 4, y / 4], "after": [y / 4, x / 4]} for x in range(4) for y in range(4)]
SIZES = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}
HOME = "tests.contract.aging"
TRAIN = {"samples": 8, "precision": "fp32", "lr": {"name": "constant"}}


@pytest.fixture
def installed(fake_distribution):
    """Installs a version of the plugin in place of the one before."""
    here = []

    def install(version: str, modality: str, preset: str) -> Registry:
        for folder in here:
            shutil.rmtree(folder)
        points = {
            "ofa.modality": {"aging": f"{HOME}:{modality}"},
            "ofa.task": {"agingtask": f"{HOME}:{preset}"},
        }
        here[:] = [fake_distribution("ofa-aging", points, version=version)]
        return Registry.discover()

    return install


def trained(registry: Registry, folder, steps: int = 3) -> Generalist:
    tasks = [Task("turn", preset="turn_pair", train=ROWS)]
    model = Generalist.create(tasks, registry=registry, dropout=0.0, adapters={"pair": {}}, **SIZES)
    model.fit(steps=steps, out=folder, **TRAIN)
    return model


def test_a_renamed_plugin_loads_answers_the_same_and_resumes(installed, tmp_path, caplog):
    first = installed("0.1", "FIRST", "FIRST_TASK")
    model = trained(first, tmp_path / "run")
    straight = trained(first, tmp_path / "straight", steps=6).model.portable_state()
    wanted = model.infer("turn", ROWS)
    second = installed("0.2", "SECOND", "SECOND_TASK")
    caplog.clear()
    again = Generalist.from_pretrained(tmp_path / "run", registry=second)
    names = again.model.portable_state()
    assert "adapters.duo.rotate.weight" in names and not any("pair" in name for name in names)
    assert [out.values for out in again.infer("turn", ROWS)] == [out.values for out in wanted]
    old = again.infer("[PAIR:before] -> [PAIR:after]", ROWS)
    assert [out.values for out in old] == [out.values for out in wanted]
    assert (
        caplog.text.count("slot type 'PAIR' is called 'DUO' since a newer version of ofa-aging")
        == 1
    )
    assert caplog.text.count("task preset 'turn_pair' is called 'turn_duo'") == 1
    again.fit(steps=6, out=tmp_path / "run", resume=True, data={"turn": ROWS}, **TRAIN)
    now = again.model.portable_state()
    assert torch.equal(now["adapters.duo.rotate.weight"], straight["adapters.pair.turn.weight"])
    again.save(tmp_path / "saved")
    assert Generalist.from_pretrained(tmp_path / "saved", registry=second).infer("turn", ROWS)


@pytest.mark.parametrize(
    ("modality", "told"),
    [
        (
            "FORGOT",
            r"was made with ofa-aging 0\.1 \(here is 0\.2\).*upgrade_state.*adapters\.duo\.rotate",
        ),
        (
            "RAISES",
            r"adapter 'duo' of plugin 'aging' \(ofa-aging 0\.2\), from version 0\.1, raised KeyError.*turn\.weight",
        ),
    ],
)
def test_a_parameter_that_nobody_upgrades_is_named_with_plugin_and_versions(
    installed, tmp_path, modality, told
):
    trained(installed("0.1", "FIRST", "FIRST_TASK"), tmp_path / "run", steps=1)
    registry = installed("0.2", modality, "SECOND_TASK")
    with pytest.raises(UserError, match=f"(?s){told}"):
        Generalist.from_pretrained(tmp_path / "run", registry=registry)


def named(plugin: str, name: str, *aliases: str) -> ComponentManifest:
    return ComponentManifest(
        plugin, CONTRACT, (Component("transform", name, "x:y", aliases=aliases),)
    )


def test_an_alias_is_no_name_of_its_own_and_is_resolved():
    registry = Registry.of(named("maps", "new", "old", "older"))
    assert registry.names("transform") == ("new",) and registry.aliases("transform") == {
        "old": "new",
        "older": "new",
    }
    assert (
        registry.component("transform", "older").name == "new" == registry.today("transform", "old")
    )
    assert registry.today("transform", "other") == "other"


def test_an_alias_that_another_plugin_has_as_its_name_is_a_conflict():
    registry = Registry.of(named("maps", "new", "old"), named("others", "old"))
    assert {row.status for row in registry.rows} == {"conflict"}
    with pytest.raises(PluginError, match="transform 'old' is announced by 'maps' and 'others'"):
        registry.component("transform", "old")
    chosen = Registry.of(
        named("maps", "new", "old"), named("others", "old"), prefer={"transform/old": "others"}
    )
    assert chosen.component("transform", "old").name == "old"


def test_an_alias_that_is_in_use_in_its_own_plugin_is_refused():
    with pytest.raises(PluginError, match="'transform/new' twice"):
        Registry.of(named("maps", "new", "new"))
