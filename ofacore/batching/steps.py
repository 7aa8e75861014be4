"""Steps of training data: which samples, encoded by worker processes or in this one, collated into micro-batches.

What a step holds is a pure function of (seed, cursor, schedule), whatever the number of workers and wherever training
was resumed.
"""

from __future__ import annotations

import pickle
import signal
import traceback
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Literal

import torch
from torch.utils.data import DataLoader, Dataset

from ofacore.batching.collate import collate, split_micro_batches
from ofacore.batching.cursor import Cursor, SampleRef, replacement
from ofacore.batching.permutation import item_rng
from ofacore.encoding.encoder import Encoder
from ofacore.ground.errors import UserError
from ofacore.ground.machine import known_signals
from ofacore.parallel.process import flushes_denormals
from ofacore.protocols import Batch, Example, RowError, Schedule
from ofacore.sources.base import Source, SourceError
from ofacore.sources.data_errors import BadRow, reason_at

MAX_ATTEMPTS = 32
"""Rows tried in place of a bad one before the data of a task count as unusable."""
_CHUNK = 16


class BadRowError(UserError):
    """A row cannot be used, and the run's policy is to stop.

    Attributes:
        row: The row and its reason.
    """

    def __init__(self, row: BadRow, remedy: str) -> None:
        self.row, self.remedy = row, remedy
        super().__init__(row, remedy)

    def __str__(self) -> str:
        return f"task '{self.row.task}', {self.row.row_id}: {self.row.reason}; {self.remedy}"


class WorkerError(UserError):
    """A worker process ended, which it does not do by itself."""

    def __init__(self, told: str) -> None:
        guard = (
            'a script that trains with workers keeps its work under `if __name__ == "__main__":`'
        )
        super().__init__(
            f"{told.rstrip('.')}. Every worker imports the script that started it: {guard}; "
            "or memory ran out: set train.workers lower, 0 for none"
        )


@dataclass(frozen=True)
class TaskData:
    """Rows of a task and what encodes them."""

    source: Source
    encoder: Encoder


@dataclass(frozen=True)
class EncodedSample:
    """One sample of a step, and the bad rows that it stands for."""

    ref: SampleRef
    example: Example | None
    """None: too many attempts failed."""
    bad: tuple[BadRow, ...] = ()


@dataclass(frozen=True)
class LoaderSettings:
    """How steps are made."""

    seed: int = 1
    positions: int = 16384
    """Most positions of a micro-batch, both sides together."""
    samples: int = 0
    """Most samples of a micro-batch; 0: no limit."""
    packing: bool = True
    bad_rows: Literal["replace", "raise"] = "replace"
    workers: int = 0
    """Processes; 0: this one, with one thread that is a step ahead."""
    rank: int = 0
    ranks: int = 1
    """Data-parallel ranks; each takes every ``ranks``-th sample of a step."""


@dataclass
class Step:
    """The data of one optimiser step, on this rank."""

    number: int
    batches: list[Batch]
    counts: Mapping[str, int]
    """Term -> units of loss in the whole step."""
    cursor: Cursor
    """Where the next step begins."""
    bad: tuple[BadRow, ...] = ()
    examples: tuple[Example, ...] = ()
    """In sample order, to be split anew where memory runs out."""
    numbers: tuple[int, ...] = ()
    """Sample number of each example within its task."""
    samples: Mapping[str, int] = field(default_factory=dict)
    """Task -> samples, over all ranks."""
    packing: bool = True
    """How its micro-batches are laid out; see `collate`."""

    def halves(self, batch: Batch) -> list[Batch]:
        """Two micro-batches with the samples of one of this step's; itself alone where it holds a single sample."""
        if len(batch.samples) < 2:
            return [batch]
        number = len(batch.samples)
        middle = number // 2
        return [self.part(batch, range(middle)), self.part(batch, range(middle, number))]

    def part(self, batch: Batch, samples: Sequence[int]) -> Batch:
        """A micro-batch with some samples of one of this step's, by their places in it."""
        chosen = [batch.samples[place] for place in samples]
        return self._collated([self._places[one.task, one.number] for one in chosen], self.packing)

    @cached_property
    def _places(self) -> dict[tuple[str, int], int]:
        """(Task, number of a sample) -> its place among the examples."""
        tasks = [example.task for example in self.examples]
        keys = zip(tasks, self.numbers, strict=True)
        return {key: place for place, key in enumerate(keys)}

    def split(self, positions: int, samples: int = 0, packing: bool = True) -> list[Batch]:
        """The same examples in other micro-batches."""
        parts = split_micro_batches(self.examples, positions, samples, by_length=not packing)
        return [self._collated(part, packing) for part in parts]

    def _collated(self, part: Sequence[int], packing: bool) -> Batch:
        return collate(
            [self.examples[i] for i in part],
            packing=packing,
            numbers=[self.numbers[i] for i in part],
        )


