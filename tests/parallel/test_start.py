"""Processes of one run look at its folder before any of them claims it, and agree on what they found."""

from __future__ import annotations

import json

import pytest

from tests.parallel.launching import launch

Said = dict[str, str]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[Said, Said]:
    """Case -> how it ended, on both ranks."""
    folder = tmp_path_factory.mktemp("start")
    done = launch("tests.parallel.start_cases", 2, str(folder))
    assert [code for code, _ in done] == [0, 0], "\n".join(output[-3000:] for _, output in done)
    first, second = (json.loads((folder / f"said-{rank}.json").read_text()) for rank in (0, 1))
    return first, second


@pytest.mark.dist
def test_a_rank_that_looks_late_does_not_find_the_claim_of_its_own_run(
    said: tuple[Said, Said],
) -> None:
    assert [each["looks late"] for each in said] == ["trained | free", "trained"]


@pytest.mark.dist
@pytest.mark.parametrize(
    ("case", "first", "second"),
    [
        (
            "refuses",
            "UserError: process 1: not writable here",
            "UserError: process 1: not writable here",
        ),
        ("breaks", "OtherProcessError: process 1: stale file handle", "OSError: stale file handle"),
        (
            "claimed meanwhile",
            "UserError: process 0: not writable here",
            "UserError: process 0: not writable here",
        ),
    ],
)
def test_what_one_rank_cannot_do_ends_all_and_leaves_the_folder_free(
    said: tuple[Said, Said], case: str, first: str, second: str
) -> None:
    assert (said[0][case], said[1][case]) == (f"{first} | free", second)


@pytest.mark.dist
def test_ranks_that_see_different_folders_are_told(said: tuple[Said, Said]) -> None:
    difference = "process 1 finds step-000007 there, process 0 finds no checkpoint; all processes need the same folder"
    for each in said:
        assert difference in each["finds another"]
