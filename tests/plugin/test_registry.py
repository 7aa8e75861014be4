"""Names become objects, once, for every kind; what is missing is told with a way out."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofacore.ground.errors import UserError
from ofacore.plugin import (
    CONTRACT,
    Attribute,
    Component,
    ComponentManifest,
    ConflictError,
    LoadError,
    ModalityManifest,
    PluginError,
    Registry,
    SlotType,
    TaskManifest,
    TaskPreset,
    UnknownNameError,
)


def _is_element(value: object) -> bool:
    return isinstance(value, str)


def _modality(name: str, *slots: str, plain: bool = False) -> ModalityManifest:
    types = tuple(
        SlotType(slot, "", name, "strings", _is_element, serves_plain_text=plain) for slot in slots
    )
    return ModalityManifest(
        name, CONTRACT, types, (Component("preprocessor", name, "fractions:Fraction"),)
    )


SOUND = _modality("sound", "SOUND", "PHONE")
WORDS = _modality("words", "WORDS", plain=True)
TASKS = TaskManifest("jobs", CONTRACT, (TaskPreset("listen", ("[SOUND:a] -> [WORDS:b]",)),))
PARTS = ComponentManifest(
    "parts", CONTRACT, (Component("metric", "exact", "nowhere.at_all:Exact"),)
)
ALL = (SOUND, WORDS, TASKS, PARTS)


def test_everything_is_found_by_kind_and_name():
    registry = Registry.of(*ALL)
    assert registry.slot("PHONE").values == SOUND.slots[1].values
    assert list(registry.slots()) == ["PHONE", "SOUND", "WORDS"]
    assert registry.names("preprocessor") == ("sound", "words")
    assert registry.component("preprocessor", "words") is WORDS.components[0]
    assert registry.load("preprocessor", "sound") is Fraction
    assert registry.resolve("fractions:Fraction.from_float") == Fraction.from_float
    assert registry.preset("listen") is registry.presets()["listen"] is TASKS.presets[0]
    assert registry.plain_text_slot().name == WORDS.slots[0].name
    assert (registry.owner("slot", "PHONE"), registry.owner("preset", "listen")) == (
        "sound",
        "jobs",
    )


@given(st.permutations(ALL))
def test_the_order_of_discovery_changes_nothing(order):
    registry, reference = Registry.of(*order), Registry.of(*ALL)
    assert registry.rows == reference.rows
    assert registry.lock() == reference.lock()
    assert list(registry.slots()) == list(reference.slots())


def test_the_lock_tells_which_plugins_there_are():
    assert Registry.of(SOUND).lock() == (("sound", "sound", "0"),)


def test_it_survives_pickling():
    registry = pickle.loads(
        pickle.dumps(Registry.of(*ALL, _modality("other", "SOUND"), prefer={"SOUND": "other"}))
    )
    assert (
        registry.owner("slot", "SOUND") == "other"
        and registry.load("preprocessor", "sound") is Fraction
    )
    discovered = Registry.discover({"SOUND": "x"})
    assert pickle.loads(pickle.dumps(discovered)).lock() == discovered.lock()


def test_an_unknown_name_is_told_with_the_nearest_and_all_others():
    registry = Registry.of(*ALL)
    with pytest.raises(UnknownNameError) as caught:
        registry.component("metric", "exakt")
    assert isinstance(caught.value, UserError) and isinstance(caught.value, KeyError)
    assert str(caught.value) == "unknown metric 'exakt'; did you mean 'exact'?; there are: exact"
    assert caught.value.hint == "exact"
    with pytest.raises(
        UnknownNameError, match="unknown task preset 'lisen'; did you mean 'listen'"
    ):
        registry.preset("lisen")
    with pytest.raises(UnknownNameError, match="no tracker is installed"):
        registry.load("tracker", "x")


def test_a_first_party_slot_type_names_its_distribution():
    with pytest.raises(UnknownNameError, match="pip install ofa-modality-motion") as caught:
        Registry.of(SOUND).slot("MOTION")
    assert caught.value.hint == "pip install ofa-modality-motion"
    with pytest.raises(UnknownNameError, match="for 'IMAGE', pip install ofa-modality-image"):
        Registry.of(SOUND).slot("IMAEG")
    with pytest.raises(UnknownNameError) as near:
        Registry.of(SOUND).slot("SOUNDS")
    assert near.value.hint == "SOUND"


def test_plain_text_without_its_modality_names_the_distribution():
    with pytest.raises(UnknownNameError, match="pip install ofa-modality-text"):
        Registry.of(SOUND).plain_text_slot()


def test_two_types_for_plain_text_are_a_conflict_that_a_setting_decides():
    other = _modality("scrolls", "SCROLL", plain=True)
    with pytest.raises(ConflictError, match="plugins.prefer.plain_text"):
        Registry.of(WORDS, other).plain_text_slot()
    assert (
        Registry.of(WORDS, other, prefer={"plain_text": "scrolls"}).plain_text_slot().name
        == "SCROLL"
    )


@pytest.mark.parametrize(
    ("kind", "name", "setting"),
    [
        ("slot", "SOUND", "SOUND"),
        ("preprocessor", "sound", "preprocessor/sound"),
        ("preprocessor", "sound", "sound"),
    ],
)
def test_a_conflict_names_both_and_is_decided_by_a_setting(kind, name, setting):
    twin = replace(SOUND, name="twin")
    registry = Registry.of(SOUND, twin, WORDS)
    with pytest.raises(ConflictError, match="'sound' and 'twin'"):
        registry.owner(kind, name)
    assert {row.name: row.status for row in registry.rows} == {
        "sound": "conflict",
        "twin": "conflict",
        "words": "ok",
    }
    assert Registry.of(SOUND, twin, prefer={setting: "twin"}).owner(kind, name) == "twin"
    with pytest.raises(ConflictError):
        Registry.of(SOUND, twin, prefer={setting: "not-there"}).owner(kind, name)


def test_the_setting_that_the_error_names_decides():
    twin = replace(SOUND, name="twin")
    with pytest.raises(ConflictError) as caught:
        Registry.of(SOUND, twin).component("preprocessor", "sound")
    key, _, value = re.search(r"plugins\.prefer\.([^\s,]+)", str(caught.value))[1].partition("=")
    assert Registry.of(SOUND, twin, prefer={key: value}).owner("preprocessor", "sound") == value


def test_a_failing_implementation_names_plugin_distribution_target_and_cause():
    with pytest.raises(LoadError) as caught:
        Registry.of(*ALL).load("metric", "exact")
    for part in (
        "metric 'exact'",
        "plugin 'parts'",
        "distribution 'parts'",
        "nowhere.at_all:Exact",
        "No module named",
    ):
        assert part in str(caught.value)
    with pytest.raises(LoadError, match="fractions:Missing"):
        Registry.of().resolve("fractions:Missing")


@pytest.mark.parametrize(
    "manifest",
    [
        replace(SOUND, contract=(CONTRACT[0] + 1, 0)),
        replace(SOUND, slots=(*SOUND.slots, SOUND.slots[0])),
        replace(SOUND, components=SOUND.components * 2),
        replace(TASKS, presets=TASKS.presets * 2),
    ],
)
def test_a_bad_manifest_that_is_given_directly_is_refused(manifest):
    with pytest.raises(PluginError):
        Registry.of(manifest)


def test_find_gives_rows_with_manifests():
    assert Registry.of(*ALL).find("words") == ((Registry.of(*ALL).rows[-1], WORDS),)
    with pytest.raises(UnknownNameError, match="did you mean 'words'"):
        Registry.of(*ALL).find("wrods")


def test_the_core_announces_its_own_components_like_any_other():
    registry = Registry.discover()
    assert registry.owner("criterion", "cross_entropy") == "ofacore"
    options = registry.component("criterion", "cross_entropy").options
    assert dict(options) == {"label_smoothing": 0.0, "drop_worst_ratio": 0.0}
    schedules = {"all", "proportional", "temperature", "weights", "round_robin", "curriculum"}
    assert set(registry.names("schedule")) >= schedules


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (
            TaskManifest("tasks", CONTRACT, (TaskPreset("plural", "[TEXT:a] -> [TEXT:b]"),)),
            r"TaskPreset 'plural' has instructions '\[TEXT:a\] -> \[TEXT:b\]', which is no tuple",
        ),
        (
            TaskManifest("tasks", CONTRACT, TaskPreset("plural", ("[TEXT:a] -> [TEXT:b]",))),
            r"its manifest has presets TaskPreset\(.*write presets=\(\.\.\., \) with a comma",
        ),
        (
            ComponentManifest("parts", CONTRACT, Component("metric", "m", "a:M")),
            "its manifest has components Component",
        ),
        (
            ModalityManifest(
                "units",
                CONTRACT,
                (
                    SlotType(
                        "UNIT",
                        "",
                        "unit",
                        "",
                        bool,
                        (Attribute("of", "choice", choices="volt"),),
                    ),
                ),
            ),
            "Attribute 'of' has choices 'volt', which is no tuple",
        ),
    ],
)
def test_what_holds_several_things_is_a_tuple(manifest, reason):
    with pytest.raises(PluginError, match=reason):
        Registry.of(manifest)
