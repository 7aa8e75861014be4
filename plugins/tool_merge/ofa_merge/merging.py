"""Runs to one run: checked, merged, written, scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_merge.agreement import check_alike
from ofa_merge.ancestor import find_ancestor
from ofa_merge.combining import Combination, WeightsOf
from ofa_merge.entropy import mean_entropy, questions
from ofa_merge.learning import LearnedWeights
from ofa_merge.method import Method
from ofa_merge.methods import method_of, with_defaults
from ofa_merge.opened import OpenedRun, open_run
from ofa_merge.rows import open_rows
from ofa_merge.scoring import KeptRow, keep_table
from ofa_merge.union import union
from ofa_merge.validation import RelativeLoss, loss_ranges, with_valid
from ofa_merge.weighing import check_weights, search_weights
from ofa_merge.writing import check_out, made_whole, write_run
from ofacore.generalist.facade import Generalist, build_model
from ofacore.ground.errors import UserError
from ofacore.ground.json_text import json_text
from ofacore.setup.assembly import Assembly
from ofacore.setup.datasets import TaskRows

REPORT = "merge.json"


@dataclass(frozen=True)
class MergeReport:
    """What was done.

    Attributes:
        folder: The merged run.
        method: How.
        options: Of the method, all of them.
        runs: What it was made of.
        weights: One for each run; learned by part: part -> such a list.
        ancestor: What the runs began with; empty where the method asks for none.
        notes: How weights were found.
        kept: What each task keeps against its specialist.
    """

    folder: Path
    method: str
    options: Mapping[str, Any]
    runs: tuple[str, ...]
    weights: list[float] | dict[str, list[float]]
    ancestor: str
    notes: tuple[str, ...]
    kept: tuple[KeptRow, ...]

    def plain(self) -> dict[str, Any]:
        """As ``merge.json`` has it."""
        rows = [row.plain() for row in self.kept]
        return {**vars(self), "folder": str(self.folder), "kept": rows}


def merge(
    runs: Sequence[str | Path],
    method: str = "mean",
    *,
    out: str | Path,
    weights: Sequence[float] | None = None,
    search: bool = False,
    base: str | Path | None = None,
    which: str = "latest",
    options: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    score: bool = True,
    limit: int | None = 200,
    tell: Callable[[str], None] = lambda told: None,
) -> MergeReport:
    """Merge runs into one that has the tasks of all of them.

    Example:
        ``merge(["runs/a", "runs/b"], "ties", out="runs/merged")``

    Args:
        runs: Run folders or saved models with the same model, tokens and options.
        method: Name of a method.
        out: Run folder to make; it appears complete or not at all.
        weights: One for each run; default: the method's. Of a method that learns them: where it begins.
        search: Choose weights by the loss on validation rows.
        base: What the runs began with; default: what they say themselves.
        which: Of run folders: ``latest`` or ``best``.
        options: Of the method.
        data: Task -> rows to choose weights by and to score on; default: those that the tasks name.
        score: Score the merged model and the runs on held-out rows.
        limit: Most rows of a task that are scored; None: all.
        tell: Is told what is being done, a line each time.

    Raises:
        UserError: The runs cannot be merged in this way; nothing is then written.
    """
    chosen = method_of(method)
    settings = with_defaults(chosen, dict(options or {}))
    names = [str(run) for run in runs]
    _check_call(names, chosen, weights, search)
    tell(f"reading {len(names)} runs")
    opened = [open_run(Path(run), which) for run in runs]
    place = Path(out)
    check_out(place, {run.name: run.place for run in opened})
    check_alike(opened)
    merged = union(opened, place.name)
    ancestor = None
    if chosen.from_ancestor:
        tell("looking for what they began with")
        said = None if base is None else Path(base)
        ancestor = find_ancestor(opened, merged, said)
    combination = Combination(opened, chosen, settings, ancestor)
    rows, lost = open_rows(merged.run, tuple(merged.plans), data)
    first_weights = chosen.default_weights(len(opened)) if weights is None else weights
    start = tuple(first_weights)
    found = _Weights(lambda name: start, list(start), ())
    if search:
        tell("searching weights by the loss on validation rows")
        found = _searched(combination, merged, rows, start)
    elif chosen.learns:
        tell(f"learning weights, {settings['steps']} steps")
        found = _learned(combination, merged, rows, start)
    with made_whole(place) as folder:
        tell(f"merging {len(combination.owners)} tensors")
        write_run(folder, merged, combination.all(found.of))
        kept = keep_table(folder, opened, rows, lost, limit, tell) if score else []
        beginning = "" if ancestor is None else ancestor.told
        report = MergeReport(
            place,
            chosen.name,
            settings,
            tuple(names),
            found.told,
            beginning,
            found.notes,
            tuple(kept),
        )
        text = json_text(report.plain(), indent=1)
        (folder / REPORT).write_text(f"{text}\n", encoding="utf-8")
    return report


def _check_call(
    names: Sequence[str], method: Method, weights: Sequence[float] | None, search: bool
) -> None:
    """What can be said before anything is read.

    Raises:
        UserError: Too few runs, one of them twice, or weights that do not fit.
    """
    if len(names) < 2 and not (names and method.from_ancestor and weights is not None):
        raise UserError(f"'{method.name}' merges several runs; give two or more")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"'{twice}' is given twice; give its share by weights")
    if method.most_runs and len(names) != method.most_runs:
        raise UserError(f"'{method.name}' merges {method.most_runs} runs, not {len(names)}")
    if weights is not None:
        check_weights(weights, names, method)
    if search and weights is not None:
        raise UserError("weights are given or searched: leave out --weights or --search")
    if search and method.learns:
        raise UserError(f"'{method.name}' learns its weights: leave out --search")


@dataclass(frozen=True)
class _Weights:
    """Weights of runs for every tensor, and how they are told."""

    of: WeightsOf
    told: list[float] | dict[str, list[float]]
    notes: tuple[str, ...]


def _model(merged: Assembly, rows: Mapping[str, TaskRows]) -> Generalist:
    return Generalist(merged, build_model(merged), rows)


def _searched(
    combination: Combination,
    merged: Assembly,
    rows: Mapping[str, TaskRows],
    start: tuple[float, ...],
) -> _Weights:
    valid = with_valid(rows)
    runs: Sequence[OpenedRun] = combination.runs
    objective = RelativeLoss(combination, _model(merged, valid), loss_ranges(runs, valid))
    found = search_weights(objective, start, shares=not combination.method.from_ancestor)
    note = (
        f"searched {found.tried} sets of weights: validation loss {found.objective:.3f}, at the beginning "
        f"{found.begun:.3f} (0: as the best run of each task, 1: as the worst)"
    )
    return _Weights(lambda name: found.weights, list(found.weights), (note,))


def _learned(
    combination: Combination,
    merged: Assembly,
    rows: Mapping[str, TaskRows],
    start: tuple[float, ...],
) -> _Weights:
    options = combination.options
    generalist = _model(merged, with_valid(rows))
    asked = questions(generalist, with_valid(rows), options["rows"])
    weights = LearnedWeights(combination, start, options["per"] == "layer")
    losses = weights.learn(
        generalist.model,
        lambda model, step: mean_entropy(model, asked),
        options["steps"],
        options["rate"],
    )
    note = f"entropy of answers from closed sets: {losses[0]:.4f} at the beginning, {losses[-1]:.4f} at the end"
    return _Weights(weights.of, weights.told(), (note,))
