"""Things fitted once and stored with a model: a trained tokenizer, a codec, normalisation statistics."""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from ofacore.ground.errors import UserError
from ofacore.ground.json_text import json_text


@dataclass(frozen=True)
class StoredFile:
    """A large file that is kept on the disk; what travels between processes is where it is."""

    path: Path
    """Absolute; where it is now, on this machine."""
    digest: str
    """SHA-256 of its content, 64 hexadecimal digits."""
    size: int
    """Bytes."""

    @classmethod
    def of(cls, path: Path) -> StoredFile:
        """A file as it is now; it is read once, in parts.

        Raises:
            UserError: There is no such file, or it cannot be read.
        """
        place = Path(path).absolute()
        if not place.is_file():
            raise UserError(f"{place}: no such file; an artifact refers to a file that is there")
        try:
            with place.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                return cls(place, digest, stream.tell())
        except OSError as error:
            raise UserError(
                f"{place}: cannot be read ({error.strerror}), but an artifact refers to it"
            ) from error


@dataclass(frozen=True)
class Artifact:
    """Named files, small ones in memory and large ones by reference; equal content has an equal digest.

    What is in memory is copied into every worker process and every checkpoint. A file by reference is not: a run keeps
    it once for all its checkpoints, a saved model carries it along, and workers get its path.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    references: Mapping[str, StoredFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        twice = next((name for name in self.references if name in self.files), None)
        if twice is not None:
            raise ValueError(
                f"an artifact has two files '{twice}', one in memory and one by reference; name one anew"
            )
        odd = next((name for name in self.references if not _is_plain(name)), None)
        if odd is not None:
            raise ValueError(
                f"an artifact's file cannot be called '{odd}'; give a name without folders"
            )

    @cached_property
    def digest(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 over names and contents."""
        total = hashlib.sha256()
        for name in sorted(self.files):
            total.update(f"{name}\0{len(self.files[name])}\0".encode())
            total.update(self.files[name])
        for name in sorted(self.references):
            total.update(
                f"{name}\0{self.references[name].size}\0{self.references[name].digest}".encode()
            )
        return total.hexdigest()[:12]

    @classmethod
    def of_json(cls, name: str, value: object) -> Artifact:
        """One JSON file, written the same way for equal values."""
        return cls({name: json_text(value, sort_keys=True, lossless=True).encode()})

    @classmethod
    def from_file(cls, path: Path | str, name: str = "") -> Artifact:
        """One file by reference, such as a codec. It must stay as it is until a model is saved or training begins.

        Args:
            path: Where it is.
            name: What `path` and checkpoints call it; default: the name that it has.

        Raises:
            UserError: There is no such file.
        """
        return cls().with_file(path, name)

    @classmethod
    def written(cls, name: str, write: Callable[[Path], object]) -> Artifact:
        """One file by reference that ``write(path)`` writes: into a folder that is deleted when this process ends.

        Training copies it into the run's folder when it begins, and `Generalist.save` into the saved model.
        """
        folder = Path(tempfile.mkdtemp(prefix="ofa-artifact-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        write(folder / name)
        return cls.from_file(folder / name)

    def with_file(self, path: Path | str, name: str = "") -> Artifact:
        """The same with one more file by reference; see `from_file`."""
        found = StoredFile.of(Path(path))
        return replace(self, references={**self.references, name or found.path.name: found})

    def path(self, name: str) -> Path:
        """Where a file by reference is now: open it where it is first needed, map it rather than read it.

        Raises:
            KeyError: No file by reference has this name.
            UserError: It is gone.
        """
        if name not in self.references:
            known = ", ".join(self.references) or "none"
            raise KeyError(f"the artifact has no file '{name}' by reference; it has {known}")
        found = self.references[name]
        if not found.path.is_file():
            missing = (
                f"{found.path}: the file '{name}' of an artifact is gone (SHA-256 {found.digest})"
            )
            raise UserError(f"{missing}; put it back, or load the model from a folder that has it")
        return found.path

    def json(self, name: str) -> object:
        """The parsed content of a JSON file in memory."""
        return json.loads(self.files[name])

    def save(self, folder: Path) -> None:
        """Write every file in memory below ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)

    @classmethod
    def load(cls, folder: Path) -> Artifact:
        """Read back what `save` wrote."""
        return cls({path.name: path.read_bytes() for path in sorted(folder.iterdir())})


def _is_plain(name: str) -> bool:
    """Whether it names a file of one folder."""
    return name not in ("", ".", "..") and Path(name).name == name and "\\" not in name
