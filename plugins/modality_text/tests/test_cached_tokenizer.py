"""A text in chunks that are remembered has the ids that the library gives to the whole text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers

from ofa_modality_text.tokenizer import CachedTokenizer, cuts_numbers, train_bpe

from .conftest import CORPUS

NUMBERS = [f"-{n}.{n * 7 % 100} : 20{n} {n}.5e-3" for n in range(60)]
TRAINED = train_bpe([*CORPUS, *NUMBERS] * 3, 420)
CACHED = CachedTokenizer(TRAINED, 6, by_words=True)
PARTS = [*"0123456789-.: ab'e", "  ", "\n", "\x1c", "é", " -12.5 ", " 20"]
TEXTS = st.lists(st.sampled_from(PARTS), max_size=16).map("".join)


def whole(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids by one call of the library, behind the core tokens."""
    return [number + 6 for number in tokenizer.encode(" " + text).ids] if text else []


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_chunks_have_the_ids_of_the_whole_text_when_they_are_new_and_later(text):
    fresh = CachedTokenizer(TRAINED, 6, by_words=True)
    first = [fresh.encode(text).tolist(), fresh.encode(text).tolist(), CACHED.encode(text).tolist()]
    assert first == [whole(TRAINED, text)] * 3


@pytest.mark.parametrize("change", ["token", "normalizer"])
def test_a_tokenizer_that_reads_numbers_otherwise_gets_them_whole(change):
    changed = Tokenizer.from_str(TRAINED.to_str())
    assert cuts_numbers(changed)
    if change == "token":
        changed.add_tokens(["12.5"])
    else:
        changed.normalizer = normalizers.Replace(".", ",")
    assert not cuts_numbers(changed)
    found = CachedTokenizer(changed, 6, by_words=True).encode("x -12.5 y").tolist()
    assert found == whole(changed, "x -12.5 y")
