"""What plugins may import from `ofacore.parts`, and that manifests and starter data stay light by it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ofacore import parts

LIGHT = ("SEARCH_OPTIONS", "Trie", "grid_modality", "lower")
STARTER = ("PackageSource", "empty_splits", "fetch", "majority", "prepared", "split_of", "text_id")
PROGRAM = """
import sys
from {} import {}
print(sorted({{"torch", "transformers", "PIL"}} & set(sys.modules)))
"""


def loaded(module, *names):
    program = PROGRAM.format(module, ", ".join(names))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("name", parts.__all__)
def test_every_public_name_is_there(name):
    assert getattr(parts, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = parts.nothing


def test_starter_data_and_transforms_load_no_torch():
    assert loaded("ofacore.parts", *LIGHT) == "[]"
    assert loaded("ofa_starter", *STARTER) == "[]"


def test_parts_of_a_model_do():
    assert loaded("ofacore.parts", "TokenHead") == "['torch']"
