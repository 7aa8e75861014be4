"""Phonemes to tokens and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ofa_modality_speech.inventories import FITTED, INVENTORIES
from ofa_modality_speech.pronouncing import by_dictionary, by_phonemizer
from ofacore.parts import TokensPreprocessor
from ofacore.plugin import PluginError
from ofacore.protocols import (
    MASK,
    Artifact,
    Options,
    RowContext,
    RowError,
    Segment,
    SlotPlan,
    TokenSegment,
    excerpt,
)

_FOREIGN, _EDGES = "<phone>_", ("dict_begin", "dict_end")
"""How OFASys' dictionary names phonemes, and what stands at the ends of their block."""


class PhonePreprocessor(TokensPreprocessor):
    """``phone``: phonemes of an inventory, written with blanks between them, or as letters of IPA.

    Args:
        options: ``inventory``, one of `INVENTORIES` or `FITTED`.
    """

    block = "speech/phones"

    def __init__(self, options: Options) -> None:
        self.inventory = str(options.get("inventory", "arpabet"))
        if self.inventory not in (*INVENTORIES, FITTED):
            known = ", ".join((*INVENTORIES, FITTED))
            raise PluginError(f"option inventory: '{self.inventory}' is none of {known}")
        own: dict[str, Any] = vars(self)  # the names of a class depend on its options here
        own["tokens"] = () if self.inventory == FITTED else INVENTORIES[self.inventory]()
        own["block"] = f"speech/{self.inventory}"
        super().__init__(options)

    def import_files(self, folder: Path, names: Sequence[str]) -> Artifact | None:
        """The phonemes of another project's dictionary, in place of the inventory.

        Raises:
            PluginError: It has none.
        """
        known = [name.removeprefix(_FOREIGN) for name in names if name.startswith(_FOREIGN)]
        found = [name for name in known if name not in _EDGES]
        if not found:
            raise PluginError(
                f"the dictionary has no phonemes; expected tokens such as {_FOREIGN}AH0"
            )
        return self.artifact_of(found)

    def foreign_names(self, artifact: Artifact | None) -> Mapping[str, Sequence[tuple[str, ...]]]:
        """OFASys writes ``<phone>_`` before the name of a phoneme."""
        if artifact is None:
            return {}
        (block,) = self.blocks(artifact)
        return {block.name: [(f"{_FOREIGN}{name}",) for name in self.token_names(artifact)]}

    def to_tokens(self, value: Any) -> Sequence[str]:
        """Names of phonemes.

        Raises:
            RowError: The value is no text, or holds no phoneme.
        """
        found = self._named(value) if isinstance(value, str) else []
        if not found:
            raise RowError(
                f"{excerpt(value)} holds no phonemes; write them as a text such as 'HH AH0 L OW1'"
            )
        return found

    def _named(self, value: str) -> list[str]:
        if self.inventory == "ipa":
            return [letter.replace("g", "ɡ") for letter in value if not letter.isspace()]
        return value.split()

    def from_tokens(self, tokens: Sequence[str]) -> str:
        """Phonemes with blanks between them; letters of IPA without."""
        return ("" if self.inventory == "ipa" else " ").join(tokens)

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One token segment; with ``mask_ratio`` that share of a source's phonemes is hidden in training.

        Raises:
            RowError: The value has no phonemes, or one that the inventory lacks.
        """
        segments = super().encode(value, slot, ctx)
        share = float(slot.attributes.get("mask_ratio") or 0.0)
        if not share or slot.side != "source" or ctx.split != "train":
            return segments
        return [_masked(part, share, ctx.rng) for part in segments]


def _masked(segment: Segment, share: float, rng: np.random.Generator) -> Segment:
    if not isinstance(segment, TokenSegment):
        return segment
    hidden = rng.random(len(segment.ids)) < share
    return replace(segment, ids=np.where(hidden, MASK, segment.ids))


class TextPhonePreprocessor(PhonePreprocessor):
    """``text_phone``: a written text, as it is pronounced; what is produced are phonemes.

    Args:
        options: ``inventory``; ``pronounce``, by a `dictionary` or by `phonemizer`; ``dictionary``, its file;
            ``language`` of phonemizer.
    """

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.pronounce = str(options.get("pronounce", "dictionary"))
        self.path = str(options.get("dictionary", ""))
        self.language = str(options.get("language", "en-us"))
        if self.pronounce == "phonemizer" and self.inventory not in ("ipa", FITTED):
            raise PluginError(
                f"option pronounce=phonemizer gives letters of IPA; set inventory=ipa, not {self.inventory}"
            )

    def _named(self, value: str) -> list[str]:
        if self.pronounce == "phonemizer":
            return [letter.replace("g", "ɡ") for letter in by_phonemizer(value, self.language)]
        return by_dictionary(value, self.path)

    def as_decoded(self, value: Any, slot: SlotPlan, ctx: RowContext) -> str:
        """The phonemes of a text, which an answer is compared with.

        Raises:
            RowError: The value is no text that can be pronounced.
        """
        return self.from_tokens(self._split(value, slot.name))
