"""Structures as files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from ofa_modality_structured.cells import cell_text
from ofa_modality_structured.schema import Schema, schema_dict
from ofa_modality_structured.values import Structure, held_structure


def save_structure(value: Any, path: Path) -> None:
    """Write a value as .json, .csv or .txt, in UTF-8.

    Raises:
        ValueError: The ending is another, or a .csv is asked for and the value has no rows.
        OSError: The file cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in (".json", ".csv", ".txt"):
        raise ValueError("a structure is written as .json, .csv or .txt")
    structure = held_structure(value)
    if ending == ".csv":
        _save_rows(structure, path)
    elif structure is None:
        path.write_text(str(value), encoding="utf-8")
    else:
        path.write_text(_json(structure), encoding="utf-8")


def _json(structure: Structure) -> str:
    plain = schema_dict(structure) if isinstance(structure, Schema) else structure.plain
    return json.dumps(plain, ensure_ascii=False, indent=1)


def _save_rows(structure: Structure | None, path: Path) -> None:
    if structure is None or isinstance(structure, Schema):
        raise ValueError("this value has no rows: write it as .json or .txt")
    head = [structure.head] if structure.head else []
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for row in (*head, *structure.rows):
            writer.writerow([cell_text(cell) for cell in row])
