"""How a run searches, as settings of `generate` of transformers: the way back of `search_of`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ofacore.ground.vocabulary import BOS, Block, Vocabulary
from ofacore.protocols import Options

_PAIR = 2


def settings_of_search(
    options: Options, vocabulary: Vocabulary, text: Block, said: Mapping[str, Any]
) -> dict[str, Any]:
    """What the folder says besides, so that `generate` gives the tokens that the run gives; lengths are left alone.

    Args:
        options: Of the generator of tokens, every one that it declares.
        vocabulary: Blocks of the run.
        text: The block of the folder's own tokens.
        said: What the folder says already.
    """
    first = vocabulary.offset(text.name)
    known = range(first, first + text.size)
    banned = [tuple(ids) for ids in options["banned_tokens"]]
    single = [ids[0] - first for ids in banned if len(ids) == 1 and ids[0] in known]
    begin = [ids[1] - first for ids in banned if _at_the_beginning(ids, known)]
    sequences = [ids for ids in banned if len(ids) > 1 and _all(ids, known)]
    words = [_counted_from(first, ids) for ids in sequences]
    ends = _ends(said)
    if options["min_length"] and said.get("begin_suppress_tokens"):
        begin += [end for end in ends if end not in begin]
    found = {
        "suppress_tokens": single or None,
        "begin_suppress_tokens": begin or None,
        "bad_words_ids": words or None,
        "no_repeat_ngram_size": options["no_repeat_ngram"] or None,
        "repetition_penalty": _unless_one(options["repetition_penalty"]),
        **_strategy(options),
    }
    return {name: value for name, value in found.items() if value is not None or name in said}


def _counted_from(first: int, ids: Iterable[int]) -> list[int]:
    return [number - first for number in ids]


def _at_the_beginning(ids: Sequence[int], known: range) -> bool:
    return len(ids) == _PAIR and ids[0] == BOS and ids[1] in known


def _all(ids: Iterable[int], known: range) -> bool:
    return all(number in known for number in ids)


def _ends(said: Mapping[str, Any]) -> list[int]:
    ends = said.get("eos_token_id")
    found = ends if isinstance(ends, list) else [ends]
    return [end for end in found if isinstance(end, int)]


def _unless_one(value: float) -> float | None:
    return None if value == 1.0 else value


def _strategy(options: Options) -> dict[str, Any]:
    """Greedy and beam search; any other is what the caller of `generate` asks for."""
    if options["strategy"] == "beam":
        early = "never" if options["exhaustive"] else bool(options["early_stopping"])
        return {
            "num_beams": options["beam"],
            "length_penalty": _unless_one(options["length_penalty"]),
            "early_stopping": early,
            "do_sample": None,
        }
    names = ("num_beams", "length_penalty", "early_stopping", "do_sample")
    return dict.fromkeys(names) if options["strategy"] == "greedy" else {}
