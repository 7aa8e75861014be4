"""Whatever the value, it takes little room and little time to show it."""

from __future__ import annotations

import numpy as np
import pytest

from ofacore.ground.excerpts import SCREEN, excerpt, listing
from ofacore.plugin import suggest
from ofacore.protocols import RowError
from ofacore.sources.data_errors import EncodeError, reason_at


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def nested(depth: int) -> list[object]:
    found: list[object] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**7,
        b"x" * 10**8,
        bytearray(10**7),
        np.zeros((10**4, 100)),
        [b"x" * 10**7] * 9,
        {"a": "x" * 10**7},
        10**6000,
        nested(100_000),
        [[["x" * 99] * 99] * 99] * 99,
        Broken(),
        range(10**12),
        "a\nb",
        np.array("x" * 10**6),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_on_one_short_line(value: object) -> None:
    shown = excerpt(value)
    assert 0 < len(shown) <= 60 and "\n" not in shown


def test_small_values_are_shown_as_they_are() -> None:
    values = ["it's", [1, 2.5], {"a": None}, b"ab", True]
    assert [excerpt(value) for value in values] == [repr(value) for value in values]
    assert excerpt(np.zeros((2, 3), np.float32)) == "ndarray(float32, shape [2, 3])"
    assert excerpt(b"\x89PNG" + bytes(10**6)).endswith("(1000004 bytes)")


def test_many_names_are_counted() -> None:
    assert listing(["a", "b"]) == "a, b"
    assert listing(f"c{n}" for n in range(1000)).endswith("c19 and 980 more")
    assert len(listing(["x" * 10**6])) <= 60


def test_the_reason_of_a_bad_row_is_never_longer_than_a_screen() -> None:
    error = RowError("y" * 10**7)
    assert (
        len(reason_at("f:1", error))
        <= SCREEN
        >= len(EncodeError("t", "f:1", "c", str(error)).reason)
    )


def test_a_long_text_is_no_misspelt_name() -> None:
    assert suggest("x" * 10**6, ["x" * 10**6 + "y"]) == ""
