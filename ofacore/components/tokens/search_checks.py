"""What no value of tokens can be: told before one is searched for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ofacore.components.tokens.search_options import SearchOptions
from ofacore.ground.errors import UserError
from ofacore.ground.vocabulary import CORE_TOKENS
from ofacore.protocols import RowRequest, SlotPlan, Vocabulary


def check_search_of(request: RowRequest, search: SearchOptions, vocabulary: Vocabulary) -> None:
    """Refuse options of search that no value of a request can meet.

    Raises:
        UserError: Phrases do not fit into the value, or it is too long not to repeat an n-gram.
    """
    if request.required:
        _check_phrases(request, search)
    if request.spec.blocks and not request.spec.closed_set:
        least = int(request.slot.attributes.get("min_length") or 0)
        length = max(search.min_length, least, request.spec.length or 0)
        choices = sum(len(vocabulary.range(block)) for block in request.spec.blocks) + len(
            CORE_TOKENS
        )
        check_variety(request.slot.name, length, search.no_repeat_ngram, choices)


def check_variety(slot: str, length: int, ngram: int, choices: int) -> None:
    """Refuse a length that no sequence without a repeated n-gram has.

    Args:
        slot: Its name, for the message.
        length: Fewest tokens of a value.
        ngram: Length of the n-grams of which none may occur twice; 0: they may.
        choices: How many different tokens there are.

    Raises:
        UserError: There are not ``length`` tokens without a repetition.
    """
    most = choices**ngram + ngram - 1 if ngram else length
    if length > most:
        raise UserError(
            f"slot '{slot}': no_repeat_ngram={ngram} leaves room for {most} tokens, as there are {choices} different "
            f"ones, but a value needs at least {length}; lower min_length or raise no_repeat_ngram"
        )


def _check_phrases(request: RowRequest, search: SearchOptions) -> None:
    slot, asked, ngram = (
        request.slot,
        f"must_contain={list(search.must_contain)}",
        search.no_repeat_ngram,
    )
    if ngram and any(_repeats_itself(ids.tolist(), ngram) for ids in request.required):
        raise UserError(
            f"{asked}: a phrase repeats {ngram} of its tokens, which no_repeat_ngram={ngram} forbids; raise "
            "no_repeat_ngram or leave the phrase out"
        )
    for phrase in request.required:
        _check_banned(tuple(phrase.tolist()), slot, search)
    needed = sum(map(len, _apart(request.required)))
    room, name = min(_limits(slot, search))
    if needed > room:
        raise UserError(
            f"{asked}: slot '{slot.name}' needs {needed} tokens for it, but {name} is {room}; raise {name} to {needed} "
            "or more, or require less"
        )


def _check_banned(phrase: tuple[int, ...], slot: SlotPlan, search: SearchOptions) -> None:
    found = next((ids for ids in search.banned_tokens if ids and _within(ids, phrase)), None)
    if found is not None:
        raise UserError(
            f"must_contain={list(search.must_contain)}: banned_tokens forbids {list(found)}, which slot '{slot.name}' "
            "needs for it; leave one of them out"
        )


def _limits(slot: SlotPlan, search: SearchOptions) -> list[tuple[int, str]]:
    """Most tokens of a value, and what says so."""
    own = [
        (slot.attributes[key], f"its {key}")
        for key in ("length", "max_length")
        if slot.attributes.get(key)
    ]
    return [(search.max_length, "max_length"), *own]


def _repeats_itself(ids: Sequence[int], ngram: int) -> bool:
    grams = [tuple(ids[i : i + ngram]) for i in range(len(ids) - ngram + 1)]
    return len(set(grams)) < len(grams)


def _apart(phrases: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    """The phrases without those that another one contains."""
    distinct = dict.fromkeys(tuple(ids.tolist()) for ids in phrases)
    return [ids for ids in distinct if not _in_another(ids, distinct)]


def _in_another(ids: tuple[int, ...], phrases: Iterable[tuple[int, ...]]) -> bool:
    return any(ids != other and _within(ids, other) for other in phrases)


def _within(part: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    return any(whole[i : i + len(part)] == part for i in range(len(whole) - len(part) + 1))
