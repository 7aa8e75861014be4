"""Every modality shows in its README what it does; text needs no picture."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "pictures"
READMES = sorted(ROOT.glob("plugins/modality_*/README.md"))
SHOWN = [page for page in READMES if page.parent.name != "modality_text"]
LARGEST = 60_000


def pictures(page):
    """(what is said instead, file) of every picture of a page."""
    found = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    return [(said, (page.parent / target).resolve()) for said, target in found]


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.parent.name)
def test_a_modality_shows_what_it_does(page):
    shown = pictures(page)
    assert shown
    for said, file in shown:
        assert said and file.is_file() and file.stat().st_size < LARGEST


def test_no_picture_is_left_behind():
    used = {file for page in READMES for _, file in pictures(page)}
    assert {file.resolve() for file in FOLDER.iterdir()} == used
