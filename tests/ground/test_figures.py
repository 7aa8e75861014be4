"""Scores and losses as a person reads them."""

import math

import pytest

from ofacore.ground.figures import figure, figures


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (-1234567.0, "-1234567.000"),
        (2.2222e255, "2.222e+255"),
        (-4e12, "-4.000e+12"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_a_very_large_number_does_not_fill_the_screen(value: float, text: str) -> None:
    assert figure(value) == text


def test_ends_of_an_interval_may_have_their_sign() -> None:
    assert figures(-0.5, 1e10, "+.3f") == "-0.500 to +1.000e+10"
