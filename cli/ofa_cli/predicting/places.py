"""Where answers go: the file that is asked for, and what stands beside it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ofacore.ground.errors import UserError
from ofacore.ground.folders import check_writable
from ofacore.plugin import suggest

ENDINGS = (".jsonl", ".csv", ".parquet")
_ANSWERS = "answers.jsonl"


@dataclass(frozen=True)
class AnswerPlaces:
    """The files of one output."""

    final: Path
    """Where the answers are when all are there."""
    files: Path
    """Folder of values that are files: pictures, sounds."""

    @property
    def journal(self) -> Path:
        """Answers as they come, one a line; of JSON lines the file itself."""
        if self.final.suffix.lower() == ".jsonl":
            return self.final
        return self.final.with_name(f"{self.final.name}.part")

    @property
    def bad(self) -> Path:
        """Rows that could not be answered, with the reason."""
        return self.final.with_suffix(".bad.jsonl")

    @property
    def about(self) -> Path:
        """What was asked, so that nothing else goes on with it."""
        return self.final.with_suffix(".about.json")

    @property
    def written(self) -> tuple[Path, ...]:
        """All files of the output but the values that are files."""
        return self.final, self.journal, self.bad, self.about

    @property
    def begun(self) -> bool:
        """Whether something is there already."""
        return self.final.exists() or self.journal.exists()

    @property
    def complete(self) -> bool:
        """Whether a table was finished; JSON lines tell by their number."""
        return self.final != self.journal and self.final.exists() and not self.journal.exists()

    def clear(self) -> None:
        """Take away what an earlier output left."""
        for path in self.written:
            path.unlink(missing_ok=True)
        if self.files != self.final.parent:
            shutil.rmtree(self.files, ignore_errors=True)


def answer_places(out: Path, data: str, *, resume: bool, overwrite: bool) -> AnswerPlaces:
    """The places of an output, if it may be written there; nothing is made yet.

    Args:
        out: A file by its ending, or a folder.
        data: What is answered.
        resume: An output that was begun goes on.
        overwrite: What is there is replaced.

    Raises:
        UserError: The ending is unknown, the output exists, it is what is read or lies in the folder that is read,
            or its files would take the place of another output's.
    """
    if resume and overwrite:
        raise UserError("--resume goes on with an output, --overwrite begins anew; choose one")
    suffix = out.suffix.lower()
    if suffix in ENDINGS and not out.is_dir():
        places = AnswerPlaces(out, out.with_suffix(".files"))
    elif suffix and not out.is_dir():
        near = suggest(suffix, ENDINGS) or f"there are {', '.join(ENDINGS)}"
        raise UserError(
            f"--out '{out}': answers are not written as '{suffix}'; {near}; a name without ending is a folder"
        )
    else:
        places = AnswerPlaces(out / _ANSWERS, out)
    folder = places.final.parent
    read = Path(data)
    if read.is_dir() and folder.resolve().is_relative_to(read.resolve()):
        raise UserError(
            f"--out '{out}' lies in '{data}', whose files are read; choose another place"
        )
    if read.exists() and read.resolve() in [path.resolve() for path in places.written]:
        raise UserError(
            f"--out '{out}' would take the place of '{data}', which is read; choose another name"
        )
    if out != folder and not folder.is_dir():
        raise UserError(f"--out '{out}' cannot be written: there is no folder '{folder}'")
    check_writable(folder)
    _check_own(places, read)
    if places.begun and not resume and not overwrite:
        raise UserError(
            f"'{places.final if places.final.exists() else places.journal}' exists; "
            "--resume goes on with it, --overwrite begins anew"
        )
    return places


def _check_own(places: AnswerPlaces, read: Path) -> None:
    """What stands beside an output that is not begun belongs to no other one, such as ``a.jsonl`` beside ``a.csv``.

    Raises:
        UserError: Its bad rows or files would be lost.
    """
    kept = [places.bad] if places.bad.exists() else []
    if places.files != places.final.parent and places.files.is_dir():
        kept.append(places.files)
    if places.begun or not kept:
        return
    others = [AnswerPlaces(places.final.with_suffix(ending), places.files) for ending in ENDINGS]
    other = next((one.final for one in others if one.begun and one.final != read), None)
    if other is not None:
        raise UserError(
            f"--out '{places.final}': '{kept[0]}' belongs to '{other}'; choose another name"
        )
