"""Options of generation: their bounds, and what contradicts what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ofacore.config.errors import ConfigError
from ofacore.plan.generation import generation_options


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("temperature", 1e-300, "at least 0.001"),
        ("temperature", 0, "at least 0.001"),
        ("temperature", float("nan"), "a finite number"),
        ("temperature", "warm", "a number"),
        ("top_p", 0, "more than 0"),
        ("top_p", 1.1, "at most 1"),
        ("top_k", -1, "at least 0"),
        ("top_k", True, "a number"),
        ("beam", 10**9, "at most 1000"),
        ("beam", "3", "a number"),
        ("beam", 2.5, "a valid integer"),
        ("max_length", 0, "at least 1"),
        ("max_length", 10**30, r"at most 1e\+09"),
        ("no_repeat_ngram", 10**9, "at most 1000"),
        ("length_penalty", 1e300, "at most 10"),
        ("length_penalty", float("-inf"), "a finite number"),
        ("diversity", -1, "at least 0"),
        ("early_stopping", 1, "true or false"),
        ("must_contain", ["", "a"], "a phrase that is not empty"),
        ("must_contain", "red", "a list"),
        ("strategy", "beams", "'greedy'"),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_the_bound(name: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"generation\.{name}[.0]*: found .*expected {expected}"):
        generation_options({name: value})


def test_numbers_of_numpy_are_numbers() -> None:
    options = generation_options({"beam": np.int64(3), "temperature": np.float32(0.5), "early_stopping": np.False_})
    assert (options.beam, options.temperature, options.early_stopping) == (3, 0.5, False)
    assert type(options.beam) is int and type(options.temperature) is float and options.early_stopping is False
