"""How a BART of Hugging Face starts and searches, in our terms, as far as our search has a counterpart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ofacore.checkpoint.checkpoint_errors import CheckpointError
from ofacore.ground.printable import shortened

_USUAL_LENGTH = 20
"""Tokens that `transformers` generates where nothing says how many."""
_USUAL_TOP_K = 50
_NEUTRAL: Mapping[str, Any] = {
    "begin_suppress_tokens": None,
    "constraints": None,
    "diversity_penalty": 0.0,
    "dola_layers": None,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "exponential_decay_length_penalty": None,
    "force_words_ids": None,
    "guidance_scale": 1.0,
    "max_time": None,
    "min_p": None,
    "num_beam_groups": 1,
    "penalty_alpha": None,
    "renormalize_logits": False,
    "sequence_bias": None,
    "stop_strings": None,
    "token_healing": False,
    "top_h": None,
    "typical_p": 1.0,
    "watermarking_config": None,
}
"""Settings that our search has no counterpart of, and the value that changes nothing."""


@dataclass(frozen=True)
class Search:
    """Generation as a checkpoint wants it.

    Attributes:
        options: Keys of our generation section.
        banned: Sequences of their token ids that are never generated.
        left_out: Settings without a counterpart.
    """

    options: Mapping[str, Any]
    banned: tuple[tuple[int, ...], ...] = ()
    left_out: tuple[str, ...] = field(default=())


def settings_of(config: Mapping[str, Any], generation: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of generation: where their own file is, ``config.json`` gives token ids alone."""
    if not generation:
        return dict(config)
    ids = {
        key: config.get(key) for key in ("bos_token_id", "eos_token_id", "decoder_start_token_id")
    }
    return {**ids, **{key: value for key, value in generation.items() if value is not None}}


def target_start(config: Mapping[str, Any], path: Path) -> str:
    """What the decoder reads first.

    Raises:
        CheckpointError: A start token that is neither the beginning nor the end of a sentence.
    """
    keys = ("bos_token_id", "eos_token_id", "decoder_start_token_id", "forced_bos_token_id")
    wrong = [
        f"{key} {shortened(repr(config[key]))}"
        for key in keys
        if not isinstance(config.get(key), int | None)
    ]
    if wrong:
        raise CheckpointError(
            path, f"found {', '.join(wrong)}; expected one token's number for each"
        )
    names = {config.get("bos_token_id"): "bos", config.get("eos_token_id"): "eos"}
    start = config.get("decoder_start_token_id")
    forced = config.get("forced_bos_token_id")
    if start not in names or (forced is not None and names.get(forced) != "bos"):
        known = f"bos_token_id {config.get('bos_token_id')} or eos_token_id {config.get('eos_token_id')}"
        raise CheckpointError(
            path, f"decoder_start_token_id {start}, forced_bos_token_id {forced}; expected {known}"
        )
    return f"{names[start]} bos" if forced is not None and names[start] == "eos" else names[start]


