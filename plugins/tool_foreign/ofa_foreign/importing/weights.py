"""The weights of an imported model, compared name by name and shape by shape."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ofa_foreign.formats import pooling_decoders
from ofa_foreign.formats.dialects import Dialect
from ofa_foreign.formats.mapping import Findings, compare, taken
from ofa_foreign.formats.tokens import Placement, divided, excluded_bias
from ofacore.checkpoint import CheckpointError
from ofacore.checkpoint.checkpoint_errors import listed
from ofacore.ground.errors import UserError
from ofacore.ground.printable import shortened

_SHOWN = 16
"""Findings of one kind that are listed."""
_LONGEST = 240


def weights_of(
    dialect: Dialect,
    placement: Placement,
    own: Mapping[str, Tensor],
    used: Collection[tuple[str, str]],
    path: Path,
) -> tuple[dict[str, Tensor], dict[str, Tensor], Findings]:
    """Our tensors, what is kept to write theirs back, and what does not fit.

    Args:
        dialect: The checkpoint.
        placement: Where its tokens go.
        own: Our portable state, with initial values.
        used: (side, adapter) that instructions use: what is learned for other sides alone need not be there.
        path: For messages.

    Raises:
        CheckpointError: Weights are whole numbers, as quantised ones are.
    """
    adapters = {adapter for _, adapter in used}
    unused = [
        (side, name)
        for side in ("source", "target")
        for name in adapters
        if (side, name) not in used
    ]
    special = {dialect.table, dialect.bias, dialect.head, *dialect.idle}
    tensors = {name: tensor for name, tensor in dialect.tensors.items() if name not in special}
    has_experts = any(EXPERT.search(entry.ours) for entry in dialect.entries)
    dense = dict(own) if has_experts else _dense(own)
    ours = {name: tuple(tensor.shape) for name, tensor in dense.items()}
    _check_numbers(dialect, tensors, dense, path)
    theirs = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    findings = compare(dialect.entries, ours, theirs)
    fits = {name: tensor for name, tensor in tensors.items() if name not in findings.shapes}
    state, kept = taken([entry for entry in dialect.entries if entry.ours in ours], fits, dense)
    told = _told(dialect, findings)
    unmade = [name for name in _to_be_made(dense, unused) if name not in state and name not in told]
    lost = [
        f"tokens of {block}: {listed(list(tokens))}" for block, tokens in placement.missing.items()
    ]
    missing = (*findings.missing, *(f"{name} (ours)" for name in unmade), *lost)
    aside = set_aside(dialect, used, findings.unexpected)
    unexpected = tuple(name for name in findings.unexpected if name not in aside)
    state = _in_own_types(state, own) | _token_tables(dialect, placement, own)
    leftover = {
        name: dialect.tensors[name]
        for name in (*dialect.idle, *findings.unexpected)
        if name in dialect.tensors
    }
    leftover |= {name: tensors[name] for name in findings.shapes}
    spread = state if has_experts else for_experts(state, own)
    return (
        spread,
        {**kept, **leftover, **dialect.whole},
        Findings(missing, unexpected, findings.shapes, tuple(aside)),
    )


def _to_be_made(own: Mapping[str, Tensor], unused: Sequence[tuple[str, str]]) -> list[str]:
    """Names of weights that tensors of the checkpoint are to give: not those of tokens, nor of unused adapters."""
    beginnings = ["embedding."]
    for side, adapter in unused:
        beginnings += _own_names(side, adapter)
    left_out = tuple(beginnings)
    return [
        name
        for name, tensor in own.items()
        if tensor.is_floating_point() and not name.startswith(left_out)
    ]


def _token_tables(
    dialect: Dialect, placement: Placement, own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The checkpoint's token table, its head and the bias of tokens, divided among our blocks."""
    found = divided(placement, dialect.tensors[dialect.table].float())
    if dialect.head:
        found |= divided(placement, dialect.tensors[dialect.head].float(), ".output")
    if any(name.endswith(".bias") and name.startswith("embedding.") for name in own):
        bias = dialect.tensors[dialect.bias].float() if dialect.bias else None
        found |= excluded_bias(placement, bias)
    return found


