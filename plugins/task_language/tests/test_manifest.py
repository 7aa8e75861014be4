"""The presets of this family are complete and well-formed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ofa_task_language.manifest import MANIFEST
from ofacore.instruction import Slot, parse
from ofacore.plan import compile_instruction
from ofacore.plugin import Registry

PRESETS = {preset.name: preset for preset in MANIFEST.presets}


def slots(text):
    return [node for node in parse(text).walk() if isinstance(node, Slot)]


def slots_of(node):
    if isinstance(node, Slot):
        return [node]
    return [slot for child in getattr(node, "items", ()) for slot in slots_of(child)]


def templates(preset):
    return [entry if isinstance(entry, str) else entry[0] for entry in preset.instructions]


def test_reading_the_manifest_imports_nothing_heavy():
    heavy = "{'torch', 'numpy', 'PIL', 'sklearn', 'scipy'}"
    code = f"import sys, ofa_task_language.manifest; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_names_are_unique():
    assert len(PRESETS) == len(MANIFEST.presets)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_slot_is_a_described_column(preset):
    for text in templates(preset):
        assert {slot.name for slot in slots(text)} <= set(preset.columns)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_instructions_compile_with_the_modalities_it_depends_on(preset):
    registry = Registry.discover()
    for text in templates(preset):
        assert compile_instruction(text, registry).slots


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_metrics_and_closed_sets_belong_to_target_slots(preset):
    for text in templates(preset):
        targets = {slot.name for node in parse(text).target for slot in slots_of(node)}
        assert {use.slot for use in preset.metrics} | set(preset.closed_sets) <= targets


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.data])
def test_data_and_baseline_exist(name):
    preset = PRESETS[name]
    registry = Registry.of(MANIFEST)
    assert callable(registry.resolve(preset.data)) and callable(registry.resolve(preset.baseline))
    assert preset.baseline_doc