class StepLoader:
    """Iterates over steps from a cursor on.

    Args:
        tasks: Task name -> data, in a fixed order.
        schedule: Samples of each task in each step.
        settings: How steps are made.
        cursor: Samples used so far.
        step: Number of the first step.
        stop: Number behind the last step; None: endless.

    Raises:
        SourceError: A task has no rows.
    """

    def __init__(
        self,
        tasks: Mapping[str, TaskData],
        schedule: Schedule,
        settings: LoaderSettings | None = None,
        cursor: Cursor | None = None,
        step: int = 0,
        stop: int | None = None,
    ) -> None:
        self.settings = settings or LoaderSettings()
        self._tasks, self._schedule = dict(tasks), schedule
        self._cursor, self._first, self._stop = cursor or Cursor(), step, stop
        self._rows = {task: len(data.source) for task, data in tasks.items()}
        empty = [task for task, rows in self._rows.items() if not rows]
        if empty:
            raise SourceError(f"task '{empty[0]}' has no rows to train on; check its data.train")

    def __iter__(self) -> Generator[Step, None, None]:
        """Steps in order, one made ahead by a thread.

        Raises:
            BadRowError: A bad row under the policy ``raise``, or no usable row within `MAX_ATTEMPTS`.
        """
        with ThreadPoolExecutor(1, "step-loader") as thread, closing(self._steps()) as steps:
            ahead = thread.submit(next, steps, None)
            while (step := ahead.result()) is not None:
                ahead = thread.submit(next, steps, None)
                try:
                    yield step
                except GeneratorExit:
                    ahead.exception()
                    raise

    def _steps(self) -> Generator[Step, None, None]:
        with closing(self._encoded()) as encoded:
            for number, counts, cursor, refs in self._plans():
                samples: list[EncodedSample] = []
                while len(samples) < len(refs):
                    samples += next(encoded)
                yield self._step(number, counts, cursor, samples)

    def _plans(self) -> Iterator[tuple[int, Mapping[str, int], Cursor, list[SampleRef]]]:
        """Of each step: number, samples of each task, the cursor behind it, this rank's samples."""
        cursor, number = self._cursor, self._first
        while self._stop is None or number < self._stop:
            counts = {task: count for task, count in self._schedule.counts(number).items() if count}
            refs = cursor.samples(counts, self._rows, self.settings.seed)
            cursor = cursor.advance(counts)
            yield number, counts, cursor, refs[self.settings.rank :: self.settings.ranks]
            number += 1

    def _encoded(self) -> Generator[list[EncodedSample], None, None]:
        """Encoded samples of all steps, in order; no piece reaches over the end of a step.

        Workers end where this generator does. They heed no signal, and the end of the process would wait for them: so
        no error is raised from within the loop, since its traceback would keep them.
        """
        data = _Samples(self._tasks, self._rows, self.settings.seed)
        if not self.settings.workers:
            yield from (data[chunk] for chunk in _Chunks(self))
            return
        _check_picklable(self._tasks)
        loader = DataLoader(
            _Caught(data),
            batch_size=None,
            sampler=_Chunks(self),
            num_workers=self.settings.workers,
            multiprocessing_context="spawn",
            generator=torch.Generator(),
            prefetch_factor=4,
            worker_init_fn=partial(_like_main, flushes_denormals()),
        )
        ended, failure = "", None
        try:
            for found in loader:
                if isinstance(found, WorkerFailure):
                    failure = found
                    break
                yield found
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            ended = str(error)
        if ended:
            raise WorkerError(ended)
        if failure is not None:
            raise failure.error from RuntimeError(f"in a worker process:\n{failure.traceback}")

    def chunks(self) -> Iterator[tuple[SampleRef, ...]]:
        """What is encoded, in the pieces that workers get."""
        for _, _, _, refs in self._plans():
            yield from (
                tuple(refs[start : start + _CHUNK]) for start in range(0, len(refs), _CHUNK)
            )

    def _step(
        self,
        number: int,
        counts: Mapping[str, int],
        cursor: Cursor,
        samples: Sequence[EncodedSample],
    ) -> Step:
        bad = tuple(row for sample in samples for row in sample.bad)
        if bad and self.settings.bad_rows == "raise":
            raise BadRowError(bad[0], "correct the row, or set train.faults.bad_rows: replace")
        hopeless = next((sample for sample in samples if sample.example is None), None)
        if hopeless is not None:
            remedy = f"{MAX_ATTEMPTS} rows in a row were bad; run `ofa data check` on this data"
            raise BadRowError(hopeless.bad[-1], remedy)
        examples = tuple(sample.example for sample in samples if sample.example is not None)
        total = Counter[str]()
        for item in (item for example in examples for item in example.terms):
            total[item.term] += item.count
        numbers = tuple(sample.ref.number for sample in samples)
        step = Step(
            number, [], dict(total), cursor, bad, examples, numbers, counts, self.settings.packing
        )
        step.batches = step.split(
            self.settings.positions, self.settings.samples, self.settings.packing
        )
        return step


