"""Classes as single tokens: a closed list of names, each with a token of its own."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
    that its own slot showed in training, or of its closed set. Tasks that join a model bring classes of their own, in a
    block of their own: they know those of before and theirs, and older tasks do not see them.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._given = [str(name) for name in options.get("classes", ())]
        self._founders = Known()
        self._of_task: dict[str, Known] = {}
        self._names: dict[int, str] = {}

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

    def grow(
        self,
        artifact: Artifact | None,
        values: Iterable[tuple[str, SlotPlan, Any]],
        rng: np.random.Generator,
    ) -> Artifact | None:
        """Classes that the model has not, and which of all each slot of the new tasks shows."""
        if artifact is None:
            return None
        shown: dict[str, dict[str, set[str]]] = {}
        for task, slot, value in values:
            seen = shown.setdefault(task, {}).setdefault(slot.name, set())
            seen.update(texts_of([value]))
        stored = _stored(artifact)
        known = {*stored["classes"]}.union(*(part["classes"] for part in stored["joined"]))
        found: set[str] = set()
        tasks: dict[str, dict[str, list[str]]] = {}
        for task, slots in shown.items():
            found.update(*slots.values())
            tasks[task] = {name: sorted(seen) for name, seen in slots.items()}
        part = {"classes": sorted(found - known), "tasks": tasks}
        (first, *_) = self.blocks(artifact)
        joined = [*stored["joined"], part]
        return Artifact.of_json(_FILE, {**stored, "joined": joined, "block": first.name})

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """One token for each class: a block of those that the model was made with, one for each time more joined."""
        if artifact is None or _FILE not in artifact.files:
            raise PluginError(
                f"preprocessor 'category' needs its {_FILE}; create the model first, or load it whole"
            )
        stored = _stored(artifact)
        size = len(stored["classes"])
        name = stored.get("block") or f"category:{size}:{artifact.digest}"
        return (Block(name, size), *(block for block in map(_block, stored["joined"]) if block))

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Take the places of the blocks in the vocabulary."""
        (first, *_) = self.blocks(artifact)
        assert artifact is not None
        stored = _stored(artifact)
        tokens = _numbered(stored["classes"], vocabulary.offset(first.name))
        self._founders = Known(tokens, (first.name,), stored["slots"])
        self._of_task, blocks = {}, [first.name]
        for part in stored["joined"]:
            if block := _block(part):
                tokens = {**tokens, **_numbered(part["classes"], vocabulary.offset(block.name))}
                blocks.append(block.name)
            for task, slots in part["tasks"].items():
                self._of_task[task] = Known(tokens, tuple(blocks), slots)
        self._names = {number: name for name, number in tokens.items()}

    def _known(self, ctx: RowContext) -> Known:
        """What the row's task knows."""
        return self._of_task.get(ctx.task, self._founders)

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One token.

        Raises:
            RowError: The value is no class that the task knows.
        """
        name, known = as_text(value, slot.name), self._known(ctx)
        if name not in known.tokens:
            classes = list(known.tokens)
            hint = suggest(name, classes) or f"there are {listing(classes, _SHOWN)}"
            raise RowError(
                f"column '{slot.name}': {excerpt(name)} is none of {len(classes)} classes; {hint}"
            )
        learned = slot.side == "source" or slot.loss
        weights = None if learned else np.zeros(1, dtype=bool)
        return [
            TokenSegment(np.array([known.tokens[name]]), known.blocks, open=False, weights=weights)
        ]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """One token: a class of the closed set that was given, else of those that the slot showed in training."""
        known = self._known(ctx)
        given = known.of_slot.get(slot.name, ())
        if slot.attributes.get("closed_set"):
            given = ctx.closed_sets.get(slot.name, ())
        names = [str(name) for name in given if str(name) in known.tokens] or known.tokens
        members = tuple(np.array([known.tokens[name]]) for name in names)
        return TargetSpec(known.blocks, open=False, length=1, closed_set=members)

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> str:
        """The name of the class."""
        return self._names.get(int(np.asarray(hypothesis.value).reshape(-1)[0]), "")

    def as_decoded(self, value: Any, slot: SlotPlan, ctx: RowContext) -> str:
        """The name, of a class or not: one that the model does not know counts, and no answer equals it."""
        return as_text(value, slot.name)

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """The name, escaped."""
        return f"<span>{html.escape(str(value))}</span>"

    def save(self, value: Any, ctx: RowContext | None, path: Path) -> None:
        """Write the name as UTF-8."""
        Path(path).write_text(str(value), encoding="utf-8")


@dataclass(frozen=True)
class Known:
    """The classes that a task knows."""

    tokens: Mapping[str, int] = field(default_factory=dict)
    """Class -> vocabulary id."""
    blocks: tuple[str, ...] = ()
    of_slot: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Slot -> classes that it showed in training."""


def _numbered(classes: Sequence[str], start: int) -> dict[str, int]:
    return {name: start + number for number, name in enumerate(classes)}


def _block(part: Mapping[str, Any]) -> Block | None:
    """Of the classes that joined together; None where they were all known."""
    size = len(part["classes"])
    digest = Artifact.of_json(_FILE, part["classes"]).digest
    return Block(f"category:{size}:{digest}", size) if size else None


def _stored(artifact: Artifact) -> dict[str, Any]:
    """``classes``, ``slots``: name -> those it showed, and ``joined``: likewise, of the tasks that came each time.

    Earlier versions stored the classes alone.
    """
    found = artifact.json(_FILE)
    if isinstance(found, list):
        found = {"classes": found, "slots": {}}
    assert isinstance(found, dict)
    return {"joined": [], **found}
