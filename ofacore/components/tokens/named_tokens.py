"""Sequences of named tokens: moves of a game, bases of a strand, edges of a graph. The parts of a modality with a
vocabulary of its own.

A subclass of `TokensPreprocessor` and the components ``token`` (adapter, head, generator) and ``cross_entropy`` of the
core make a modality that is input and output.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ofacore.ground.artifacts import Artifact
from ofacore.ground.excerpts import excerpt
from ofacore.plugin import PluginError, suggest
from ofacore.protocols import (
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
)

_FILE = "tokens.json"


class TokensPreprocessor:
    """Base of preprocessors of values that are sequences of tokens, each of which has a name.

    A subclass says ``block``, and overrides `to_tokens` and `from_tokens` where a value is no text with blanks between
    its tokens. The slot attribute ``length``, where the slot type declares it, fixes the number of tokens.
    """

    block: ClassVar[str] = ""
    """Name of its block in the vocabulary, as ``chess/moves``: what comes before the slash is the plugin's."""
    tokens: ClassVar[Sequence[str]] = ()
    """Every token, in an order that stays; empty: those of the training values, stored with the model."""

    def __init__(self, options: Options) -> None:
        name = type(self).__name__
        if not self.block:
            raise PluginError(
                f"{name} names no vocabulary block; write block = 'plugin/what' in the class"
            )
        if len(set(self.tokens)) < len(self.tokens):
            raise PluginError(
                f"{name}: a token is listed twice in tokens; every one needs a name of its own"
            )
        self.options = options
        self._names: tuple[str, ...] = tuple(self.tokens)
        self._ids: dict[str, int] = {}
        self._first, self._block_name = 0, ""

    def to_tokens(self, value: Any) -> Sequence[str]:
        """Names of the tokens of a value; of text the words between blanks.

        Raises:
            RowError: The value cannot be used; says what would be right.
        """
        return value.split() if isinstance(value, str) else list(value)

    def from_tokens(self, tokens: Sequence[str]) -> Any:
        """The value of a sequence of tokens. Any sequence may come, also none: a model can produce it."""
        return " ".join(tokens)

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """The tokens of all usable values in alphabetical order, where the class does not list them.

        Raises:
            PluginError: No value has any.
        """
        if self.tokens:
            return None
        found: set[str] = set()
        for value in values:
            try:
                found.update(self._split(value, ""))
            except RowError:
                continue
        if not found:
            lists = f"{type(self).__name__} lists no tokens"
            raise PluginError(
                f"{lists}, and there is no training value to learn those of '{self.block}' from"
            )
        return self.artifact_of(sorted(found))

    @staticmethod
    def artifact_of(names: Sequence[str]) -> Artifact:
        """What a model stores of tokens that the class does not list."""
        return Artifact.of_json(_FILE, list(names))

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """One block, named by its size and by what its tokens are."""
        names = self.token_names(artifact)
        digest = self.artifact_of(names).digest
        return (Block(f"{self.block}:{len(names)}:{digest}", len(names)),)

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Take the place of the block in the vocabulary."""
        (block,) = self.blocks(artifact)
        self._names, self._block_name = self.token_names(artifact), block.name
        self._first = vocabulary.offset(block.name)
        self._ids = {name: self._first + number for number, name in enumerate(self._names)}

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One token segment.

        Raises:
            RowError: The value cannot be used, has an unknown token, or not as many as ``length`` says.
        """
        names = self._split(value, slot.name)
        length = slot.attributes.get("length")
        if length and len(names) != length:
            raise RowError(
                f"column '{slot.name}': {len(names)} tokens, but the slot says length={length}"
            )
        ids = np.array([self._id(name, slot.name) for name in names], np.int64)
        given = slot.side == "target" and not slot.loss
        weights = np.zeros(len(ids), bool) if given else None
        return [TokenSegment(ids, (self._block_name,), open=not length, weights=weights)]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """Tokens of the block, as many as ``length`` says or until the model ends them."""
        length = slot.attributes.get("length")
        return TargetSpec((self._block_name,), open=not length, length=length)

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Any:
        """The value of the tokens; tokens of other blocks are passed over."""
        local = np.asarray(hypothesis.value, np.int64).reshape(-1) - self._first
        mine = local[(local >= 0) & (local < len(self._names))]
        return self.from_tokens([self._names[number] for number in mine.tolist()])

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """The value as text."""
        return f"<code>{html.escape(str(value))}</code>"

    def token_names(self, artifact: Artifact | None) -> tuple[str, ...]:
        """Every token: those that are stored, else those that the class lists.

        Raises:
            PluginError: There are neither.
        """
        stored = artifact is not None and _FILE in artifact.files
        if not stored and self.tokens:
            return tuple(self.tokens)
        if artifact is None:
            raise PluginError(
                f"'{self.block}' has no tokens yet: fit was not called, or its artifact is missing"
            )
        found: Any = artifact.json(_FILE)
        return tuple(found)

    def _split(self, value: Any, column: str) -> list[str]:
        place = f"column '{column}': " if column else ""
        try:
            names = list(self.to_tokens(value))
        except RowError as error:
            raise RowError(f"{place}{error}") from error
        except (TypeError, ValueError) as error:
            raise RowError(
                f"{place}{excerpt(value)} is no sequence of tokens of '{self.block}'"
            ) from error
        wrong = next((name for name in names if not isinstance(name, str)), None)
        if wrong is not None:
            raise RowError(
                f"{place}{excerpt(wrong)} is no token of '{self.block}', whose tokens are text"
            )
        return names

    def _id(self, name: str, column: str) -> int:
        found = self._ids.get(name)
        if found is None:
            hint = (
                suggest(name, self._names) or f"there are {', '.join(map(repr, self._names[:8]))}"
            )
            more = ", ..." if hint.startswith("there") and len(self._names) > 8 else ""
            raise RowError(
                f"column '{column}': '{name:.40}' is no token of '{self.block}'; {hint}{more}"
            )
        return found
