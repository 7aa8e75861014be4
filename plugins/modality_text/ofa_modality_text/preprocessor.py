"""Text to tokens and back."""

from __future__ import annotations

import html
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tokenizers import Tokenizer

from ofa_modality_text import picture
from ofa_modality_text.choice import chosen_tokenizer, imported_tokenizer
from ofa_modality_text.closed_set import ClosedSet
from ofa_modality_text.corruption import mask_spans, replace_random
from ofa_modality_text.foreign import foreign_names, origin
from ofa_modality_text.specials import encode_specials
from ofa_modality_text.tokenizer import CachedTokenizer, TokenizerError, table_size, train_bpe
from ofa_modality_text.values import as_text, normalise, texts_of
from ofacore.plugin import PluginError, suggest
from ofacore.protocols import (
    MASK,
    UNK,
    Artifact,
    Block,
    Hypothesis,
    Options,
    RowContext,
    RowError,
    Segment,
    SlotPlan,
    TargetSpec,
    TokenSegment,
    Vocabulary,
    excerpt,
    listing,
)

_FILE = "tokenizer.json"
_CLOSED_SETS = 64


class TextPreprocessor:
    """Preprocessor of TEXT and of plain text.

    Options:
        vocab_size: Largest number of tokens of the BPE that is trained on the tasks' text.
        min_frequency: How often a pair of tokens must occur to become one.
        tokenizer: File, folder or Hugging Face name of a tokenizer to use instead; it is stored with the model. With
            ``path`` the kind of files there: ``gpt2``, ``bert_cn`` or ``hf``.
        path: Where these files are.
        poisson_lambda, replace_length, random_ratio: See `ofa_modality_text.corruption.mask_spans`.

    Raises:
        PluginError: An option is out of its range.
    """

    foreign_fixed: ClassVar[Mapping[str, Any]] = {"mask_span_distribution": "span-poisson"}

    def __init__(self, options: Mapping[str, Any]) -> None:
        _check(options)
        self.options = options
        self._closed: OrderedDict[tuple[Any, ...], ClosedSet] = OrderedDict()
        self._tokens: CachedTokenizer
        self._block: str
        self._range: range
        self._strips = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_closed": OrderedDict()}

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact:
        """Train the BPE, or take the tokenizer that the options name.

        Raises:
            TokenizerError: It cannot be used.
        """
        chosen = chosen_tokenizer(self.options)
        if chosen is not None:
            return chosen
        limit, frequency = (
            self.options.get("vocab_size", 4096),
            self.options.get("min_frequency", 2),
        )
        return Artifact({_FILE: train_bpe(texts_of(values), limit, frequency).to_str().encode()})

    @staticmethod
    def foreign_settings(settings: Mapping[str, Any]) -> Options:
        """How spans are masked has the same names in OFASys; which BPE it is (``bpe``) the files tell."""
        settings.get("bpe")
        given = {
            key: settings[key]
            for key in ("poisson_lambda", "replace_length", "random_ratio")
            if key in settings
        }
        options = {key: value for key, value in given.items() if value is not None}
        _check(options)
        return options

    def import_files(self, folder: Path, names: Sequence[str]) -> Artifact:
        """The tokenizer of another project's model.

        Raises:
            TokenizerError: Its files are missing or damaged, or belong to another dictionary.
        """
        return imported_tokenizer(folder, names)

    def foreign_names(self, artifact: Artifact | None) -> Mapping[str, Sequence[tuple[str, ...]]]:
        """What the dictionary that the tokenizer was imported from calls each token."""
        (block,) = self.blocks(artifact)
        return {block.name: foreign_names(artifact, block.size)}

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """One block, as large as the tokenizer, named by its kind, size and digest."""
        tokenizer = _load(artifact)
        assert artifact is not None
        kind = type(tokenizer.model).__name__.lower()
        size = max(table_size(tokenizer), int(origin(artifact).get("rows", 0)))
        return (Block(f"text/{kind}:{size}:{artifact.digest}", size),)

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Take the place of the block in the vocabulary."""
        (block,) = self.blocks(artifact)
        self._block, self._range = block.name, vocabulary.range(block.name)
        trained_here = not (self.options.get("tokenizer") or self.options.get("path"))
        known = origin(artifact)
        by_words = known.get("leading_blank", trained_here)
        self._tokens = CachedTokenizer(
            _load(artifact), self._range.start, by_words, known.get("core")
        )
        self._strips = bool(known.get("strips", False))
        self._closed.clear()

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One token segment.

        Raises:
            RowError: No text, ids outside the tokenizer, not in the closed set, or not of the ``length`` asked for.
        """
        attributes = slot.attributes
        ids = self._ids(value, slot)
        target = slot.side == "target"
        allowed = None
        if slot.loss and attributes.get("closed_set"):
            allowed = self._allowed(value, ids, slot, ctx)
        inputs = None
        if ctx.split == "train":
            if target and attributes.get("noise_ratio"):
                inputs = replace_random(ids, attributes["noise_ratio"], ctx.rng, self._range)
            if not target and attributes.get("mask_ratio"):
                ids = self._masked(ids, attributes["mask_ratio"], ctx.rng)
        weights = np.zeros(len(ids), dtype=bool) if target and not slot.loss else None
        return [
            TokenSegment(
                ids,
                (self._block,),
                open=not attributes.get("length"),
                inputs=inputs,
                allowed=allowed,
                weights=weights,
                boundaries=not attributes.get("disable_auto_boseos"),
            )
        ]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """Tokens of the tokenizer, open unless the slot says ``length``, from the closed set if it has one.

        Raises:
            RowError: The slot says ``closed_set`` and there is none.
        """
        length = slot.attributes.get("length")
        members = self._closed_set(slot, ctx).members if slot.attributes.get("closed_set") else ()
        return TargetSpec((self._block,), open=not length, length=length, closed_set=members)

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> str:
        """The text of the tokens; tokens of other blocks are passed over."""
        ids = np.asarray(hypothesis.value).reshape(-1)
        return self._tokens.decode(ids.tolist(), slot.attributes.get("level") == "character")

    def as_decoded(self, value: Any, slot: SlotPlan, ctx: RowContext) -> str:
        """The text in the slot's case and punctuation, cut to ``max_length``, as the tokenizer gives it back.

        A text with letters that the tokenizer does not know stays whole: no answer equals it. Nor does membership in a
        closed set or ``length`` matter.

        Raises:
            RowError: No text. A list is several values, not token ids.
        """
        if isinstance(value, list | tuple):
            raise RowError(f"column '{slot.name}': expected text, got {str(value)[:60]}")
        ids = self._all_ids(value, slot)[: slot.attributes.get("max_length")]
        if (ids == UNK).any():
            return normalise(as_text(value, slot.name), slot.attributes)
        return self.decode(Hypothesis(ids), slot, ctx)

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """The text, escaped, line breaks kept; of token ids what they are and what they mean."""
        if isinstance(value, np.ndarray | list | tuple):
            ids = self._given_ids(value, "")
            meaning = self._tokens.decode(ids.tolist(), False)
            value = f"token ids {excerpt(list(value), 200)}, which are {excerpt(meaning)}"
        elif isinstance(value, Decimal | date | time):
            value = as_text(value, "")
        if not str(value).strip():
            return "<i>empty</i>"
        return f'<span style="white-space:pre-wrap">{html.escape(str(value))}</span>'

    def save(self, value: Any, ctx: RowContext | None, path: Path) -> None:
        """Write the text as UTF-8, or as a picture: below the picture that the row has, if it has one.

        Raises:
            ValueError: The ending is that of another kind of file.
        """
        ending = Path(path).suffix.lower()
        if ending in picture.ENDINGS:
            picture.page(str(value), ctx).save(path)
        elif ending in ("", ".txt", ".text", ".md"):
            Path(path).write_text(str(value), encoding="utf-8")
        else:
            raise ValueError("a text is written as .txt, or as a picture (.png)")

    def _ids(self, value: Any, slot: SlotPlan) -> np.ndarray:
        """Clean ids int64 [n] of one value, as many as the slot takes."""
        attributes = slot.attributes
        ids = self._all_ids(value, slot)[: attributes.get("max_length")]
        if attributes.get("length") and len(ids) != attributes["length"]:
            raise RowError(
                f"column '{slot.name}': {len(ids)} tokens, but the slot says length={attributes['length']}"
            )
        return ids

    def _all_ids(self, value: Any, slot: SlotPlan) -> np.ndarray:
        """Ids of a whole value, case and punctuation as the slot asks."""
        attributes = slot.attributes
        if isinstance(value, np.ndarray | list | tuple):
            return self._given_ids(value, slot.name)
        text = normalise(_of_bearable_length(as_text(value, slot.name), slot), attributes)
        letters = attributes.get("level") == "character"
        if letters and not self._tokens.byte_level:
            raise RowError(f"column '{slot.name}': level=character needs a byte-level tokenizer")
        if attributes.get("specials"):
            return encode_specials(text, lambda part: self._part_ids(part, letters))
        return self._text_ids(text, letters)

    def _text_ids(self, text: str, letters: bool) -> np.ndarray:
        """Ids int64 [n] of a text."""
        if letters:
            return self._tokens.encode_letters(text)
        if self._strips:
            text = text.strip()
        return self._tokens.encode(text)

    def _part_ids(self, part: str, letters: bool) -> np.ndarray:
        """Ids int64 [n] of a text between special tokens; a tokenizer of words needs no blank to tell them apart."""
        if self._tokens.by_words and not letters:
            part = part.strip()
        return self._text_ids(part, letters)

    def _given_ids(self, value: Any, column: str) -> np.ndarray:
        """Ids of the tokenizer, shifted to where its block stands in the vocabulary."""
        ids = np.asarray(value) if len(value) else np.zeros(0, dtype=np.int64)
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise RowError(
                f"column '{column}': expected text or a list of token ids, got {excerpt(value)}"
            )
        if len(ids) and not 0 <= ids.min() <= ids.max() < len(self._range):
            wrong = f"{ids.min()} to {ids.max()}"
            raise RowError(
                f"column '{column}': token ids {wrong}; this tokenizer has 0 to {len(self._range) - 1}"
            )
        return self._tokens.placed(ids)

    def _masked(self, ids: np.ndarray, ratio: float, rng: np.random.Generator) -> np.ndarray:
        return mask_spans(
            ids,
            ratio,
            rng,
            mask=MASK,
            random_range=self._range,
            poisson_lambda=self.options.get("poisson_lambda", 3.0),
            replace_length=self.options.get("replace_length", -1),
            random_ratio=self.options.get("random_ratio", 0.0),
        )

    def _allowed(
        self, value: Any, ids: np.ndarray, slot: SlotPlan, ctx: RowContext
    ) -> tuple[np.ndarray, ...]:
        closed = self._closed_set(slot, ctx)
        allowed = closed.allowed(ids)
        if allowed is None:
            known = [str(member) for member in closed.values]
            hint = (
                _spelling(str(value), known)
                or suggest(str(value), known)
                or f"one of: {listing(known, 5)}"
            )
            raise RowError(
                f"column '{slot.name}': {excerpt(value)} is not in its closed set of {len(known)}; {hint}"
            )
        return allowed

    def _closed_set(self, slot: SlotPlan, ctx: RowContext) -> ClosedSet:
        """The encoded closed set; sets are recognised by identity, the latest ones are kept."""
        values = ctx.closed_sets.get(slot.name)
        if not values:
            remedy = (
                f"set tasks.{ctx.task}.closed_sets.{slot.name}, or give them with the call: "
                f"--closed-set {slot.name}=VALUE for each, closed_set in Python"
            )
            raise RowError(f"column '{slot.name}': its closed_set has no values; {remedy}")
        key = (id(values), *(slot.attributes.get(name) for name in _SHAPING))
        found = self._closed.get(key)
        if found is None:
            found = self._closed[key] = ClosedSet(values, lambda value: self._ids(value, slot))
            if len(self._closed) > _CLOSED_SETS:
                self._closed.popitem(last=False)
        return found


