"""Text to the tokens of a tower's own tokenizer; they have no place in the model's vocabulary."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from ofa_modality_text.tower_config import ASK, TowerError, folder_of, most_tokens, tower_config
from ofa_modality_text.values import as_text, normalise
from ofacore.protocols import (
    Artifact,
    Block,
    DenseSegment,
    Hypothesis,
    RowContext,
    RowError,
    Segment,
    SlotPlan,
    TargetSpec,
    Vocabulary,
)

_FILE, _LIMITS = "tokenizer.json", "limits.json"
_OTHERS = ("length", "mask_ratio", "specials", "disable_auto_boseos")
"""Attributes of TEXT that mean something to the model's own tokens alone."""


class TowerTextPreprocessor:
    """``text_tower``: ids of a tower's tokenizer, of a source alone. Features: ``ids`` int64 [n].

    Options:
        path: Folder of the tower; its tokenizer is stored with the model.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self._tokenizer: Tokenizer

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """The tokenizer as it lies in the folder.

        Raises:
            TowerError: There is none.
        """
        folder = folder_of(self._options)
        file = folder / _FILE
        if not file.is_file():
            raise TowerError(f"text_tower: '{folder}' holds no {_FILE}; {ASK}")
        limits = {"most": most_tokens(tower_config(self._options))}
        text = _tokenizer(file.read_text(encoding="utf-8", errors="replace"), str(file)).to_str()
        return Artifact({_FILE: text.encode(), _LIMITS: json.dumps(limits).encode()})

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """No tokens of the model."""
        return ()

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Take the tokenizer.

        Raises:
            TowerError: There is none.
        """
        if artifact is None:
            raise TowerError(
                f"the preprocessor text_tower needs its {_FILE}; create the model first, or load it whole"
            )
        self._tokenizer = _tokenizer(artifact.files[_FILE].decode(), _FILE)
        most = json.loads(artifact.files[_LIMITS])["most"]
        if most:
            self._tokenizer.enable_truncation(most)

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One segment of shape (tokens,), with what the tokenizer puts around a text.

        Raises:
            RowError: No text, or the slot says how the model's own tokens shall be.
        """
        attributes = slot.attributes
        wrong = [name for name in _OTHERS if attributes.get(name)]
        wrong += ["level"] if attributes.get("level", "bpe") != "bpe" else []
        if wrong:
            raise RowError(
                f"column '{slot.name}': {wrong[0]} is for the model's own tokens; a tower has its own tokenizer: "
                f"leave {wrong[0]} out"
            )
        text = normalise(as_text(value, slot.name), attributes)
        ids = np.array(self._tokenizer.encode(text).ids, np.int64)
        most = attributes.get("max_length")
        if most and len(ids) > most:
            ids = np.concatenate([ids[: most - 1], ids[-1:]])
        if not len(ids):
            raise RowError(f"column '{slot.name}': the tower's tokenizer finds nothing in it")
        return [DenseSegment({"ids": ids}, (len(ids),))]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """It is never a target.

        Raises:
            RowError: Always.
        """
        raise RowError(f"column '{slot.name}': a tower reads; to write text, use preprocess=text")

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Any:
        """The text of ids."""
        return self._tokenizer.decode(np.asarray(hypothesis.value).reshape(-1).tolist())

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """The text, escaped, line breaks kept."""
        return f'<span style="white-space:pre-wrap">{html.escape(str(value))}</span>'


def _tokenizer(text: str, place: str) -> Tokenizer:
    """A tokenizer without limits of its own.

    Raises:
        TowerError: The text describes none.
    """
    try:
        found = Tokenizer.from_str(text)
    except Exception as error:  # the library raises no narrower class
        raise TowerError(f"text_tower: '{place}' is no tokenizer ({str(error)[:100]})") from error
    found.no_truncation()
    found.no_padding()
    return found
