"""``ofa report retention``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from ofa_retention.study import (
    Study,
    read_names,
    read_seeds,
    read_shifts,
    read_variants,
)

SNAPSHOTS = 4
"""Checkpoints of each generalist that ``--transfer`` looks at."""


def report_retention(
    config: Annotated[
        str,
        typer.Argument(
            help="A YAML file, or 'starter' (or 'starter-all') for the tasks that come with the plugins."
        ),
    ] = "starter",
    seeds: Annotated[
        str, typer.Option(help="Seeds, each of which trains all models: 1,2,3.")
    ] = "1",
    only: Annotated[
        Literal["", "specialists", "generalist"], typer.Option(help="Train and score these alone.")
    ] = "",
    tasks: Annotated[str, typer.Option(help="These tasks alone: a,b.")] = "",
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="A generalist: dense, experts (one for each modality), or NAME:key=value,key=value. "
            "May be given again; default: dense and experts."
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="Score a task on rows of another source, too: task=file."),
    ] = None,
    transfer: Annotated[
        bool, typer.Option("--transfer", help="Measure, too, which task helps which.")
    ] = False,
    rows: Annotated[int, typer.Option(min=0, help="Held-out rows of each task; 0: all.")] = 300,
    jobs: Annotated[
        int, typer.Option(min=1, max=256, help="Models that are trained at a time.")
    ] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("runs/retention"),
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Set a key: train.steps=100.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the specialists' checkpoints, not weights alone.")
    ] = False,
) -> None:
    """Train a specialist for each task and a generalist for all, score them on the same rows, compare.

    Started again it goes on where it was.
    """
    snapshots = SNAPSHOTS if transfer else 0
    study = Study(
        source=config,
        overrides=tuple(overrides or ()),
        seeds=read_seeds(seeds),
        variants=read_variants(variant or ()),
        tasks=read_names(tasks),
        only=only,
        rows=rows,
        shifts=read_shifts(data or ()),
        out=out,
        keep=keep,
        snapshots=snapshots,
    )
    logging.getLogger("ofacore").setLevel(logging.WARNING)

    from ofa_retention.running import run

    run(study, jobs)
