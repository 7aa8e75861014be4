"""The page on concepts follows one sample through files that are there, in the order of the rooms."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "concepts.md").read_text("utf-8")
WAY = PAGE.partition("## One sample's way")[2].partition("\n## ")[0]
STATIONS = re.findall(r"^\d+\. `(ofacore/\S+\.py)`", WAY, re.MULTILINE)


def _layers() -> list[str]:
    """Rooms from the ground up, as the import contract has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [name for layer in reversed(layers) for name in re.findall(r"\w+", layer)]


def test_at_most_twenty_five_files_are_there():
    assert 20 <= len(STATIONS) <= 25
    assert [file for file in STATIONS if not (ROOT / file).is_file()] == []


def test_the_way_never_turns_back():
    rooms = [file.split("/")[1] for file in STATIONS]
    places = [_layers().index(room) for room in rooms]
    assert places == sorted(places), rooms


def test_every_room_has_a_line():
    table = PAGE.partition("## Rooms")[2]
    told = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    public = {"protocols", "parts"}
    assert [room for room in _layers() if room not in public] == told


def test_every_file_that_the_page_names_is_there():
    named = set(re.findall(r"`((?:ofacore|cli)/[\w/]+(?:\.py|/))`", PAGE))
    assert {name for name in named if not (ROOT / name).exists()} == set()
