"""scikit-learn, imported at first use."""

from __future__ import annotations

import random
from importlib import import_module
from typing import Any


def library(module: str) -> Any:
    """A module of scikit-learn, such as ``linear_model``.

    Its import changes the state of `random`, which is put back.
    """
    state = random.getstate()
    import sklearn  # noqa: F401

    found = import_module(f"sklearn.{module}")
    random.setstate(state)
    return found