class _Chunks:
    """The sampler of the worker processes."""

    def __init__(self, loader: StepLoader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[tuple[SampleRef, ...]]:
        return self._loader.chunks()


class _Samples(Dataset[list[EncodedSample]]):
    """Encodes samples; what a worker process holds."""

    def __init__(self, tasks: Mapping[str, TaskData], rows: Mapping[str, int], seed: int) -> None:
        self._tasks, self._rows, self._seed = tasks, rows, seed

    def __getitem__(self, refs: Sequence[SampleRef]) -> list[EncodedSample]:
        return [
            encode_sample(self._tasks[ref.task], ref, self._rows[ref.task], self._seed)
            for ref in refs
        ]


@dataclass(frozen=True)
class WorkerFailure:
    """What a worker process raised."""

    error: Exception
    """With its notes."""
    traceback: str


class _Caught(Dataset[list[EncodedSample] | WorkerFailure]):
    """Samples for the main process, which hears of an error as of any other result."""

    def __init__(self, samples: _Samples) -> None:
        self._samples = samples

    def __getitem__(self, refs: Sequence[SampleRef]) -> list[EncodedSample] | WorkerFailure:
        try:
            return self._samples[refs]
        except Exception as error:
            return WorkerFailure(_portable(error), "".join(traceback.format_exception(error)))


def _portable(error: Exception) -> Exception:
    """The error as it can be sent to another process: itself, or its text where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        portable = RuntimeError(f"{type(error).__name__}: {error}")
        for note in getattr(error, "__notes__", ()):
            portable.add_note(note)
        return portable
    return error


def encode_sample(data: TaskData, ref: SampleRef, rows: int, seed: int) -> EncodedSample:
    """Encode a training sample, or the row that stands in for it: a pure function of its arguments."""
    bad: list[BadRow] = []
    for attempt in range(MAX_ATTEMPTS):
        place = replacement(ref, attempt, rows, seed) if attempt else ref
        number = ref.number if attempt else ref.epoch
        rng = item_rng(seed, ref.task, number, place.index, attempt)
        name = data.source.name(place.index)
        try:
            row = data.source[place.index]
            return EncodedSample(
                ref, data.encoder.encode(row, split="train", rng=rng, row_id=name), tuple(bad)
            )
        except RowError as error:
            bad.append(BadRow(ref.task, name, reason_at(name, error)))
    return EncodedSample(ref, None, tuple(bad))


def _like_main(flush_denormals: bool, worker: int) -> None:
    """Numbers come out as in the main process; one thread each. The main process decides when a signal ends the run."""
    for number in known_signals("SIGTERM", "SIGINT", "SIGHUP"):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    torch.set_flush_denormal(flush_denormals)


def _check_picklable(tasks: Mapping[str, TaskData]) -> None:
    for task, data in tasks.items():
        for what, part in (("data", data.source), ("encoder", data.encoder)):
            try:
                pickle.dumps(part)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                remedy = (
                    "use functions and classes of a module, not lambdas, or set train.workers: 0"
                )
                raise SourceError(
                    f"task '{task}': its {what} cannot be sent to a worker process: {error}; {remedy}"
                ) from error
