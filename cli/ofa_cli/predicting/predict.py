"""``ofa predict``: answer every row of a file, a folder or a stream, by windows of rows."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from ofa_cli.predicting.answers import AnswerWriter
from ofa_cli.predicting.asked_rows import AskedRow, AskedRows, TableRows, asked_rows
from ofa_cli.predicting.journal import Journal, Standing, standing
from ofa_cli.predicting.places import AnswerPlaces, answer_places
from ofa_cli.predicting.tables import write_table
from ofacore.config.task_section import DataConfig
from ofacore.decoding.inference import Inference
from ofacore.decoding.output import Output, SaveError
from ofacore.encoding.slot_kinds import file_slots
from ofacore.generalist.facade import Generalist
from ofacore.generalist.storing import checkpoint_of
from ofacore.ground.errors import UserError
from ofacore.ground.folders import check_free
from ofacore.ground.json_files import JsonError, read_object
from ofacore.ground.json_text import json_text
from ofacore.ground.rate import Rate
from ofacore.parallel.process import tune_process
from ofacore.plan import TaskPlan
from ofacore.plan.generation import target_slots
from ofacore.plugin import Registry
from ofacore.protocols import RowError
from ofacore.sources.data_errors import reason_at

WINDOW = 16
"""Batches of rows that are sorted by length together."""
_PROBED = 100
"""Files of a folder that are tried before it counts as one without usable files."""
_TOLD = 5
"""Bad rows that are told where no file takes them."""


@dataclass(frozen=True)
class Asked:
    """What is to be answered, by what, and how."""

    run: Path
    instruction: str
    """Task by name, or a free instruction."""
    data: str
    out: Path | None = None
    """None: JSON lines on standard output."""
    resume: bool = False
    overwrite: bool = False
    n_best: int = 1
    batch_size: int = 64
    which: str = "latest"
    given: Mapping[str, Any] = field(default_factory=dict)
    """Slot -> the value of all rows."""
    closed_set: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    reading: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the data section that were set."""
    kept: Sequence[str] = ()
    """Columns that are copied to the answers."""


@dataclass
class Done:
    """What came of it."""

    answers: int = 0
    bad: int = 0
    before: int = 0
    """Rows that were there already."""
    a_second: float = 0.0
    reason: str = ""
    """Of the first bad row."""
    places: AnswerPlaces | None = None


def predict(asked: Asked) -> Done:
    """Answer all rows.

    Raises:
        UserError: The run, the output or the data cannot be used: told before any row is answered. Or no row could be.
    """
    places = None
    if asked.out is not None:
        places = answer_places(
            asked.out, asked.data, resume=asked.resume, overwrite=asked.overwrite
        )
    elif asked.resume:
        raise UserError("--resume goes on with a file of answers; name it by --out")
    place = checkpoint_of(_free(asked.run), asked.which)
    about = _about(asked, place)
    if places is not None and asked.resume:
        _check_same(places, about)
        if places.complete:
            return Done(places=places)
    tune_process()
    model = Generalist.from_pretrained(place)
    plan = model.plan(asked.instruction, dict(asked.closed_set) or None)
    columns = {**plan.columns, **asked.reading.get("columns", {})}
    own = {slot: column for slot, column in columns.items() if slot not in asked.given}
    plan = replace(plan, columns=own)
    if not target_slots(plan):
        raise UserError(f"'{asked.instruction}' has no target, so there is nothing to answer")
    if places is None:
        _refuse_files(plan, model.registry)
    source = [slot for slot in plan.slots() if slot.side == "source"]
    files = file_slots(source, model.registry)
    rows = asked_rows(
        asked.data,
        plan,
        model.registry,
        config=_reading(asked, model, plan),
        given=asked.given,
        files=files,
        kept=asked.kept,
    )
    options = _with_candidates(asked, plan, model.registry)
    inference = model.inference(plan, batch_size=asked.batch_size, **options)
    if Path(asked.data).is_dir():
        _probe(asked.data, rows, inference)
    if asked.overwrite and places is not None:
        places.clear()
    return _answered(asked, rows, inference, places, about)


