"""One answer as it is written: plain values, the files of those that are none, candidates, scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_cli.predicting.asked_rows import AskedRow
from ofacore.decoding.output import Candidate, Field, Output


@dataclass(frozen=True)
class AnswerWriter:
    """Turns outputs into records that JSON can hold.

    Raises:
        SaveError: A value cannot be written to its file.
    """

    files: Path | None
    """Folder of the files; None where no slot has values that are files."""
    base: Path
    """What their names are relative to."""
    candidates: bool = False
    kept: Sequence[str] = ()
    """Columns that are copied from the row."""

    def __call__(self, asked: AskedRow, output: Output) -> dict[str, Any]:
        record: dict[str, Any] = {"row": asked.number, "at": asked.place}
        if self.kept and isinstance(asked.content, Mapping):
            record["kept"] = {name: asked.content.get(name) for name in self.kept}
        record["values"] = {
            name: self._value(asked, output, name, entry) for name, entry in output.fields.items()
        }
        record["score"] = output.score
        record["log_prob"], record["mean_log_prob"] = output.log_prob, output.mean_log_prob
        if self.candidates:
            record["candidates"] = _candidates(output)
        return record

    def _value(self, asked: AskedRow, output: Output, name: str, entry: Field) -> Any:
        ending = entry.slot_type.saved_as
        if not ending or entry.value is None or self.files is None:
            return entry.value
        self.files.mkdir(parents=True, exist_ok=True)
        stem = f"{asked.number:06d}_{name}"
        if not entry.repeated:
            return self._named(output.save(self.files / f"{stem}{ending}", slot=name))
        places = [self.files / f"{stem}_{turn}{ending}" for turn in range(len(entry.turns))]
        for turn, place in enumerate(places):
            output.save(place, slot=name, turn=turn)
        return [self._named(place) for place in places]

    def _named(self, path: Path) -> str:
        return path.relative_to(self.base).as_posix()


def _candidates(output: Output) -> dict[str, list[dict[str, Any]]]:
    """Slot -> what each of its candidates says."""
    said = {}
    for name, found in output.candidates.items():
        said[name] = [_candidate(one, output.fields[name]) for one in found]
    return said


def _candidate(one: Candidate, entry: Field) -> dict[str, Any]:
    known = {"score": one.score, "log_prob": one.log_prob, "mean_log_prob": one.mean_log_prob}
    return known if entry.slot_type.saved_as else {"value": one.value, **known}
