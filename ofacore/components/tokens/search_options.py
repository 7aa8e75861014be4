"""Options of token search, for the manifest of every generator that searches as `TokenGenerator` does. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ofacore.plugin.manifest import Option

if TYPE_CHECKING:
    from ofacore.protocols import Options, SlotPlan

SEARCH_OPTIONS: Mapping[str, Option] = {
    "strategy": Option(
        "greedy",
        "How open tokens are searched; a closed set is chosen from by probability, whatever it is.",
        choices=("greedy", "beam", "diverse_beam", "diverse_siblings", "sample"),
    ),
    "beam": Option(
        5, "Width of the beam; of closed sets above 1,000 values too.", minimum=1, maximum=1000
    ),
    "groups": Option(
        1, "`diverse_beam`: groups that the beam is divided into.", minimum=1, maximum=1000
    ),
    "diversity": Option(
        0.5,
        "`diverse_beam`, `diverse_siblings`: penalty on what others chose.",
        minimum=0,
        maximum=1000,
    ),
    "temperature": Option(1.0, "`sample`: divisor of the logits.", minimum=1e-3, maximum=1e3),
    "top_k": Option(0, "`sample`: only the k likeliest tokens; 0: all.", minimum=0, maximum=10**9),
    "top_p": Option(
        1.0,
        "`sample`: only the likeliest tokens that together have this share; more than 0.",
        maximum=1,
    ),
    "length_penalty": Option(
        1.0,
        "Candidates are ordered by log-probability divided by the length to this power; above 1 favours longer values.",
        minimum=-10,
        maximum=10,
    ),
    "unk_penalty": Option(
        0.0, "Taken off the score of an unknown token.", minimum=-1e3, maximum=1e3
    ),
    "min_length": Option(0, "Fewest tokens of an open value.", minimum=0, maximum=10**9),
    "max_length": Option(256, "Most tokens of an open value.", minimum=1, maximum=10**9),
    "no_repeat_ngram": Option(
        0, "No n-gram of this length occurs twice; 0: no limit.", minimum=0, maximum=1000
    ),
    "repetition_penalty": Option(
        1.0,
        "Scores of tokens that a value holds already are divided by it, or multiplied where negative; more than 0.",
    ),
    "banned_tokens": Option((), "Sequences of token ids that no value holds."),
    "early_stopping": Option(
        True,
        "`beam`: stop at as many ended candidates as the beam is wide, not when none can be improved.",
    ),
    "exhaustive": Option(
        False, "`beam`, without `early_stopping`: go on until no longer candidate could be better."
    ),
    "forced_end": Option(
        "scored",
        "`beam`: of a value of `max_length` tokens, its end counts like any token, counts nothing, or is left out.",
        choices=("scored", "free", "none"),
    ),
    "core_tokens": Option(
        False, "`<bos>`, `<pad>` and `<mask>` may be generated too, as other projects allow."
    ),
    "pad_tokens": Option(True, "With `core_tokens`: `<pad>` too; fairseq never chooses it."),
    "n_best": Option(1, "Number of candidates returned.", minimum=1, maximum=100_000),
    "must_contain": Option((), "Phrases that every open value must contain."),
}
"""Name -> option. The bounds are those beyond which an option means nothing or numbers overflow."""


@dataclass(frozen=True)
class SearchOptions:
    """The same as attributes, each with its value."""

    strategy: str
    beam: int
    groups: int
    diversity: float
    temperature: float
    top_k: int
    top_p: float
    length_penalty: float
    unk_penalty: float
    min_length: int
    max_length: int
    no_repeat_ngram: int
    repetition_penalty: float
    banned_tokens: tuple[tuple[int, ...], ...]
    early_stopping: bool
    exhaustive: bool
    forced_end: str
    core_tokens: bool
    pad_tokens: bool
    n_best: int
    must_contain: tuple[str, ...]

    @classmethod
    def of(cls, options: Options) -> SearchOptions:
        """From a generator's options: those that are missing have their default, those of its own are left alone."""
        values: dict[str, Any] = {one.name: SEARCH_OPTIONS[one.name].default for one in fields(cls)}
        values |= {name: value for name, value in options.items() if name in values}
        values["banned_tokens"] = tuple(tuple(ids) for ids in values["banned_tokens"])
        values["must_contain"] = tuple(values["must_contain"])
        return cls(**values)


def check_search(options: Options, slot: SlotPlan) -> None:
    """Refuse options of search that contradict each other, or the attributes of a slot.

    Raises:
        ValueError: They do; names both.
    """
    _check_lists(options)
    search = SearchOptions.of(options)
    for name in ("top_p", "repetition_penalty"):
        if getattr(search, name) <= 0:
            raise ValueError(f"{name}={getattr(search, name):g} must be more than 0")
    if search.min_length > search.max_length:
        raise ValueError(
            f"min_length={search.min_length} is more than max_length={search.max_length}"
        )
    if search.strategy == "diverse_beam" and search.beam % search.groups:
        raise ValueError(f"beam={search.beam} is no multiple of groups={search.groups}")
    if not (slot.attributes.get("closed_set") or slot.attributes.get("length")):
        _check_lengths(search, slot)


def _check_lengths(search: SearchOptions, slot: SlotPlan) -> None:
    """Refuse lengths that no open value of a slot can have.

    Raises:
        ValueError: The fewest tokens are more than the most.
    """
    fewest = max(search.min_length, int(slot.attributes.get("min_length") or 0))
    most = min(search.max_length, int(slot.attributes.get("max_length") or search.max_length))
    if fewest > most:
        raise ValueError(
            f"slot '{slot.name}': min_length={fewest} is more than max_length={most}, as the slot and the options of "
            "generation have them; lower the one or raise the other"
        )


def _check_lists(options: Options) -> None:
    for phrase in options.get("must_contain", ()):
        if not isinstance(phrase, str) or not phrase.strip():
            raise ValueError(f"must_contain holds {phrase!r}; expected phrases that are not empty")
    for ids in options.get("banned_tokens", ()):
        whole = isinstance(ids, list | tuple) and ids and all(_is_id(number) for number in ids)
        if not whole:
            raise ValueError(f"banned_tokens holds {ids!r}; expected lists of token ids from 0")


def _is_id(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0