def _answered(
    asked: Asked,
    rows: AskedRows,
    inference: Inference,
    places: AnswerPlaces | None,
    about: Mapping[str, Any],
) -> Done:
    window = WINDOW * asked.batch_size
    start = Standing()
    if places is None:
        writer = AnswerWriter(None, Path(), asked.n_best > 1, asked.kept)
        return answer_all(rows, inference, writer, _Printed(sys.stdout), window, start)
    if places.begun:
        start = standing(places, window, rows.total)
    base = places.final.parent
    writer = AnswerWriter(places.files, base, asked.n_best > 1, asked.kept)
    base.mkdir(parents=True, exist_ok=True)
    places.about.write_text(json_text(about, indent=1) + "\n", encoding="utf-8")
    with Journal(places, start) as journal:
        done = answer_all(rows, inference, writer, journal, window, start)
    done.places = places
    if places.final != places.journal:
        write_table(places.journal, places.final)
    if done.bad and not done.answers and not done.before:
        raise UserError(
            f"none of the {done.bad} rows of {asked.data} could be answered: {done.reason}; "
            f"{places.bad} has the reason of each"
        )
    return done


class _Printed:
    """Answers on a stream, bad rows told on standard error."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._told = stream, 0

    def write(self, answers: Sequence[str], bad: Sequence[str]) -> None:
        for line in answers:
            self._stream.write(f"{line}\n")
        self._stream.flush()
        for line in bad[: max(0, _TOLD - self._told)]:
            print(f"not answered: {line}", file=sys.stderr)
        self._told += len(bad)


def answer_all(
    rows: AskedRows,
    inference: Inference,
    writer: AnswerWriter,
    sink: Journal | _Printed,
    window: int,
    start: Standing,
) -> Done:
    """Read rows by windows, answer them, hand the lines on.

    Args:
        rows: What is asked.
        inference: What answers.
        writer: Makes a record of an answer.
        sink: Where lines go.
        window: Rows of a window.
        start: What is done already.
    """
    done, rate = Done(before=start.rows), Rate(rows.total, start.rows)
    reader = rows.read(start.rows)
    while asked := list(islice(reader, window)):
        answers: list[str] = []
        bad: list[str] = []
        for row, record in _window(asked, inference, writer):
            if isinstance(record, str):
                done.reason = done.reason or record
                bad.append(json_text({"row": row.number, "at": row.place, "reason": record}))
            else:
                answers.append(json_text(record))
        sink.write(answers, bad)
        done.answers, done.bad = done.answers + len(answers), done.bad + len(bad)
        rate.add(len(asked))
    done.a_second = rate.a_second
    rate.close()
    return done


def _window(
    asked: Sequence[AskedRow], inference: Inference, writer: AnswerWriter
) -> Iterator[tuple[AskedRow, dict[str, Any] | str]]:
    """The record of every row in order, or why there is none."""
    readable = [row for row in asked if isinstance(row.content, Mapping)]
    contents = [row.content for row in readable if isinstance(row.content, Mapping)]
    numbers = [row.number for row in readable]
    outputs = dict(zip(numbers, inference(contents, on_error="keep", numbers=numbers), strict=True))
    for row in asked:
        if isinstance(row.content, RowError):
            yield row, reason_at(row.place, row.content)
        else:
            yield row, _record(row, outputs[row.number], writer)


def _record(row: AskedRow, output: Output, writer: AnswerWriter) -> dict[str, Any] | str:
    if output.problem:
        return output.problem
    try:
        return writer(row, output)
    except SaveError as error:
        return str(error)


def _free(run: Path) -> Path:
    """The run, unless something trains in it."""
    try:
        check_free(run)
    except UserError:
        remedy = f"wait until it has ended, or name a checkpoint in '{run / 'checkpoints'}'"
        raise UserError(f"'{run}' is in use: it is being trained; {remedy}") from None
    return run


def _about(asked: Asked, place: Path) -> dict[str, Any]:
    """What must not change between the parts of an output."""
    return {
        "checkpoint": str(place.resolve()),
        "checkpoint_written": _written_at(place),
        "instruction": asked.instruction,
        "data": asked.data if asked.data == "-" else str(Path(asked.data).resolve()),
        "given": dict(asked.given),
        "read": dict(asked.reading),
        "kept": list(asked.kept),
        "closed_set": {name: list(values) for name, values in asked.closed_set.items()},
        "generation": dict(asked.generation),
        "n_best": asked.n_best,
    }


def _written_at(place: Path) -> str:
    """When a checkpoint was written: another one may have come to its place since."""
    seconds = (place / "COMPLETE").stat().st_mtime
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _check_same(places: AnswerPlaces, about: Mapping[str, Any]) -> None:
    if not places.begun:
        return
    if not places.about.exists():
        raise UserError(
            f"'{places.final}' exists, but not '{places.about}', which tells what was asked: there is nothing to "
            "resume; choose another name, or --overwrite"
        )
    try:
        before = read_object(places.about)
    except JsonError as error:
        raise UserError(f"{error}; --overwrite begins anew") from None
    wanted = {name: json_text(value, sort_keys=True) for name, value in about.items()}
    found = {name: json_text(value, sort_keys=True) for name, value in before.items()}
    changed = [name for name in wanted if found.get(name) != wanted[name]]
    if changed:
        name = changed[0]
        raise UserError(
            f"'{places.final}' was begun with another {name}: {found.get(name)}, now {wanted[name]}; "
            "--resume needs the same, --overwrite begins anew"
        )


def _refuse_files(plan: TaskPlan, registry: Registry) -> None:
    for slot in target_slots(plan):
        if ending := registry.slot(slot.type).saved_as:
            raise UserError(
                f"answers of [{slot.type}:{slot.name}] are files ({ending}); name a file or folder by --out"
            )


def _reading(asked: Asked, model: Generalist, plan: TaskPlan) -> DataConfig:
    """How the data are read: as it is asked, an empty field as in training."""
    task = model.assembly.config.tasks.get(plan.name)
    before = {"empty": task.data.empty} if task is not None else {}
    config = DataConfig.model_validate({**before, **asked.reading})
    unknown = [name for name in ("train", "valid", "test", "transforms") if name in asked.reading]
    if unknown:
        raise UserError(f"--read {unknown[0]}: says what is trained on, not how a file is read")
    return config


def _with_candidates(asked: Asked, plan: TaskPlan, registry: Registry) -> dict[str, Any]:
    """Options of generation; several candidates of an open value need a beam, unless something else is asked for."""
    options = dict(asked.generation)
    if asked.n_best == 1:
        return options
    options.setdefault("n_best", asked.n_best)
    searched = any(
        "strategy" in registry.component("generator", slot.generator).options
        for slot in target_slots(plan)
    )
    if searched and "strategy" not in {**plan.generation, **options}:
        options |= {"strategy": "beam", "beam": max(asked.n_best, options.get("beam", 1))}
    return options


def _probe(folder: str, rows: AskedRows, inference: Inference) -> None:
    """Make sure that one of the first files can be used.

    Raises:
        UserError: None can.
    """
    if not isinstance(rows, TableRows):
        return
    problem = ""
    for row in islice(rows.read(), _PROBED):
        try:
            if isinstance(row.content, RowError):
                raise row.content
            inference.encoder.encode_request(
                row.content, rng=np.random.default_rng(0), row_id=row.place
            )
            return
        except RowError as error:
            problem = problem or f"{row.place}: {reason_at(row.place, error)}"
    raise UserError(f"{folder} holds no usable file: {problem}")