def _in_own_types(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor with the type of the model's own of that name, where there is one."""
    found = dict(state)
    for name in state.keys() & own.keys():
        found[name] = state[name].to(own[name].dtype)
    return found


def _check_numbers(
    dialect: Dialect, tensors: Mapping[str, Tensor], ours: Mapping[str, Tensor], path: Path
) -> None:
    """What becomes weights of ours has numbers that can be.

    Raises:
        CheckpointError: Some are whole numbers, as quantised weights are.
    """
    real = {
        name
        for e in dialect.entries
        if e.ours in ours and ours[e.ours].is_floating_point()
        for name in e.theirs
    }
    read = {**tensors, dialect.table: dialect.tensors[dialect.table]}
    whole = [
        n for n in sorted({*real, dialect.table}) if n in read and not read[n].is_floating_point()
    ]
    if whole:
        kind = str(read[whole[0]].dtype).removeprefix("torch.")
        what = f"{len(whole)} tensors hold whole numbers ('{whole[0]}': {kind}), as quantised weights do"
        raise CheckpointError(
            path, f"{what}; expected floating-point numbers: save the model unquantised"
        )


def set_aside(
    dialect: Dialect, used: Collection[tuple[str, str]], unexpected: Sequence[str]
) -> dict[str, str]:
    """Name -> what it is, of tensors that belong to something whole that no instruction uses."""
    found = {}
    for name in unexpected:
        side, adapter = dialect.parts.get(name, ("", ""))
        if adapter and (side, adapter) not in used:
            found[name] = f"adapter {adapter} of the {side}"
        elif decoder := pooling_decoders.decoder_of(name):
            found[name] = f"additional decoder {decoder}"
    return found


def aside_lines(
    dialect: Dialect, used: Collection[tuple[str, str]], names: Sequence[str]
) -> list[str]:
    """What was set aside, in words."""
    counts = Counter(set_aside(dialect, used, names).values())
    return [
        f"{what}: {number} tensors that no instruction uses, kept for an export"
        for what, number in counts.items()
    ]


def _own_names(side: str, adapter: str) -> tuple[str, ...]:
    """Beginnings of the names of what the model has for one adapter on one side."""
    stack = "encoder" if side == "source" else "decoder"
    return (
        f"{side}_norm.{adapter}.",
        f"backbone.positions.{stack}.{adapter}.",
        f"types.{side}/{adapter}",
    )


def _told(dialect: Dialect, findings: Findings) -> set[str]:
    """Tensors of ours that are told of already, as missing or of a wrong shape under their foreign names."""
    told = {*findings.missing, *findings.shapes}
    return {entry.ours for entry in dialect.entries if told & set(entry.theirs)}


EXPERT = re.compile(r"\.ffn\.each\.([^.]+)\.")


def _dense(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors, copies of one feed-forward network under the name that it has in a dense model."""
    return {EXPERT.sub(".ffn.", name): tensor for name, tensor in own.items()}


def for_experts(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every expert gets the dense network, so that the model computes what the dense one did."""
    copies = {n: state[d] for n in own if (d := EXPERT.sub(".ffn.", n)) != n and d in state}
    return {
        **{name: tensor for name, tensor in state.items() if name in own or not copies},
        **copies,
    }


def judged(findings: Findings, allow: Sequence[str], path: Path) -> list[str]:
    """Findings that are allowed.

    Raises:
        CheckpointError: Some are not; lists them all.
        UserError: A pattern is no regular expression.
    """
    try:
        patterns = [re.compile(text) for text in allow]
    except re.error as error:
        raise UserError(f"--allow {error.pattern!r} is no regular expression: {error}") from None

    def allowed(name: str) -> bool:
        return any(pattern.search(name) for pattern in patterns)

    problems = findings.lines(allowed)
    if problems:
        shown = "\n  ".join(_first(problems))
        remedy = (
            "an --instruction that uses what is unexpected, or --allow PATTERN to go on without"
        )
        raise CheckpointError(
            path, f"does not fit; nothing was written:\n  {shown}\nThe way out: {remedy}"
        )
    return _first(findings.lines())


def _first(lines: Sequence[str]) -> list[str]:
    """As many of each kind as fit on a screen, and how many more there are."""
    kinds: dict[str, list[str]] = {}
    for line in lines:
        kinds.setdefault(line.partition(":")[0], []).append(shortened(line, _LONGEST))
    found: list[str] = []
    for kind, own in kinds.items():
        found += own[:_SHOWN]
        if len(own) > _SHOWN:
            found.append(f"{kind}: {len(own) - _SHOWN} more")
    return found
