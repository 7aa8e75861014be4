"""Things fitted once and stored with a model: a trained tokenizer, a codec, normalisation statistics."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ofacore.json_text import json_text


@dataclass(frozen=True)
class Artifact:
    """Named files, kept in memory; equal content has an equal digest, whatever made it."""

    files: Mapping[str, bytes] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 over names and contents."""
        total = hashlib.sha256()
        for name in sorted(self.files):
            total.update(f"{name}\0{len(self.files[name])}\0".encode())
            total.update(self.files[name])
        return total.hexdigest()[:12]

    @classmethod
    def of_json(cls, name: str, value: object) -> Artifact:
        """One JSON file, written the same way for equal values."""
        return cls({name: json_text(value, sort_keys=True, lossless=True).encode()})

    def json(self, name: str) -> object:
        """The parsed content of a JSON file."""
        return json.loads(self.files[name])

    def save(self, folder: Path) -> None:
        """Write every file below ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)

    @classmethod
    def load(cls, folder: Path) -> Artifact:
        """Read back what `save` wrote."""
        return cls({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
