"""What slots publish to one another are typed objects; the dict of earlier plugins goes on working, with a warning."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from ofacore.parts import AskedValues, PlaneView
from ofacore.protocols import Published, RowContext, RowError


@dataclass(frozen=True)
class Rate:
    """Of a recording."""

    hertz: float


@dataclass
class Loose:
    """Not frozen."""

    hertz: float


def context(**more):
    return RowContext({}, "task", "test", np.random.default_rng(0), **more)


def test_what_is_put_is_found_by_its_type_and_travels():
    ctx = context()
    ctx.published.put("sound", Rate(50.0))
    ctx.published.put("sound", AskedValues(3))
    ctx.published.put("sounds", Rate(1.0), Rate(2.0))
    there = pickle.loads(pickle.dumps(ctx)).published
    assert there.one("sound", Rate) == Rate(50.0) and there.one("sound", AskedValues).width == 3
    assert (
        there.all("sounds", Rate) == (Rate(1.0), Rate(2.0)) and there.find("sounds", Rate) is None
    )
    assert list(there.of(Rate)) == ["sound", "sounds"]
    twin = there.copy()
    twin.put("sound", Rate(60.0))
    assert there.one("sound", Rate) == Rate(50.0)


def test_errors_name_who_publishes_what():
    published = Published()
    with pytest.raises(
        RowError, match="slot 'img' publishes no PlaneView; in this row no slot publishes anything"
    ):
        published.one("img", PlaneView)
    published.put("sound", Rate(50.0))
    published.put("all", Rate(1.0), Rate(2.0))
    with pytest.raises(
        RowError, match="slot 'img' publishes no PlaneView; in this row 'sound' publishes Rate"
    ):
        published.one("img", PlaneView)
    with pytest.raises(RowError, match="slot 'all' publishes 2 times Rate"):
        published.one("all", Rate)
    for wrong in ({"hertz": 1}, 3.0, Loose(1.0)):
        with pytest.raises(
            TypeError, match="slot 'sound' publishes a .*: make it a frozen dataclass"
        ):
            published.put("sound", wrong)


def test_the_dict_of_earlier_plugins_is_read_and_written_with_a_warning():
    ctx = context()
    with pytest.warns(DeprecationWarning, match="ctx.published.put"):
        ctx.published["values"] = {"width": 3, "more": 1}
    assert ctx.published.one("values", AskedValues) == AskedValues(3)
    ctx.published.put("img", PlaneView((4, 2), np.eye(2, 3), (4, 2)))
    with pytest.warns(DeprecationWarning, match="ctx.published.one"):
        assert ctx.published["img"]["size"] == (4, 2)
    assert "img" in ctx.published and "other" not in ctx.published
    with pytest.warns(DeprecationWarning):
        old = context(published={"img": [{"size": (4, 2), "affine": np.eye(2, 3), "view": (4, 2)}]})
    assert old.published.one("img", PlaneView).view == (4, 2)
