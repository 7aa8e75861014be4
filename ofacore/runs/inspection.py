"""Looking at an instruction before there is a run: the model it needs, and rows of a file as that model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ofacore.batching.collate import collate
from ofacore.batching.transfer import batch_on
from ofacore.config.model_section import ModelConfig
from ofacore.config.schema import RunConfig
from ofacore.config.task_section import DataConfig, TaskConfig
from ofacore.generalist.facade import build_model
from ofacore.ground.errors import UserError
from ofacore.ground.folders import check_place
from ofacore.plan import TemplatePlan, compile_instruction
from ofacore.plan.lookups import begins_with, column_hint, needed_columns
from ofacore.plan.planned_run import PlannedRun
from ofacore.plugin import Registry
from ofacore.plugin.blame import Blamed, who
from ofacore.protocols import Example
from ofacore.setup.assembly import Assembly
from ofacore.setup.data_check import DataReport, check_data
from ofacore.setup.datasets import TaskRows, path_columns
from ofacore.sources import ListSource, Source, open_source
from ofacore.sources.named_splits import named_splits

_LINES = ("csv", "tsv", "tab")
"""Formats and suffixes of files whose first line names the columns."""


def describe_model(instruction: str, preset: str = "tiny") -> dict[str, Any]:
    """Build a model for one instruction and send one sample row through it.

    Args:
        instruction: A template; every slot gets the sample value of its type.
        preset: Size of the model.

    Returns:
        Parameters by part, positions of every slot, and FLOPs of one forward pass.
    """
    registry = Registry.discover()
    template = compile_instruction(instruction, registry)
    row = sample_row(template, registry)
    assembly = _assembly(_run(instruction, registry, preset, DataConfig()), ListSource([row]))
    model = build_model(assembly).eval()
    rng = np.random.default_rng(0)
    example = assembly.encoders["task"].encode(row, split="valid", rng=rng, row_id="sample")
    batch = collate([example])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.losses(batch) if batch.terms else model.hidden(batch_on(batch, model.device))
    parts = {name: _parameters(child) for name, child in model.named_children()}
    return {
        "preset": preset,
        "parameters": _parameters(model),
        "parameters by part": {name: count for name, count in parts.items() if count},
        "positions": _positions(example),
        "hidden": model.sizes.hidden,
        "FLOPs of one forward pass": counter.get_total_flops(),
    }


def _parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def sample_row(template: TemplatePlan, registry: Registry) -> dict[str, Any]:
    """A row with the sample value of every slot's type; lists of two inside repeats.

    Raises:
        UserError: A type has no sample value.
    """
    row: dict[str, Any] = {}
    for slot in template.slots.values():
        if slot.plain is None:
            target = registry.slot(slot.type).sample
            if not target:
                raise UserError(
                    f"slot type {slot.type} gives no sample value, so no row can be made "
                    f"up for [{slot.type}:{slot.name}]"
                )
            value = Blamed(registry.resolve(target), who(registry, "slot", slot.type), "sample")()
            row[slot.name] = [value, value] if slot.repeat else value
    return row


def check_file(
    file: Path,
    instruction: str,
    *,
    rows: int = 3,
    html: Path | None = None,
    data: DataConfig | None = None,
) -> DataReport:
    """Rows of a file as the model will see them, and every bad row with its reason.

    Args:
        file: Data file or folder; of one that holds splits by their names, all of them.
        instruction: What the rows are for.
        rows: How many to show.
        html: Where to write them as pictures; None: nowhere.
        data: Format, names and map of columns.

    Raises:
        UserError: There are no rows, columns are missing, or the page cannot be written.
        SourceError: The file cannot be opened.
        InstructionError: The instruction cannot be used.
    """
    registry = Registry.discover()
    template = compile_instruction(instruction, registry)
    if html is not None:
        check_place(html)
    data = data or DataConfig()
    run = _run(instruction, registry, "tiny", data)
    paths = path_columns(run.plans["task"], registry)
    places = list(dict.fromkeys(named_splits(str(file)).values()))
    source = open_source(places or str(file), data, paths=paths)
    if not len(source):
        raise UserError(f"{file} has no rows; it must hold at least one")
    needed = needed_columns(template, registry)
    _check_columns(file, needed, source, data)
    assembly = _assembly(run, source)
    report = check_data(source, assembly.plans["task"], assembly.encoders["task"], shown=rows)
    if html is not None:
        html.write_text(report.html(), encoding="utf-8")
    return report


def _check_columns(file: Path, needed: Sequence[str], source: Source, data: DataConfig) -> None:
    known = source.columns
    lines = data.header and (
        data.format in _LINES or Path(file).suffix.lower().lstrip(".") in _LINES
    )
    for slot in needed if known else ():
        name = data.columns.get(slot, slot)
        if not begins_with(name, known):
            hint = column_hint(name, known, lines)
            raise UserError(f"{file} has no column '{name}', which the instruction names; {hint}")


def _run(instruction: str, registry: Registry, preset: str, settings: DataConfig) -> PlannedRun:
    task = TaskConfig(instruction=(instruction,), data=settings)
    config = RunConfig(tasks={"task": task}, model=ModelConfig(preset=preset))
    return PlannedRun.of(config, registry)


def _assembly(run: PlannedRun, source: Source) -> Assembly:
    return Assembly.create(run, {"task": TaskRows({"train": source})})


def _positions(example: Example) -> dict[str, int]:
    found: dict[str, int] = {}
    for piece in (piece for sequence in (*example.source, example.target) for piece in sequence):
        title = f"{piece.slot.side} {piece.slot.position} " + (
            f'"{piece.slot.plain}"'
            if piece.slot.plain
            else f"[{piece.slot.type}:{piece.slot.name}]"
        )
        found[title] = found.get(title, 0) + piece.length
    return found
