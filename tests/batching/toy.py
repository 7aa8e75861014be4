"""A modality for tests: WORD (tokens of open length, one a letter), PAIR (two tokens), NUMS (dense numbers)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, ClassVar

import numpy as np

from ofacore.components.tokens.cross_entropy import CrossEntropy
from ofacore.encoding import token_runs as runs
from ofacore.encoding.encoder import Encoder
from ofacore.encoding.pieces import Geometry
from ofacore.ground.artifacts import Artifact
from ofacore.ground.vocabulary import Block, Vocabulary
from ofacore.plan import compile_task
from ofacore.plugin import (
    CONTRACT,
    Attribute,
    Component,
    ComponentManifest,
    ModalityManifest,
    Registry,
    SlotType,
)
from ofacore.protocols import (
    DenseSegment,
    Hypothesis,
    Options,
    RowContext,
    RowError,
    Segment,
    SlotPlan,
    TargetSpec,
    TokenSegment,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz "
WORDS = Block("toy/letters:27", len(LETTERS))
PAIRS = Block("toy/digits:10", 10)


@dataclass(frozen=True)
class Length:
    """How long a text is."""

    letters: int


@dataclass(frozen=True)
class Shortened:
    """What the row transform saw."""

    slots: tuple[str, ...]


class Base:
    """What all preprocessors here share."""

    block: ClassVar[Block | None] = None

    def __init__(self, options: Options | None = None) -> None:
        self.vocabulary = Vocabulary()

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        return None

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        return (self.block,) if self.block else ()

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        self.vocabulary = vocabulary

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Any:
        return hypothesis.value

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        return f"<code>{escape(str(value))}</code>"

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        return TargetSpec((self.block.name,) if self.block else ())


class Letters(Base):
    """Text of small letters; attribute ``reads`` publishes how long the named slot was."""

    block = WORDS

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        if not isinstance(value, str) or any(letter not in LETTERS for letter in value):
            raise RowError(f"{value!r} holds other than small letters")
        if ctx.published.find(slot.name, Length) is None:
            ctx.published.put(slot.name, Length(len(value)))
        if slot.attributes.get("reads"):
            value += "x" * ctx.published.one(slot.attributes["reads"], Length).letters
        start = self.vocabulary.offset(WORDS.name)
        ids = np.array([start + LETTERS.index(letter) for letter in value], np.int64)
        masked = np.full_like(ids, 5) if slot.attributes.get("masked") else None
        bounds = not slot.attributes.get("bare")
        allowed = self.allowed(value, slot, ctx) if slot.attributes.get("closed_set") else None
        return [
            TokenSegment(
                ids,
                (WORDS.name,),
                inputs=masked,
                boundaries=bounds,
                shift=masked is None,
                allowed=allowed,
            )
        ]

    def allowed(self, value: str, slot: SlotPlan, ctx: RowContext) -> tuple[np.ndarray, ...]:
        if value not in ctx.closed_sets[slot.name]:
            raise RowError(f"{value!r} is not in the closed set")
        start, found = self.vocabulary.offset(WORDS.name), []
        for n in range(len(value) + 1):
            rest = {
                other[n : n + 1]
                for other in ctx.closed_sets[slot.name]
                if other.startswith(value[:n])
            }
            found.append(
                np.array(sorted(start + LETTERS.index(x) if x else 2 for x in rest), np.int64)
            )
        return tuple(found)


class Digits(Base):
    """Two digits."""

    block = PAIRS

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        start = self.vocabulary.offset(PAIRS.name)
        return [TokenSegment(np.array(value, np.int64) + start, (PAIRS.name,), open=False)]


class Numbers(Base):
    """Dense numbers."""

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        array = np.asarray(value, np.float32)
        if array.ndim != 1 or not len(array):
            raise RowError("a list of numbers is expected")
        return [DenseSegment({"values": array}, (len(array),), labels={"values": array})]


class Noise:
    """A corruption: adds one."""

    def __init__(self, options: Options | None = None) -> None: ...

    def __call__(self, segment: DenseSegment, rng: np.random.Generator) -> DenseSegment:
        noisy = {"values": segment.features["values"] + 1}
        return replace(segment, features=noisy, context=segment.features)


class NumbersAdapter:
    """Geometry of dense numbers: along y alone."""

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        return shape[0]

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        return np.stack(
            [np.zeros(shape[0]), np.arange(shape[0]), np.zeros(shape[0])], axis=1
        ).astype(np.int64)


class SquaredError:
    """Counts numbers."""

    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, options: Options | None = None) -> None: ...

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        return len(labels["values"])


class OnePair:
    """Counts one for each item of a contrast."""

    needs: ClassVar[frozenset[str]] = frozenset()

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        return 1


class Shorten:
    """A row transform: drops the last character of every WORD column that ends in ``z``."""

    def __init__(self, options: Options | None = None) -> None: ...

    def __call__(
        self, row: dict[str, Any], slots: Sequence[SlotPlan], ctx: RowContext
    ) -> dict[str, Any]:
        ctx.published.put("shortened", Shortened(tuple(slot.name for slot in slots)))
        return {k: v[:-1] if isinstance(v, str) and v.endswith("z") else v for k, v in row.items()}


def is_word(value: Any) -> bool:
    return isinstance(value, str)


def is_pair(value: Any) -> bool:
    return len(value) == 2 and not isinstance(value[0], Sequence)


def is_numbers(value: Any) -> bool:
    return bool(len(value)) and not isinstance(value[0], Sequence)


def upper(value: str) -> str:
    """A transform."""
    return value.upper()


def lower(value: str) -> str:
    """A transform."""
    return value.lower()


_TOKEN = {"adapter": "token", "head": "token", "criterion": "cross_entropy", "generator": "token"}
_WORD_ATTRIBUTES = (
    Attribute("no_loss", "flag"),
    Attribute("closed_set", "flag"),
    Attribute("masked", "flag"),
    Attribute("bare", "flag"),
    Attribute("reads", "slot"),
    Attribute("drop_prompt", "float"),
)
_HERE = __name__
MANIFEST = ModalityManifest(
    "toy",
    CONTRACT,
    (
        SlotType(
            "WORD",
            "",
            "letters",
            "text",
            is_word,
            _WORD_ATTRIBUTES,
            row_transform=f"{_HERE}:Shorten",
            serves_plain_text=True,
        ),
        SlotType("PAIR", "", "digits", "two digits", is_pair, (Attribute("no_loss", "flag"),)),
        SlotType("NUMS", "", "numbers", "numbers", is_numbers, (Attribute("no_loss", "flag"),)),
    ),
    (
        Component("preprocessor", "letters", f"{_HERE}:Letters", uses=_TOKEN),
        Component("preprocessor", "digits", f"{_HERE}:Digits", uses=_TOKEN),
        Component(
            "preprocessor",
            "numbers",
            f"{_HERE}:Numbers",
            uses={
                "adapter": "numbers",
                "head": "numbers",
                "criterion": "squared",
                "generator": "numbers",
                "corruption": "noise",
            },
        ),
        Component("adapter", "numbers", f"{_HERE}:NumbersAdapter"),
        Component("corruption", "noise", f"{_HERE}:Noise"),
        Component("criterion", "squared", f"{_HERE}:SquaredError"),
        Component("transform", "upper", f"{_HERE}:upper"),
        Component("transform", "lower", f"{_HERE}:lower"),
    ),
)
TOKENS = ComponentManifest(
    "tokens",
    CONTRACT,
    (
        Component("adapter", "token", "x:y"),
        Component("head", "token", "x:y"),
        Component("head", "numbers", "x:y"),
        Component("generator", "token", "x:y"),
        Component("generator", "numbers", "x:y"),
        Component(
            "criterion", "cross_entropy", "ofacore.components.tokens.cross_entropy:CrossEntropy"
        ),
    ),
)

VOCABULARY = Vocabulary().extend([WORDS, PAIRS])
REGISTRY = Registry.of(MANIFEST, TOKENS)


def word(text: str) -> list[int]:
    """Ids of a text."""
    return [VOCABULARY.offset(WORDS.name) + LETTERS.index(letter) for letter in text]


def pair(first: int, second: int) -> list[int]:
    """Ids of two digits."""
    return [VOCABULARY.offset(PAIRS.name) + digit for digit in (first, second)]


def encoder(
    instruction: Any, *, name: str = "toy", settings: runs.RunSettings | None = None, **options: Any
) -> Encoder:
    """An encoder for an instruction over the types of this file."""
    plan = compile_task(name, instruction, REGISTRY, **options)
    preprocessors: dict[str, Any] = {"letters": Letters(), "digits": Digits(), "numbers": Numbers()}
    for preprocessor in preprocessors.values():
        preprocessor.bind(VOCABULARY, None)
    criteria: dict[str, Any] = {
        "cross_entropy": CrossEntropy({}),
        "squared": SquaredError(),
        "contrastive": OnePair(),
    }
    return Encoder.of(
        plan,
        REGISTRY,
        preprocessors,
        {"numbers": Geometry(NumbersAdapter)},
        criteria,
        {"noise": Noise()},
        settings,
    )
