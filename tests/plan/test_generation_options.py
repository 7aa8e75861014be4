"""Options of generation: their bounds, and what contradicts what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ofacore.components.manifest import MANIFEST
from ofacore.components.tokens.search_options import SEARCH_OPTIONS, SearchOptions
from ofacore.config.problems import ConfigError
from ofacore.plan.generation import Generation, generation_of
from ofacore.plugin import Registry
from ofacore.protocols import SlotPlan

REGISTRY = Registry.of(MANIFEST)
SLOT = SlotPlan("b", "TEXT", "target", 1, "text", "token", generator="token", loss=True)


def resolved(*layers: dict[str, Any], slot: SlotPlan = SLOT) -> Generation:
    return generation_of([slot], REGISTRY, *layers)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("temperature", 1e-300, "0.001 to 1000"),
        ("temperature", 0, "0.001 to 1000"),
        ("temperature", float("nan"), "a number"),
        ("temperature", "warm", "a number"),
        ("top_p", 1.1, "at most 1"),
        ("top_k", -1, r"0 to 1e\+09"),
        ("top_k", True, "a whole number"),
        ("beam", 10**9, "1 to 1000"),
        ("beam", "3", "a whole number"),
        ("beam", 2.5, "a whole number"),
        ("max_length", 0, r"1 to 1e\+09"),
        ("max_length", 10**30, r"1 to 1e\+09"),
        ("no_repeat_ngram", 10**9, "0 to 1000"),
        ("length_penalty", 1e300, "-10 to 10"),
        ("length_penalty", float("-inf"), "a number"),
        ("diversity", -1, "0 to 1000"),
        ("early_stopping", 1, "true or false"),
        ("must_contain", "red", "a list"),
        ("strategy", "beams", "one of: .*did you mean 'beam'"),
        ("seed", -1, r"0 to 1e\+18"),
        ("max_turns", "many", "a whole number"),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_the_bound(
    name: str, value: Any, expected: str
) -> None:
    with pytest.raises(ConfigError, match=rf"generation\.{name}: found .*expected {expected}"):
        resolved({name: value})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"top_p": 0}, "top_p=0 must be more than 0"),
        ({"repetition_penalty": -1}, "repetition_penalty=-1 must be more than 0"),
        ({"must_contain": ["", "a"]}, "must_contain holds ''; expected phrases that are not empty"),
        ({"banned_tokens": [[3], 4]}, "banned_tokens holds 4; expected lists of token ids"),
        ({"banned_tokens": [[]]}, r"banned_tokens holds \[\]; expected lists of token ids"),
        ({"min_length": 9, "max_length": 3}, "min_length=9 is more than max_length=3"),
        ({"strategy": "diverse_beam", "beam": 4, "groups": 3}, "beam=4 is no multiple of groups=3"),
    ],
)
def test_what_search_cannot_do_is_refused_by_its_own_check(
    options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=f"generation: {told}"):
        resolved(options)


def test_numbers_of_numpy_are_numbers() -> None:
    found = resolved(
        {
            "beam": np.int64(3),
            "temperature": np.float32(0.5),
            "early_stopping": np.False_,
            "top_k": 3.0,
        }
    )
    options = SearchOptions.of(found.generators["token"])
    assert (options.beam, options.temperature, options.early_stopping, options.top_k) == (
        3,
        0.5,
        False,
        3,
    )
    assert type(options.beam) is type(options.top_k) is int
    assert type(options.temperature) is float and options.early_stopping is False


def test_the_last_layer_goes_first_and_what_is_unset_says_nothing() -> None:
    found = resolved(
        {"beam": 2, "seed": 4, "n_best": 2},
        {"beam": 3, "guidance": 2.0},
        {"beam": None, "max_turns": 7},
    )
    options = found.generators["token"]
    assert (options["beam"], options["n_best"], found.seed, found.max_turns) == (3, 2, 4, 7)
    assert options.keys() == SEARCH_OPTIONS.keys()
