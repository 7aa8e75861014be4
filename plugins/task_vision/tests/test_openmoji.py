"""The dataset that other families reach by name."""

from __future__ import annotations

import pytest

from ofa_starter import SPLITS, is_fetched
from ofa_task_vision.data.openmoji import OpenMoji
from ofacore.plugin import Registry

FETCHED = all(map(is_fetched, OpenMoji().sources))


def test_other_packages_find_it_by_name():
    assert Registry.discover().load("dataset", "openmoji") is OpenMoji


@pytest.mark.data
@pytest.mark.skipif(not FETCHED, reason="run: ofa data fetch --all")
def test_a_name_is_on_the_side_of_its_picture_or_a_later_one():
    """Another picture of the same name may be on a later side, never on an earlier one."""
    rule = Registry.discover().load("dataset", "emoji_names")().text_split
    for item in OpenMoji().items()[::50]:
        assert SPLITS.index(rule(item.names["en"].upper())) >= SPLITS.index(item.split)


@pytest.mark.data
@pytest.mark.skipif(not FETCHED, reason="run: ofa data fetch --all")
def test_pictures_are_rendered_at_the_size_asked_for():
    (picture,) = OpenMoji().render(OpenMoji().items()[:1], 24)
    assert picture.shape == (24, 24, 4) and picture[..., 3].any()
