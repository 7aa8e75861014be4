"""``ofa infer``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofa_cli.lazy import command_app
from ofa_cli.output import echo, print_json
from ofa_cli.runs import run_folder
from ofacore.ground.errors import UserError
from ofacore.ground.folders import check_place

if TYPE_CHECKING:
    from ofacore.decoding.output import Candidate, Output
    from ofacore.plan import TaskPlan
    from ofacore.plugin import Registry

app = command_app()


@app.command()
def infer(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    instruction: Annotated[str, typer.Argument(help="Such as '[TEXT:question] -> [TEXT:answer]'.")],
    data: Annotated[
        list[str] | None, typer.Option("--data", help="A value for a slot: name=value.")
    ] = None,
    closed_set: Annotated[
        list[str] | None,
        typer.Option(
            "--closed-set", help="An allowed value of a target slot: name=value; repeat it."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="An option of generation: strategy=beam, n_best=3, max_length=20."
        ),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Also save the output to this file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Answer one instruction."""
    from ofacore.config import ConfigError, read_generation
    from ofacore.plan.generation import unknown_options
    from ofacore.plugin import Registry

    folder, row, allowed = run_folder(run), parse_data(data or []), parse_values(closed_set or [])
    options = read_generation(settings or [])
    if problems := unknown_options("generation", options, Registry.discover()):
        raise ConfigError(problems)
    if save is not None:
        check_place(save)

    from ofa_cli.entered import entered_row
    from ofacore import Generalist

    generalist = Generalist.from_pretrained(folder)
    plan = generalist.plan(instruction)
    check_names(row, plan)
    _check_values(row, plan, generalist.registry)
    entered = entered_row(row, plan, generalist.registry)
    output = generalist.infer(instruction, entered, closed_set=allowed, **options)
    if output.problem:
        raise UserError(output.problem)
    if save is not None:
        output.save(str(save))
    if json:
        known = {
            "score": output.score,
            "log_prob": output.log_prob,
            "mean_log_prob": output.mean_log_prob,
            "cut": output.cut,
        }
        print_json({"values": output.values, **known, "candidates": _candidates(output)})
        return
    for name, value in output.values.items():
        echo(f"{name}: {value}")
        others = output.candidates[name] if options.get("n_best", 1) > 1 else []
        for candidate in others:
            echo(f"  {candidate.score:8.3f}  {candidate.value}")


def _candidates(output: Output) -> dict[str, list[dict[str, Any]]]:
    """Slot -> candidates by the names of their fields."""
    fields = {}
    for name, found in output.candidates.items():
        fields[name] = [_candidate(candidate) for candidate in found]
    return fields


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {**vars(candidate), "mean_log_prob": candidate.mean_log_prob}


def check_names(row: Mapping[str, str], plan: TaskPlan) -> None:
    """Every given name is a slot, or a column that something of the task, or an attribute of a slot, reads.

    Raises:
        UserError: One is not; names those that are.
    """
    from ofacore.plugin import suggest

    slots = [slot.name for slot in plan.slots() if slot.plain is None]
    columns = [given["column"] for given in plan.closed_sets.values() if isinstance(given, dict)]
    named = [
        str(value)
        for slot in plan.slots()
        for value in slot.attributes.values()
        if isinstance(value, str)
    ]
    columns += [*plan.columns.values(), *plan.transforms, *(use.references for use in plan.metrics)]
    known = [*slots, *named, *columns]
    for name in row:
        if name not in known:
            hint = suggest(name, known) or f"there are {', '.join(dict.fromkeys(slots))}"
            raise UserError(f"--data '{name}': the instruction has no such slot; {hint}")


def _check_values(row: Mapping[str, str], plan: TaskPlan, registry: Registry) -> None:
    """Every source slot that needs a value has one; a task whose rows are transformed may make its own.

    Raises:
        UserError: Some have none.
    """
    from ofacore.plan.lookups import needed_columns

    template = plan.templates[0]
    sources = {slot.name for slot in template.slots.values() if slot.side == "source"}
    needed = [name for name in needed_columns(template, registry) if name in sources]
    lacking = [name for name in needed if name not in row and name not in plan.columns]
    if lacking and not plan.row_transforms:
        ways = " ".join(f"--data {name}=VALUE" for name in lacking)
        raise UserError(f"nothing is given for {', '.join(lacking)}: {ways}")


def parse_data(pairs: Sequence[str]) -> dict[str, str]:
    """``name=value`` arguments as a row; only the first ``=`` divides.

    Raises:
        UserError: No ``=``, no name, or a name given twice.
    """
    row: dict[str, str] = {}
    for pair in pairs:
        name, value = _divided("--data", pair)
        if name in row:
            raise UserError(f"--data gives '{name}' twice")
        row[name] = value
    return row


def parse_values(pairs: Sequence[str]) -> dict[str, list[str]]:
    """``name=value`` arguments as a list of values for each name.

    Raises:
        UserError: No ``=``, or no name.
    """
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, value = _divided("--closed-set", pair)
        found.setdefault(name, []).append(value)
    return found


def _divided(option: str, pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not (name and equals):
        raise UserError(f"{option} '{pair}' is not of the form name=value")
    return name, value
