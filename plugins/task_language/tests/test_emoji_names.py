"""The dataset that says on which side a text is."""

from __future__ import annotations

import pytest

from ofa_starter import is_fetched, split_of, text_id
from ofa_task_language.data.emoji_names import EmojiNames, base_code
from ofacore.plugin import Registry


@pytest.mark.parametrize(
    ("code", "base"),
    [
        ("1F469-1F3FD-200D-1F680", "1F9D1-200D-1F680"),  # woman astronaut, medium skin
        ("1F468-200D-1F680", "1F9D1-200D-1F680"),  # man astronaut
        ("1F3C3-1F3FB-200D-2640-FE0F", "1F3C3"),  # woman running, light skin
        ("2764-FE0F", "2764"),  # red heart
        ("1F34E", "1F34E"),  # red apple
    ],
)
def test_variants_of_a_picture_share_their_base(code, base):
    assert base_code(code) == base


def test_other_packages_find_it_by_name():
    assert Registry.discover().load("dataset", "emoji_names") is EmojiNames


@pytest.mark.data
@pytest.mark.skipif(
    not all(map(is_fetched, EmojiNames.sources)), reason="run: ofa data fetch --all"
)
def test_a_text_that_names_no_emoji_has_the_split_of_its_own():
    assert EmojiNames().text_split("no emoji has this name") == split_of(
        text_id("no emoji has this name")
    )