def search_of(config: Mapping[str, Any], generation: Mapping[str, Any], path: Path) -> Search:
    """What makes our search give what Hugging Face's gives.

    Args:
        config: ``config.json``.
        generation: ``generation_config.json``; empty if there is none.
        path: For messages.

    Raises:
        CheckpointError: A setting is not of its kind.
    """
    both = _Settings(settings_of(config, generation), path)
    start = 2 if both.values.get("forced_bos_token_id") is not None else 1
    forced_end = "none" if both.values.get("forced_eos_token_id") is None else "free"
    penalty = both.number("length_penalty")
    found: dict[str, Any] = {
        "core_tokens": True,
        **_stopping(both),
        "forced_end": forced_end,
        "length_penalty": 1.0 if penalty is None else penalty,
        **_strategy(both),
    }
    names = {"no_repeat_ngram_size": "no_repeat_ngram", "num_return_sequences": "n_best"}
    found |= {ours: number for name, ours in names.items() if (number := both.whole(name))}
    if repetition := both.number("repetition_penalty"):
        found |= {"repetition_penalty": repetition} if repetition != 1.0 else {}
    found["max_length"] = max(1, _length(both, config) - start - (forced_end != "none"))
    least, new = both.whole("min_length"), both.whole("min_new_tokens")
    least = least if new is None else new + 1
    if least:
        found["min_length"] = max(0, least - start)
    banned, left_out = _banned(both)
    left_out += [
        f"{name}={shortened(repr(both.values[name]))}"
        for name, neutral in _NEUTRAL.items()
        if both.values.get(name, neutral) not in (neutral, None)
    ]
    if found["max_length"] > (most := max(1, config["max_position_embeddings"] - start)):
        left_out.append(
            f"max_length={found['max_length']} beyond its {config['max_position_embeddings']} positions"
        )
        found["max_length"] = most
    if both.values.get("do_sample") is True and found.get("strategy") == "beam":
        left_out.append("do_sample=True together with num_beams")
    told = tuple(
        f"generation setting {line}: the search here has none like it" for line in left_out
    )
    return Search(found, banned, told)


class _Settings:
    """Settings whose types are checked when they are asked for."""

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.values, self.path = values, path

    def number(self, name: str) -> float | None:
        """A number, or None where there is none."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise CheckpointError(
                self.path, f"found {name} {shortened(repr(value))}; expected a number"
            )
        return float(value)

    def whole(self, name: str) -> int | None:
        """A whole number, or None where there is none."""
        value = self.number(name)
        return None if value is None else int(value)

    def ids(self, name: str, value: Any) -> tuple[int, ...]:
        """A list of token ids."""
        if not isinstance(value, list) or not all(isinstance(part, int) for part in value):
            raise CheckpointError(
                self.path, f"found {name} {shortened(repr(value))}; expected lists of token ids"
            )
        return tuple(value)


def _stopping(settings: _Settings) -> dict[str, bool]:
    value = settings.values.get("early_stopping")
    if value not in (None, True, False, "never"):
        found = f"found early_stopping {shortened(repr(value))}"
        raise CheckpointError(settings.path, f"{found}; expected true, false or never")
    return {"early_stopping": value is True, **({"exhaustive": True} if value == "never" else {})}


def _strategy(settings: _Settings) -> dict[str, Any]:
    beams = settings.whole("num_beams") or 1
    if beams > 1:
        return {"strategy": "beam", "beam": beams}
    if settings.values.get("do_sample") is not True:
        return {}
    top_k = settings.whole("top_k")
    found: dict[str, Any] = {
        "strategy": "sample",
        "top_k": _USUAL_TOP_K if top_k is None else top_k,
    }
    numbers = {name: settings.number(name) for name in ("top_p", "temperature")}
    return found | {name: number for name, number in numbers.items() if number is not None}


def _length(settings: _Settings, config: Mapping[str, Any]) -> int:
    """Most tokens, what the decoder starts with and the end counted."""
    new, most = settings.whole("max_new_tokens"), settings.whole("max_length")
    if new is not None:
        return new + 1
    return most if most is not None else min(_USUAL_LENGTH + 1, config["max_position_embeddings"])


def _banned(settings: _Settings) -> tuple[tuple[tuple[int, ...], ...], list[str]]:
    """Sequences that are never generated; the end of a sentence alone is none of them."""
    words = settings.values.get("bad_words_ids") or []
    if not isinstance(words, list):
        raise CheckpointError(
            settings.path, f"found bad_words_ids {shortened(repr(words))}; expected lists of ids"
        )
    single = settings.ids("suppress_tokens", settings.values.get("suppress_tokens") or [])
    end = settings.values.get("eos_token_id")
    found = [
        *((token,) for token in single),
        *(settings.ids("bad_words_ids", word) for word in words),
    ]
    lost = [f"suppress_tokens of the end of a sentence ({end})"] if end in single else []
    return tuple(dict.fromkeys(ids for ids in found if ids and ids != (end,))), lost
