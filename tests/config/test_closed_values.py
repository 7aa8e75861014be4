"""Members of closed sets are plain values, each of them once."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ofacore import Task
from ofacore.config.closed_values import members
from ofacore.setup.task import TaskError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (range(3), (0, 1, 2)),
        (np.array(["yes", "no"]), ("yes", "no")),
        (np.array([1, 0]), (1, 0)),
        ([np.int64(1), np.float32(0.5), np.str_("a"), np.True_], (1, 0.5, "a", True)),
        ({"no", "yes"}, ("no", "yes")),
        ((text for text in ("b", "a", "b")), ("b", "a")),
        ([1, True, 1.0, "1", 1], (1, True, 1.0, "1")),
        ([np.array([1, 2]), (1, 2), {"box": (1, 2)}], ([1, 2], {"box": [1, 2]})),
        (["only"], ("only",)),
        ([""], ("",)),
    ],
)
def test_what_holds_values_becomes_plain_ones(given: Any, expected: tuple[Any, ...]) -> None:
    found = members(given)
    assert [(type(value), value) for value in found] == [(type(value), value) for value in expected]
    assert json.loads(json.dumps(found)) == list(expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "found .*, expected at least one value"),
        ([None, "a"], "expected text and finite numbers as values, but number 1 is None"),
        (["a", float("nan")], "but number 2 is nan"),
        ([object()], "but number 1 is of type object"),
        (5, "expected a list of values, a file with one a line, or {column: name}"),
        ({"column": 3}, "expected a list of values, a file with one a line, or {column: name}"),
    ],
)
def test_what_cannot_be_stored_is_refused_when_it_is_given(given: Any, message: str) -> None:
    with pytest.raises(TaskError, match=f"task 't': closed_sets.y: .*{message}"):
        Task("t", "[TEXT:q] -> [TEXT:y,closed_set]", train=[], closed_sets={"y": given})
