"""Dictionaries of other projects: which token each row of a table belongs to.

Known files: ``vocab.json`` (name -> row) with ``added_tokens.json``, ``tokenizer.json``, ``dictionary.json`` (name ->
row), and ``dict.txt`` (a name and a count a line, behind four core tokens, as fairseq writes it).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofacore.checkpoint.errors import CheckpointError

EXPECTED = "vocab.json, tokenizer.json, dictionary.json or dict.txt"
FAIRSEQ_CORE = ("<s>", "<pad>", "</s>", "<unk>")


def read_dictionary(folder: Path, rows: int) -> tuple[str, ...]:
    """Name of each row, empty for rows without one.

    Args:
        folder: Where the files are.
        rows: Rows of the token table.

    Raises:
        CheckpointError: There is no dictionary (names what is there), or it does not belong to a table of that size.
    """
    for name, read in (
        ("dictionary.json", _json_names), ("vocab.json", _vocab_names), ("tokenizer.json", _tokenizer_names),
        ("dict.txt", _fairseq_names),
    ):  # fmt: skip
        if (folder / name).is_file():
            return in_rows(read(folder / name), rows, folder / name)
    there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise CheckpointError(folder, f"no dictionary of its {rows} tokens: found {there}; expected {EXPECTED}")


def in_rows(places: Mapping[str, int], rows: int, path: Path) -> tuple[str, ...]:
    """Name of each row.

    Raises:
        CheckpointError: A row beyond the table, or two names for one row.
    """
    names = [""] * rows
    for name, row in places.items():
        if not 0 <= row < rows:
            raise CheckpointError(path, f"token '{name}' has row {row}, but the token table has {rows} rows")
        if names[row]:
            raise CheckpointError(path, f"tokens '{names[row]}' and '{name}' share row {row}")
        names[row] = name
    return tuple(names)


def read_json(path: Path) -> Any:
    """Parsed content.

    Raises:
        CheckpointError: It cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(path, f"damaged or not JSON ({error})") from error


def _table(value: Any, path: Path) -> dict[str, int]:
    if not isinstance(value, Mapping) or not all(isinstance(row, int) for row in value.values()):
        raise CheckpointError(path, "expected an object of token -> row")
    return dict(value)


def _json_names(path: Path) -> dict[str, int]:
    return _table(read_json(path), path)


def _vocab_names(path: Path) -> dict[str, int]:
    added = path.with_name("added_tokens.json")
    return {**_json_names(path), **(_json_names(added) if added.is_file() else {})}


def _tokenizer_names(path: Path) -> dict[str, int]:
    content = read_json(path)
    model = content.get("model", {}) if isinstance(content, Mapping) else {}
    words = model.get("vocab", {})
    listed = {pair[0]: row for row, pair in enumerate(words)} if isinstance(words, list) else _table(words, path)
    return {**listed, **{token["content"]: token["id"] for token in content.get("added_tokens", ())}}


def _fairseq_names(path: Path) -> dict[str, int]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = [*FAIRSEQ_CORE, *(line.rpartition(" ")[0] for line in lines)]
    return {name: row for row, name in enumerate(names)}
