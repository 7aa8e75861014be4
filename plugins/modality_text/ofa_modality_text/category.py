"""Classes as single tokens: a closed list of names, each with a token of its own."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofa_modality_text.values import as_text, texts_of
from ofacore.plugin import PluginError, suggest
from ofacore.protocols import (
    Artifact,
    Block,
    Hypothesis,
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

_FILE = "classes.json"
_SHOWN = 5


class CategoryPreprocessor:
    """Preprocessor of CATEGORY, ``category``: one token for each class.

    The classes are all values that the training data show, or those of option ``classes``. A target is one of those
    that its own slot showed in training, or of its closed set.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._given = [str(name) for name in options.get("classes", ())]
        self._block = Block("category:0", 0)
        self._classes: list[str] = []
        self._of_slot: Mapping[str, Sequence[str]] = {}
        self._tokens: dict[str, int] = {}

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact:
        """Collect the classes of values whose slots are not known.

        Raises:
            PluginError: There are none.
        """
        return self._artifact(set(texts_of(values)), {})

    def fit_slots(
        self, values: Iterable[tuple[SlotPlan, Any]], rng: np.random.Generator
    ) -> Artifact:
        """Collect the classes, and which of them each slot shows.

        Raises:
            PluginError: There are none.
        """
        shown: dict[str, set[str]] = {}
        for slot, value in values:
            shown.setdefault(slot.name, set()).update(texts_of([value]))
        found = set().union(*shown.values())
        return self._artifact(found, {name: sorted(seen) for name, seen in shown.items()})

    def _artifact(self, found: set[str], of_slot: Mapping[str, Sequence[str]]) -> Artifact:
        classes = list(dict.fromkeys(self._given)) or sorted(found)
        if not classes:
            raise PluginError(
                "preprocessor 'category': no value tells its classes; set its option classes"
            )
        return Artifact.of_json(_FILE, {"classes": classes, "slots": dict(of_slot)})

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """One token for each class."""
        if artifact is None or _FILE not in artifact.files:
            raise PluginError(
                f"preprocessor 'category' needs its {_FILE}; create the model first, or load it whole"
            )
        size = len(_stored(artifact)["classes"])
        return (Block(f"category:{size}:{artifact.digest}", size),)

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Take the place of the block in the vocabulary."""
        (self._block,) = self.blocks(artifact)
        assert artifact is not None
        stored, start = _stored(artifact), vocabulary.offset(self._block.name)
        self._classes, self._of_slot = stored["classes"], stored["slots"]
        self._tokens = {name: start + number for number, name in enumerate(self._classes)}

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One token.

        Raises:
            RowError: The value is no class of this model.
        """
        name = as_text(value, slot.name)
        if name not in self._tokens:
            hint = suggest(name, self._classes) or f"there are {listing(self._classes, _SHOWN)}"
            raise RowError(
                f"column '{slot.name}': {excerpt(name)} is none of {len(self._classes)} classes; {hint}"
            )
        learned = slot.side == "source" or slot.loss
        weights = None if learned else np.zeros(1, dtype=bool)
        return [
            TokenSegment(
                np.array([self._tokens[name]]), (self._block.name,), open=False, weights=weights
            )
        ]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """One token: a class of the closed set that was given, else of those that the slot showed in training."""
        given = self._of_slot.get(slot.name, ())
        if slot.attributes.get("closed_set"):
            given = ctx.closed_sets.get(slot.name, ())
        known = [str(name) for name in given if str(name) in self._tokens] or self._classes
        members = tuple(np.array([self._tokens[name]]) for name in known)
        return TargetSpec((self._block.name,), open=False, length=1, closed_set=members)

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> str:
        """The name of the class."""
        number = int(np.asarray(hypothesis.value).reshape(-1)[0]) - next(
            iter(self._tokens.values())
        )
        return self._classes[number] if 0 <= number < len(self._classes) else ""

    def as_decoded(self, value: Any, slot: SlotPlan, ctx: RowContext) -> str:
        """The name, of a class or not: one that the model does not know counts, and no answer equals it."""
        return as_text(value, slot.name)

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """The name, escaped."""
        return f"<span>{html.escape(str(value))}</span>"

    def save(self, value: Any, ctx: RowContext | None, path: Path) -> None:
        """Write the name as UTF-8."""
        Path(path).write_text(str(value), encoding="utf-8")


def _stored(artifact: Artifact) -> dict[str, Any]:
    """``classes``, and ``slots``: name -> those it showed; earlier versions stored the classes alone."""
    found = artifact.json(_FILE)
    if isinstance(found, list):
        return {"classes": found, "slots": {}}
    assert isinstance(found, dict)
    return found