def _spelling(text: str, known: Sequence[str]) -> str:
    """What to say where a member reads the same but for characters that no reader sees."""
    plain = unicodedata.normalize("NFC", text)
    for member in known:
        if unicodedata.normalize("NFC", member) == plain:
            return "a member reads the same, but its accents are other characters; write both in Unicode's form NFC"
        if member.split() == text.split():
            return f"a member differs in blanks alone, {member!r}; take them out, or list the value as it is"
    return ""


_LONGEST = 1_000_000
"""Characters of a text: no model takes so many positions, and a tokenizer would take minutes."""
_SHAPING = ("level", "uncased", "no_punctuation", "max_length", "length")


def _of_bearable_length(text: str, slot: SlotPlan) -> str:
    """The text, or its beginning where the slot says ``max_length``.

    Raises:
        RowError: It is a whole library.
    """
    if len(text) > _LONGEST and not slot.attributes.get("max_length"):
        raise RowError(
            f"column '{slot.name}': a text of {len(text)} characters; at most {_LONGEST}, or set max_length"
        )
    return text[:_LONGEST]


def _check(options: Mapping[str, Any]) -> None:
    limits = {
        "poisson_lambda": (options.get("poisson_lambda", 3.0) > 0, "above 0"),
        "replace_length": (options.get("replace_length", -1) in (-1, 0, 1), "-1, 0 or 1"),
        "random_ratio": (0 <= options.get("random_ratio", 0.0) <= 1, "0 to 1"),
    }
    for name, (fits, range_) in limits.items():
        if not fits:
            raise PluginError(
                f"option '{name}' of the preprocessor 'text' is {options[name]}; it must be {range_}"
            )


def _load(artifact: Artifact | None) -> Tokenizer:
    if artifact is None or _FILE not in artifact.files:
        raise TokenizerError(
            f"the text preprocessor needs its {_FILE}; create the model first, or load it whole"
        )
    return Tokenizer.from_str(artifact.files[_FILE].decode())
