"""Splits that data have by the names of their parts: folders, tables, or the parts of a saved dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ofacore.sources.folder import TABLE_STEMS, TABLE_SUFFIXES

SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test",),
}
"""Split -> what it is called, the likeliest first."""
SAVED = "dataset_dict.json"
"""The file by which a folder is a dataset of Hugging Face with its splits."""


def named_splits(data: str) -> dict[str, str]:
    """Where each split is, by the names of what a folder holds.

    Args:
        data: A folder of folders or tables that are called ``train``, ``val`` and so on; of a folder and a table with
            one name, the table counts. Or a saved dataset, which stands for all of its splits.

    Returns:
        Split -> a path; empty where nothing has the name of a split.
    """
    folder = Path(data)
    if (folder / SAVED).is_file():
        present = {entry.name for entry in folder.iterdir()}
        return {split: data for split, names in SPLIT_NAMES.items() if present & set(names)}
    if not folder.is_dir():
        return {}
    named = {entry.name.lower(): str(entry) for entry in folder.iterdir() if entry.is_dir()}
    tables = [path for path in folder.iterdir() if path.suffix.lower() in TABLE_SUFFIXES]
    if any(path.stem in TABLE_STEMS for path in tables):
        return {}
    named |= {path.stem.lower(): str(path) for path in sorted(tables)}
    splits = {}
    for split, names in SPLIT_NAMES.items():
        there = [named[name] for name in names if name in named]
        if there:
            splits[split] = there[0]
    return splits
