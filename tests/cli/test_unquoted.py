"""An instruction that was typed without quotes, as the shell hands it over."""

from __future__ import annotations

import pytest

from ofa_cli.unquoted import check_quotes
from ofacore.ground.errors import UserError


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("train [TEXT:a] - rows.csv", "has no quotes: .*ofa train 'SOURCE -> TARGET' rows.csv"),
        ("train x -", "has no quotes"),
        ("--debug train [TEXT:a]- rows.csv", "has no quotes"),
        ("train what is [TEXT:a] -> [TEXT:b] rows.csv", "in pieces"),
        ("explain [TEXT:a] -> [TEXT:b]", "in pieces"),
        ("predict run [TEXT:a] - rows.csv --out x", "has no quotes: .*ofa predict RUN"),
    ],
)
def test_pieces_of_an_instruction_are_told(typed: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_quotes(typed.split())


@pytest.mark.parametrize(
    "typed",
    [
        ["predict", "run", "task", "-", "--out", "x"],
        ["predict", "run", "task", "-"],
        ["train", "[TEXT:a] -> [TEXT:b]", "rows.csv"],
        ["explain", "-> [TEXT:b]"],
        ["data", "check", "-"],
        [],
    ],
)
def test_what_is_whole_passes(typed: list[str]) -> None:
    check_quotes(typed)
