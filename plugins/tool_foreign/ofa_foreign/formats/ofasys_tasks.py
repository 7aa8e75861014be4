"""What the trainer of OFASys stores of its tasks: instructions, settings of preprocessors, and how it searches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_SEARCH = {
    "beam": "beam",
    "max_len": "max_length",
    "min_len": "min_length",
    "unkpen": "unk_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram",
    "temperature": "temperature",
    "return_n_best": "n_best",
    "sampling_topk": "top_k",
    "sampling_topp": "top_p",
    "diverse_beam_groups": "groups",
    "diverse_beam_strength": "diversity",
    "diversity_rate": "diversity",
}
"""Their name of an option of searching -> ours."""
_SWITCHES = {
    "sampling": "sample",
    "diverse_beam_groups": "diverse_beam",
    "diversity_rate": "diverse_siblings",
}
"""Option that switches a strategy on -> our name of the strategy."""
_READ = frozenset({*_SEARCH, *_SWITCHES, "lenpen", "normalize_scores"})


@dataclass(frozen=True)
class ForeignTask:
    """One task of another project.

    Attributes:
        instruction: Its template, or several.
        search: Keys of our generation section.
        plain_with_loss: Plain text of its target is learned too.
        left_out: What of it has no counterpart here.
    """

    instruction: str
    search: Mapping[str, Any] = field(default_factory=dict)
    plain_with_loss: bool = False
    left_out: tuple[str, ...] = ()


def tasks_of(store: Any) -> dict[str, ForeignTask]:
    """Name -> task, of all that have an instruction."""
    found: dict[str, ForeignTask] = {}
    for key, task in _sections(store):
        instruction = _mapping(task.get("instruction"))
        template = instruction.get("template")
        if template:
            name = str(task.get("_name") or key)
            search, left_out = _search(_mapping(task.get("evaluation")).get("generator_args"))
            found[name if name not in found else f"{name}_{key}"] = ForeignTask(
                _joined(template),
                search,
                instruction.get("decoder_plain_with_loss") is True,
                tuple(left_out),
            )
    return found


def preprocessing_of(store: Any) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """Settings of every active preprocessor, of the first task that has it; and whose other settings are not taken."""
    found: dict[str, Mapping[str, Any]] = {}
    owners: dict[str, str] = {}
    remarks = []
    for key, task in _sections(store):
        owner = str(task.get("_name") or key)
        for name, settings in _mapping(task.get("preprocess")).items():
            if not isinstance(settings, Mapping) or not settings.get("is_active"):
                continue
            if name not in found:
                found[name], owners[name] = settings, owner
            elif dict(settings) != dict(found[name]):
                remarks.append(
                    f"{owner}: preprocess.{name} differs from that of {owners[name]}, which was taken"
                )
    return found, remarks


def _search(given: Any) -> tuple[dict[str, Any], list[str]]:
    """Keys of our generation section, and what has no counterpart.

    Lengths ``max_len_a`` and ``max_len_b`` belong to the latter: nothing reads them there either.
    """
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            return {}, ["evaluation.generator_args: no JSON"]
    arguments = {str(name): value for name, value in _mapping(given).items() if value is not None}
    found: dict[str, Any] = {}
    for name, ours in _SEARCH.items():
        if name in arguments and _is_set(name, arguments[name]):
            found[ours] = arguments[name]
    if arguments.get("normalize_scores") and "lenpen" in arguments:
        found["length_penalty"] = arguments["lenpen"]
    strategy = next(
        (ours for name, ours in _SWITCHES.items() if _is_set(name, arguments.get(name))), ""
    )
    if strategy:
        found["strategy"] = strategy
    unread = ", ".join(
        f"{name}={value!r}" for name, value in arguments.items() if name not in _READ
    )
    return found, [f"evaluation.generator_args: {unread}"] if unread else []


def _is_set(name: str, value: Any) -> bool:
    """Whether an option has an effect: what is -1 or 0 there is switched off, but for lengths and penalties."""
    if name in ("sampling_topk", "sampling_topp", "return_n_best", *_SWITCHES):
        return isinstance(value, int | float) and value > 0
    return value is not None


def _sections(store: Any) -> list[tuple[str, Mapping[str, Any]]]:
    return [(str(key), task) for key, task in _mapping(store).items() if isinstance(task, Mapping)]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _joined(template: Any) -> str:
    return " ||| ".join(map(str, template)) if isinstance(template, list) else str(template)
