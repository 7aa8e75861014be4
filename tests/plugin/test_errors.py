"""Did you mean?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ofacore.plugin import suggest


def test_the_nearest_name_is_offered_whatever_its_case():
    assert suggest("imge", ["image", "text"]) == "did you mean 'image'?"
    assert suggest("Image", ["IMAGE"]) == "did you mean 'IMAGE'?"
    assert suggest("zebra", ["image", "text"]) == ""
    assert suggest("", ["image"]) == suggest("image", []) == ""


@given(st.text(), st.lists(st.text()))
def test_only_existing_names_are_offered(name, names):
    offer = suggest(name, names)
    assert not offer or offer in {f"did you mean '{known}'?" for known in names}
