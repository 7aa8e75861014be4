"""A whole report: train, score, compare, write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from ofa_cli.output import echo
from ofa_retention.figures import Mean, Retained, of_tasks, of_variants, plain
from ofa_retention.helping import TRANSFER, helping, print_helping, section
from ofa_retention.learning_curves import curves
from ofa_retention.page import page
from ofa_retention.printing import print_report
from ofa_retention.study import TEACHERS, Study
from ofa_retention.trainings import Training, planned
from ofa_retention.workers import work_through
from ofa_retention.working import is_trained, make_base, taken
from ofacore import __version__
from ofacore.checkpoint.durable import replace_json
from ofacore.ground.folders import check_writable
from ofacore.ground.json_text import json_text

RESULTS, SETTINGS, PAGE = "results.json", "settings.json", "report.html"


def run(study: Study, jobs: int = 1) -> None:
    """Do what is left to do, then write and print the report.

    Raises:
        UserError: Something that was asked for cannot be used.
        SystemExit: A signal ended a training, after it was saved; the same call goes on.
    """
    check_writable(study.out)
    trainings = planned(study)
    study.out.mkdir(parents=True, exist_ok=True)
    bases = {one.base.folder: one.base for one in trainings if one.base and not is_trained(one)}
    for base in bases.values():
        make_base(base)
    for number, done in enumerate(_in_rounds(trainings, jobs), 1):
        took = taken(done)
        told = f"{took['samples']} samples, {took['steps']} steps, {took['seconds']:.0f} s"
        typer.echo(f"{number} of {len(trainings)}: {done.label} ({told})", err=True)
    report(study, [training for training in trainings if training.model != TEACHERS])


def _in_rounds(trainings: list[Training], jobs: int) -> Iterator[Training]:
    """Each when it is done: what learns from teachers comes after them."""
    taught = [training for training in trainings if training.config.train.teachers]
    others = [training for training in trainings if not training.config.train.teachers]
    for part in (others, taught):
        if part:
            yield from work_through(part, jobs)


def report(study: Study, trainings: list[Training]) -> None:
    """Compare what has scores, and write ``results.json``, ``settings.json`` and ``report.html``."""
    rows, means = of_tasks(study, trainings), of_variants(study, trainings)
    shifted = [row for shift in study.shifts for row in of_tasks(study, trainings, shift)]
    settings = _settings(study, trainings)
    replace_json(study.out / SETTINGS, settings)
    replace_json(study.out / RESULTS, _results(rows, shifted, means))
    helped = _helping(study, trainings)
    told = json_text(settings, indent=1)
    extra = curves(trainings) + ("" if helped is None else helped[1])
    made = page(f"Retention: {study.source}", rows, shifted, means, told, extra)
    _replace(study.out / PAGE, made)
    print_report(rows, means)
    if shifted:
        print_report(shifted, (), shifted=True)
    if helped is not None:
        print_helping(helped[0])
    echo(f"report: {study.out / PAGE}")


def _helping(study: Study, trainings: list[Training]) -> tuple[dict[str, Any], str] | None:
    """Who helps whom, and its part of the page; None where it is not asked for."""
    if not study.snapshots:
        return None
    found = helping(trainings)
    replace_json(study.out / TRANSFER, found)
    return found, section(found)


def _results(rows: list[Retained], shifted: list[Retained], means: list[Mean]) -> dict[str, Any]:
    return {
        "tasks": [plain(row) for row in rows],
        "other sources": [plain(row) for row in shifted],
        "means": [plain(mean) for mean in means],
    }


def _settings(study: Study, trainings: list[Training]) -> dict[str, Any]:
    asked = {key: value for key, value in asdict(study).items() if key != "out"}
    recipes = {
        training.model: training.config.model_dump(
            mode="json", exclude={"tasks"}, exclude_unset=True
        )
        for training in trainings
    }
    samples = {training.model: dict(training.samples) for training in trainings[::-1]}
    return {
        "ofacore": __version__,
        "asked": asked,
        "tasks": list(dict.fromkeys(task for t in trainings for task in t.tasks)),
        "samples": samples,
        "recipes": recipes,
    }


def _replace(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}.tmp-{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, file)
