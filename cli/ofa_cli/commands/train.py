"""``ofa train``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofa_cli.lazy import command_app
from ofa_cli.output import echo
from ofa_cli.ranks import quieten, rank
from ofa_cli.runs import run_folder

if TYPE_CHECKING:
    from ofacore.config.loading import ConfigText
    from ofacore.config.schema import ParallelConfig

app = command_app()


@app.command()
def train(
    context: typer.Context,
    config: Annotated[
        str,
        typer.Argument(
            help="A YAML file, 'starter' for the tasks that come with the plugins, or an instruction."
        ),
    ],
    data: Annotated[
        str | None, typer.Argument(help="With an instruction: its rows, a file or a folder.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Set a key: train.steps=100.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Number of steps.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder.")] = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="Run or saved model to start from; CONFIG names what is new."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the latest checkpoint.")
    ] = False,
    all_rows: Annotated[
        bool, typer.Option("--all-rows", help="Score all test rows at the end, not only 300.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print plans, sizes and shares; run two steps.")
    ] = False,
    save_config: Annotated[
        Path | None,
        typer.Option(help="With an instruction: also write the YAML that the line stands for."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="With 'starter': every starter task, for longer.")
    ] = False,
    nproc: Annotated[int | None, typer.Option(min=1, help="Processes on this machine.")] = None,
    tp: Annotated[int | None, typer.Option(min=1, help="Tensor parallel size.")] = None,
    pp: Annotated[int | None, typer.Option(min=1, help="Pipeline stages.")] = None,
    sp: Annotated[bool, typer.Option("--sp", help="Sequence parallel, with --tp.")] = False,
    ep: Annotated[int | None, typer.Option(min=1, help="Expert parallel size.")] = None,
    zero: Annotated[
        int | None, typer.Option(min=0, max=1, help="1: optimiser state is shared (ZeRO-1).")
    ] = None,
    fsdp: Annotated[bool, typer.Option("--fsdp", help="Weights are shared too (FSDP).")] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds that a step may take.")] = None,
    max_restarts: Annotated[
        int | None, typer.Option(min=0, help="Restarts after a failure.")
    ] = None,
) -> None:
    """Train a generalist."""
    from ofacore.ground.errors import UserError

    if every and config != "starter":
        raise UserError("--all chooses among the starter tasks: ofa train starter --all")
    quieten()
    layout = {
        "nproc": nproc,
        "tp": tp,
        "pp": pp,
        "sp": sp or None,
        "ep": ep,
        "zero": zero,
        "fsdp": fsdp or None,
        "timeout": timeout,
        "max_restarts": max_restarts,
    }
    chosen = [
        f"parallel.{key}={str(value).lower()}" for key, value in layout.items() if value is not None
    ]
    settings = [
        *(overrides or []),
        *([f"train.steps={steps}"] if steps is not None else []),
        *(["train.test_rows=0"] if all_rows else []),
        *chosen,
    ]
    source: str | ConfigText = "starter-all" if every else config
    from ofacore.config.showing import show
    from ofacore.ground.folders import check_writable
    from ofacore.setup.run_check import read_checked

    resume = resume or _restarted()
    if _is_one_line(config, data, save_config):
        source = _from_line(config, data or "", save_config, resume, out, settings, start)
    extension = None
    if start is None:
        run = read_checked([source], settings, resume=resume, folder=out)
    else:
        from ofacore.runs.extended_run import read_extension

        run, extension = read_extension([source], settings, run_folder(start), out)
    if save_config is not None and rank() in (None, 0):
        save_config.write_text(show(run.config, defaults=False), encoding="utf-8")
    parallel = run.config.parallel
    if parallel.nproc > 1 and rank() is None:
        if not dry_run:
            check_writable(out or Path(run.config.out.format(name=run.config.name)))
        debug = ["--debug"] if context.find_root().params.get("debug") else []
        words, place = [config], out
        if data is not None:
            words, place = [config, data], out or Path(run.config.out.format(name=run.config.name))
        arguments = [*debug, "train", *_arguments(words, every, settings, place, start)]
        _launch(parallel, arguments, resume, dry_run)
        return

    from ofacore.runs.train_run import train_run

    train_run(run, extension=extension, resume=resume, dry_run=dry_run, folder=out)


def _restarted() -> bool:
    """A launcher started this process again after a failure."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def _is_one_line(config: str, data: str | None, save_config: Path | None) -> bool:
    """Whether an instruction with its rows stands in place of a file.

    Raises:
        UserError: One stands without the other.
    """
    from ofacore.ground.errors import UserError

    if "->" in config:
        if data is None:
            raise UserError(
                f"an instruction needs rows: ofa train '{config}' rows.csv (or a folder)"
            )
        return True
    if data is not None or save_config is not None:
        what = f"'{data}'" if data is not None else "--save-config"
        raise UserError(
            f"{what} goes with an instruction, 'source -> target', but '{config}' is none"
        )
    return False


def _from_line(
    instruction: str,
    data: str,
    save_config: Path | None,
    resume: bool,
    out: Path | None,
    settings: Sequence[str],
    start: Path | None,
) -> ConfigText:
    """The configuration that a line stands for; what was chosen is told."""
    from ofa_cli.one_line import one_line
    from ofacore.ground.errors import UserError
    from ofacore.ground.folders import check_place
    from ofacore.plugin import Registry

    if save_config is not None:
        check_place(save_config)
        if save_config.exists() and not resume:
            raise UserError(f"--save-config '{save_config}' exists; name another file")
    found = one_line(
        instruction,
        data,
        Registry.discover(),
        resume=resume,
        numbered=out is None,
        settings=settings,
        joins=start is not None,
    )
    if rank() in (None, 0):
        for note in found.notes:
            echo(note)
    return found.config


def _arguments(
    words: Sequence[str],
    every: bool,
    settings: Sequence[str],
    out: Path | None,
    start: Path | None,
) -> list[str]:
    """This command again, for each process."""
    flags = ["--all"] if every else []
    folder = ["--out", str(out)] if out else []
    begun = ["--from", str(start)] if start else []
    changes = [word for setting in settings for word in ("--set", setting)]
    return [*words, *flags, *folder, *begun, *changes]


def _launch(config: ParallelConfig, arguments: list[str], resume: bool, dry_run: bool) -> None:
    from ofacore.launch.elastic import Job, launch

    given, added = (("--resume",), ()) if resume else ((), ("--resume",))
    command = [
        sys.executable,
        "-m",
        "ofa_cli.main",
        *arguments,
        *given,
        *(["--dry-run"] if dry_run else []),
    ]
    restarts = 0 if dry_run else config.max_restarts
    launch(Job(command, config.nproc, restarts, added, patience=config.timeout))
