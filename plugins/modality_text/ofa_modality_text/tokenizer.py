"""Tokenizers of the Hugging Face `tokenizers` library: trained here, or taken by name; and a fast way to use them."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ofa_modality_text.literal import literal
from ofacore.plugin import PluginError

_BLANK = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CHUNK = re.compile(f"[{_BLANK}]*[^{_BLANK}]+|[{_BLANK}]+")
_NUMBER = re.compile(r" -?[0-9]+(?:\.[0-9]+)?")
_OF_NUMBER = re.compile(r"[-0-9. ]")
_IN_NUMBER = re.compile(r" ?(?:[0-9]+|[-.])")
_CACHE_SIZE = 65_536
_LONGEST_CACHED = 64
_LONGEST_FITTED = 10_000
"""Characters of a text that a tokenizer is trained on: a file in a single cell would otherwise take hours."""


class TokenizerError(PluginError):
    """A tokenizer that cannot be found or used."""


def train_bpe(texts: Iterable[str], vocab_size: int, min_frequency: int = 2) -> Tokenizer:
    """Byte-level BPE (Sennrich et al. 2016; GPT-2's pre-tokenization). Any Unicode string can be encoded.

    Texts are sorted first, so equal texts give an equal tokenizer, in whatever order they come. There are fewer than
    ``vocab_size`` tokens where the texts have too few pairs that occur ``min_frequency`` times.

    Raises:
        TokenizerError: ``vocab_size`` is below the 256 bytes.
    """
    if vocab_size < 256:
        raise TokenizerError(f"vocab_size is {vocab_size}; byte-level BPE needs at least 256")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(sorted(text[:_LONGEST_FITTED] for text in texts), trainer)
    return tokenizer


def named_tokenizer(name: str) -> Tokenizer:
    """A tokenizer by file (``tokenizer.json``), by folder that holds one, or by Hugging Face name.

    Raises:
        TokenizerError: It is not there, is damaged, or has no fast implementation.
    """
    path = Path(name)
    file = path / "tokenizer.json" if path.is_dir() else path
    if file.is_file():
        return _without_limits(_of_file(file))
    try:
        from transformers import AutoTokenizer
    except ImportError:
        hint = "pip install ofa-modality-text[hf]"
        raise TokenizerError(
            f"tokenizer '{name}' is no file; to fetch it by name: {hint}"
        ) from None
    try:
        found = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise TokenizerError(
            f"no tokenizer '{name}': neither a file, nor a folder, nor found by name"
        ) from error
    backend = getattr(found, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise TokenizerError(f"tokenizer '{name}' has no fast implementation (tokenizer.json)")
    return _without_limits(Tokenizer.from_str(backend.to_str()))


def _of_file(file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises no narrower class
        raise TokenizerError(f"'{file}' is no tokenizer, or is damaged ({error})") from error


def rows_of_model(folder: Path) -> int:
    """Rows of the token table of the model whose folder this is, which may have more than the tokenizer; 0: of none."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0
    rows = content.get("vocab_size") if isinstance(content, dict) else None
    return rows if isinstance(rows, int) else 0


def table_size(tokenizer: Tokenizer) -> int:
    """One more than the largest id; some published tokenizers leave ids out."""
    return max(tokenizer.get_vocab().values()) + 1


class CachedTokenizer:
    """Encodes chunk by chunk and remembers the chunks; ids are shifted by ``offset``.

    With ``by_words`` chunks are cut before blanks, where GPT-2's pre-tokenization always cuts as well, and a blank is
    put before the text, so that a word is the same token at the beginning and inside; `decode` takes it away. ``core``
    maps tokens to core tokens of the model, which stand for them. A text that spells a special token is text.

    Numbers seldom come twice, but their parts do: a number is joined from its parts where the tokenizer cuts there too.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        offset: int,
        by_words: bool,
        core: Mapping[str, int] | None = None,
    ) -> None:
        self.tokenizer, self._reading = tokenizer, literal(tokenizer)
        self.offset = offset
        self.by_words = by_words
        self.size = table_size(tokenizer)
        self._core = {
            tokenizer.token_to_id(token): number for token, number in (core or {}).items()
        }
        self.byte_level = isinstance(tokenizer.decoder, decoders.ByteLevel)
        self._cuts_numbers = by_words and cuts_numbers(tokenizer)
        self._chunks: dict[str, bytes] = {}
        """Chunk -> its ids, as the bytes of int64: joining them makes an array without a number in between."""
        self._words: dict[str, bytes] = {}
        """The same for chunks of one blank and a word, by the word."""

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_chunks": {}, "_words": {}}

    def encode(self, text: str) -> np.ndarray:
        """Ids int64 [n] of a text; none for the empty one."""
        if not text:
            return np.zeros(0, np.int64)
        if not self.by_words:
            return self._cached([text])
        words = text.split()
        if " ".join(words) == text:
            return self._of_words(words)
        return self._cached(_CHUNK.findall(" " + text))

    def encode_letters(self, text: str) -> np.ndarray:
        """Ids int64 [n] of a text, letter by letter: no token spans two letters."""
        return self._cached(text)

    def placed(self, local: np.ndarray) -> np.ndarray:
        """Ids int64 [n] in the vocabulary of the tokenizer's own; its special tokens are what they are in the model."""
        return np.array([self._core.get(i, i + self.offset) for i in local.tolist()], np.int64)

    def decode(self, ids: Iterable[int], letters: bool = False) -> str:
        """The text of ids of this tokenizer; others are passed over."""
        local = [i - self.offset for i in ids if 0 <= i - self.offset < self.size]
        text: str = self.tokenizer.decode(local, skip_special_tokens=True)
        return text.removeprefix(" ") if self.by_words and not letters else text

    def _of_words(self, words: Sequence[str]) -> np.ndarray:
        """Ids int64 [n] of words that follow one another by one blank."""
        known = self._words
        try:
            joined = bytearray().join(list(map(known.__getitem__, words)))
        except KeyError:
            found = [known.get(word) or self._learn_word(word) for word in words]
            joined = bytearray().join(found)
        return np.frombuffer(joined, np.int64)

    def _learn_word(self, word: str) -> bytes:
        chunk = " " + word
        if self._cuts_numbers and _NUMBER.fullmatch(chunk):
            parts = _IN_NUMBER.findall(chunk)
            ids = b"".join([self._chunks.get(part) or self._learn(part) for part in parts])
        else:
            ids = self._ids(chunk)
        _keep(self._words, word, ids)
        return ids

    def _cached(self, chunks: Iterable[str]) -> np.ndarray:
        known = self._chunks
        joined = bytearray().join([known.get(chunk) or self._learn(chunk) for chunk in chunks])
        return np.frombuffer(joined, np.int64)

    def _learn(self, chunk: str) -> bytes:
        ids = self._ids(chunk)
        _keep(self._chunks, chunk, ids)
        return ids

    def _ids(self, chunk: str) -> bytes:
        """What the tokenizer gives, as the bytes of int64."""
        found = self._reading.encode(chunk, add_special_tokens=False).ids
        return array("q", [self._core.get(i, i + self.offset) for i in found]).tobytes()


def cuts_numbers(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer never reads the digits of a number together with its sign or point.

    So does GPT-2's pre-tokenization, unless something is done to the text before, or a token is looked for before.
    """
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    if tokenizer.normalizer is not None or any(map(_OF_NUMBER.search, added)):
        return False
    before = tokenizer.pre_tokenizer
    if not isinstance(before, pre_tokenizers.ByteLevel) or before.add_prefix_space:
        return False
    return [part for part, _ in before.pre_tokenize_str("a -12.5")] == ["a", "Ġ-", "12", ".", "5"]


def _keep(known: dict[str, bytes], chunk: str, ids: bytes) -> None:
    """Remember a chunk that is likely to come again."""
    if len(chunk) <= _LONGEST_CACHED:
        if len(known) >= _CACHE_SIZE:
            known.clear()
        known[chunk] = ids


def _without_limits(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
