"""Rows of plugins that were seen before, so that listing them imports none of them.

An entry is valid as long as distribution, version, entry point and every file that the import of the manifest read
are the same. A cache that is missing, unreadable or wrong in any way is the same as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ofacore.ground.folders import cache_root
from ofacore.ground.json_text import json_text
from ofacore.plugin.manifest import CONTRACT
from ofacore.plugin.plugin_rows import Announcement, Offer, Plugin, from_offer

_FORMAT = (3, *CONTRACT)
"""Version of this file's form; rows say whether a plugin fits the contract, so a cache is of one contract."""


def cache_file() -> Path:
    """The file of this environment: another ``PYTHONPATH`` may hold other files of the same plugins."""
    paths = [
        os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path
    ]
    environment = hashlib.sha256("\0".join([sys.prefix, sys.version, *paths]).encode()).hexdigest()[
        :16
    ]
    return cache_root() / "plugins" / f"{environment}.json"


@dataclass
class RowCache:
    """Entries read at the start, and those seen in this run; only the latter are written back."""

    path: Path
    entries: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> RowCache:
        """The cache in a file, or an empty one."""
        try:
            content = json.loads(path.read_bytes())
            valid = content["format"] == list(_FORMAT) and isinstance(content["entries"], dict)
            entries = content["entries"] if valid else {}
            return cls(path, entries)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return cls(path)

    def get(self, announcement: Announcement) -> Plugin | None:
        """The plugin as it was seen before; None if it is new or one of its files changed."""
        key = _key(announcement)
        try:
            entry = self.entries[key]
            if (
                any(_stamp(path) != stamp for path, stamp in entry["files"].items())
                or not entry["files"]
            ):
                return None
            plugin = _read_entry(announcement, entry)
        except (OSError, KeyError, TypeError, ValueError, AttributeError):
            return None
        self.seen[key] = entry
        return plugin

    def put(
        self,
        announcement: Announcement,
        plugin: Plugin,
        contract: tuple[int, int],
        files: Iterable[str],
    ) -> None:
        """Remember a plugin and the files that its manifest was read from."""
        with contextlib.suppress(OSError):
            self.seen[_key(announcement)] = {
                "kind": plugin.row.kind,
                "contract": contract,
                "offer": asdict(plugin.offer),
                "files": {path: _stamp(path) for path in files},
            }

    def keep_others(self) -> None:
        """What was not looked at in this run stays as it was read."""
        self.seen = {**self.entries, **self.seen}

    def write(self) -> None:
        """Replace the file in one step if anything changed; a folder that cannot be written is left alone."""
        if self.seen == self.entries:
            return
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            scratch = self.path.with_suffix(f".{os.getpid()}.tmp")
            try:
                scratch.write_text(
                    json_text({"format": _FORMAT, "entries": self.seen}), encoding="utf-8"
                )
                scratch.replace(self.path)
            finally:
                scratch.unlink(missing_ok=True)


def _key(announcement: Announcement) -> str:
    parts = (
        announcement.distribution,
        announcement.version,
        announcement.kind,
        announcement.name,
        announcement.target,
    )
    return "\0".join(parts)


def _stamp(path: str) -> list[int]:
    status = os.stat(path)
    return [status.st_mtime_ns, status.st_size]


def _read_entry(announcement: Announcement, entry: dict[str, Any]) -> Plugin:
    names = entry["offer"]
    offer = Offer(
        tuple(map(str, names["slots"])),
        tuple((str(kind), str(name)) for kind, name in names["components"]),
        tuple(map(str, names["presets"])),
        tuple(map(str, names["plain_text"])),
        tuple((str(name), str(protocol)) for name, protocol in names["kinds"]),
        tuple((str(name), str(doc)) for name, doc in names["commands"]),
        tuple((str(kind), str(old), str(new)) for kind, old, new in names["aliases"]),
    )
    major, minor = map(int, entry["contract"])
    known = Announcement(
        str(entry["kind"]),
        announcement.name,
        announcement.target,
        announcement.distribution,
        announcement.version,
    )
    return from_offer(known, (major, minor), offer)
