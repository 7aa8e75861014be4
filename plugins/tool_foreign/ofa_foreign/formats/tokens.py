"""Tokens of another project's dictionary in our vocabulary: each row finds its place by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ofacore.ground.vocabulary import BOS, EOS, MASK, PAD, UNK, Block, Vocabulary

EXCLUDED = -1e9
"""Bias of tokens that the other project has not: no softmax ever gives them anything."""
CORE_NAMES = (("<s>",), ("<pad>",), ("</s>",), ("<unk>",), (), ("<mask>",))
"""Names of our core tokens elsewhere; nobody else has a separator."""
UNNAMED = "unnamed"
_NEEDED = {BOS, EOS}
_SETTINGS = {
    "bos_token_id": BOS,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
    "unk_token_id": UNK,
    "mask_token_id": MASK,
}


@dataclass(frozen=True)
class Placement:
    """Where every row of a foreign token table stands in our vocabulary.

    Attributes:
        vocabulary: Ours: the core, blocks that preprocessors own, and one block of rows that none does.
        rows: int64 [size]: row of the foreign table for each of our ids, -1 where it has none.
        names: The foreign dictionary.
        unowned: Names (or ``row 17``) of rows that no preprocessor owns.
        missing: Block -> names of its tokens that the dictionary lacks; of the core those that every sequence needs.
    """

    vocabulary: Vocabulary
    rows: Tensor
    names: tuple[str, ...]
    unowned: tuple[str, ...]
    missing: Mapping[str, tuple[str, ...]]

    def ours(self) -> list[int]:
        """Our id of each row of the foreign table."""
        ids = torch.full((len(self.names),), -1, dtype=torch.int64)
        known = (self.rows >= 0).nonzero().squeeze(1)
        ids[self.rows[known]] = known
        return ids.tolist()


def place_tokens(
    names: Sequence[str],
    blocks: Mapping[str, Sequence[tuple[str, ...]]],
    core: Sequence[tuple[str, ...]] = CORE_NAMES,
) -> Placement:
    """Find every token by name.

    Args:
        names: The foreign dictionary, a name for each row.
        blocks: Our blocks -> names of each of their tokens.
        core: Names of the core tokens.
    """
    place = {name: row for row, name in enumerate(names) if name}
    taken: set[int] = set()
    rows: list[int] = []
    missing: dict[str, tuple[str, ...]] = {}
    for block, tokens in {"core": core, **blocks}.items():
        found = []
        for known in tokens:
            row = next(
                (place[name] for name in known if name in place and place[name] not in taken), -1
            )
            found.append(row)
            taken.add(row)
        rows += found
        pairs = enumerate(zip(tokens, found, strict=True))
        lost = [
            known[-1]
            for i, (known, row) in pairs
            if any(known) and row < 0 and (block != "core" or i in _NEEDED)
        ]
        if lost:
            missing[block] = tuple(lost)
    rest = [row for row in range(len(names)) if row not in taken]
    joined = [Block(name, len(tokens)) for name, tokens in blocks.items()]
    joined += [Block(f"{UNNAMED}:{len(rest)}", len(rest))] if rest else []
    unowned = tuple(names[row] or f"row {row}" for row in rest)
    vocabulary = Vocabulary().extend(joined)
    return Placement(vocabulary, torch.tensor([*rows, *rest]), tuple(names), unowned, missing)


def core_names(names: Sequence[str], config: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Names of our core tokens: those in the rows that a configuration gives (``bos_token_id``), then the usual ones.

    Args:
        names: The foreign dictionary.
        config: The foreign model's configuration.
    """
    found = list(CORE_NAMES)
    for key, token in _SETTINGS.items():
        row = config.get(key)
        if isinstance(row, int) and 0 <= row < len(names) and names[row]:
            found[token] = (names[row], *CORE_NAMES[token])
    return found


def divided(
    placement: Placement, table: Tensor, suffix: str = "", absent: float | None = None
) -> dict[str, Tensor]:
    """A foreign table (or vector) over tokens as ``embedding.<block><suffix>``.

    Args:
        placement: Where its rows go.
        table: [rows, ...].
        suffix: Of the portable name.
        absent: Value for tokens that it lacks; None: zeros, but only for blocks that it knows some token of.
    """
    found: dict[str, Tensor] = {}
    for block in placement.vocabulary.blocks:
        part = placement.vocabulary.range(block.name)
        rows = placement.rows[part.start : part.stop]
        known = rows >= 0
        values = table.new_full((block.size, *table.shape[1:]), absent or 0.0)
        values[known] = table[rows[known]]
        found[f"embedding.{block.name}{suffix}"] = values
    return found


def gathered(
    vocabulary: Vocabulary, ours: Sequence[int], state: Mapping[str, Tensor], suffix: str = ""
) -> Tensor:
    """The foreign table again: the row of each of its tokens, by our ids.

    Args:
        vocabulary: Ours.
        ours: Our id of each of its rows.
        state: Portable name -> tensor.
        suffix: Of the portable names.
    """
    whole = torch.cat([state[f"embedding.{block.name}{suffix}"] for block in vocabulary.blocks])
    return whole[torch.tensor(ours)]


def excluded_bias(placement: Placement, table: Tensor | None) -> dict[str, Tensor]:
    """Biases of all tokens: those of the foreign model, and `EXCLUDED` where it has no such token."""
    rows = torch.zeros(len(placement.names)) if table is None else table.flatten()
    return divided(placement, rows, ".bias", EXCLUDED)
