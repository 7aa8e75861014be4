"""Dictionaries of other projects: which token each row of a table belongs to.

Known files: ``vocab.json`` (name -> row) with ``added_tokens.json``, ``tokenizer.json``, ``dictionary.json`` (name ->
row), and ``dict.txt`` (a name and a count a line, behind four core tokens, as fairseq writes it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ofacore.checkpoint.checkpoint_errors import CheckpointError
from ofacore.ground import json_files
from ofacore.ground.json_files import JsonError
from ofacore.ground.printable import shortened

EXPECTED = "vocab.json, tokenizer.json, dictionary.json or dict.txt"
FAIRSEQ_CORE = ("<s>", "<pad>", "</s>", "<unk>")


def read_dictionary(
    folder: Path, rows: int, more: Sequence[str] = (), trainers: bool = False
) -> tuple[str, ...]:
    """Name of each row, empty for rows without one.

    Args:
        folder: Where the files are.
        rows: Rows of the token table.
        more: Tokens that a model adds behind those of ``dict.txt``; taken where they fill the table.
        trainers: The model came as a trainer's file, whose own dictionary is ``dict.txt``; what else is there belongs
            to the tokenizer.

    Raises:
        CheckpointError: There is no dictionary (names what is there), or it does not belong to a table of that size.
    """
    readers = [
        ("dictionary.json", _json_names),
        ("vocab.json", _vocab_names),
        ("tokenizer.json", _tokenizer_names),
        ("dict.txt", lambda path: _fairseq_names(path, rows, more)),
    ]
    for name, read in sorted(readers, key=lambda pair: trainers and pair[0] != "dict.txt"):
        if (folder / name).is_file():
            return in_rows(read(folder / name), rows, folder / name)
    there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise CheckpointError(
        folder, f"no dictionary of its {rows} tokens: found {there}; expected {EXPECTED}"
    )


def in_rows(places: Mapping[str, int], rows: int, path: Path) -> tuple[str, ...]:
    """Name of each row.

    Raises:
        CheckpointError: A row beyond the table, or two names for one row.
    """
    names = [""] * rows
    for name, row in places.items():
        if not 0 <= row < rows:
            raise CheckpointError(
                path,
                f"token '{shortened(name)}' has row {row}, but the token table has {rows} rows",
            )
        if names[row]:
            raise CheckpointError(
                path, f"tokens '{shortened(names[row])}' and '{shortened(name)}' share row {row}"
            )
        names[row] = name
    return tuple(names)


def read_json(path: Path) -> Any:
    """Parsed content.

    Raises:
        CheckpointError: It cannot be read, or is no JSON or one of unbearable size.
    """
    try:
        return json_files.read_json(path)
    except JsonError as error:
        raise CheckpointError(path, error.reason) from error


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
    try:
        words = content["model"]["vocab"]
        listed = (
            {pair[0]: row for row, pair in enumerate(words)} if isinstance(words, list) else words
        )
        return _table(
            {
                **listed,
                **{token["content"]: token["id"] for token in content.get("added_tokens", ())},
            },
            path,
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(
            path, "holds no vocabulary; expected an object with model.vocab: token -> row"
        ) from error


def _fairseq_names(path: Path, rows: int, more: Sequence[str]) -> dict[str, int]:
    """A token that occurs twice has one row, that of the first."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(path, f"damaged or not UTF-8 ({error})") from error
    words = [_word(line, number, path) for number, line in enumerate(lines, 1) if line.strip()]
    names = list(dict.fromkeys([*FAIRSEQ_CORE, *words]))
    whole = list(dict.fromkeys([*names, *more]))
    known = whole if len(whole) == rows else names
    return {name: row for row, name in enumerate(known)}


def _word(line: str, number: int, path: Path) -> str:
    word, _, count = line.rstrip().removesuffix("#fairseq:overwrite").rstrip().rpartition(" ")
    if not word or not count.isdigit():
        raise CheckpointError(
            path, f"line {number}: '{line[:60]}' is no token and count, such as '262 18346'"
        )
    return word
