"""Feed-forward experts by modality of OFASys (its ``modal_ffn``), as experts of our adapters.

There the slot type that begins a run decides; here the adapter does. They agree where all runs of an adapter on one
side begin with slots of one type, or where the experts of these types are equal.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ofa_foreign.formats.ofa_names import EXPERTS
from ofacore.checkpoint.checkpoint_errors import CheckpointError

_SIDES = {"encoder": "source", "decoder": "target"}
_EXPERT = re.compile(r"^(encoder|decoder)\.layers\.\d+\.experts_fc[12]\.(\d{1,4})\.(weight|bias)$")


def chosen(
    tensors: Mapping[str, Tensor],
    adapters: Sequence[str],
    uses: Mapping[tuple[str, str], Collection[str]],
    path: Path,
) -> dict[str, dict[str, int]]:
    """Side (``encoder`` or ``decoder``) -> our adapter -> number of its expert; empty for a state without experts.

    Args:
        tensors: The state.
        adapters: Our adapters.
        uses: (side, adapter) -> types of the slots that begin its runs.
        path: For messages.

    Raises:
        CheckpointError: One adapter would need several different experts.
    """
    numbers = {int(match[2]) for name in tensors if (match := _EXPERT.match(name))}
    if not numbers:
        return {}
    found: dict[str, dict[str, int]] = {}
    for side, ours in _SIDES.items():
        found[side] = {}
        for adapter in adapters:
            other = next(name for name in _SIDES.values() if name != ours)
            types = uses.get((ours, adapter)) or uses.get((other, adapter)) or EXPERTS[:1]
            found[side][adapter] = _number(tensors, side, adapter, sorted(types), numbers, path)
    return found


def _number(
    tensors: Mapping[str, Tensor],
    side: str,
    adapter: str,
    types: Sequence[str],
    numbers: Collection[int],
    path: Path,
) -> int:
    unknown = [kind for kind in types if kind not in EXPERTS or EXPERTS.index(kind) not in numbers]
    if unknown:
        raise CheckpointError(
            path, f"has no experts for slots of type {', '.join(unknown)}; it has {len(numbers)}"
        )
    wanted = [EXPERTS.index(kind) for kind in types]
    for other in wanted[1:]:
        if not _equal(tensors, side, wanted[0], other):
            what = f"runs of the {side} begin with slots of {' and '.join(types)}, whose experts differ there"
            raise CheckpointError(
                path,
                f"{what}; here adapter '{adapter}' has one: expected instructions with one type",
            )
    return wanted[0]


def _equal(tensors: Mapping[str, Tensor], side: str, one: int, other: int) -> bool:
    first = {
        name: tensor
        for name, tensor in tensors.items()
        if (m := _EXPERT.match(name)) and m[1] == side
    }
    own = {
        name: tensor
        for name, tensor in first.items()
        if f"fc1.{one}." in name or f"fc2.{one}." in name
    }
    return all(
        tensor.equal(first[re.sub(rf"(fc[12])\.{one}\.", rf"\1.{other}.", name)])
        for name, tensor in own.items()
    )
