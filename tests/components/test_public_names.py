"""What plugins may import from `ofacore.parts`, and that manifests and starter data stay light by it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ofacore import parts

LIGHT = (
    "PackageSource", "Trie", "empty_splits", "fetch", "grid_modality", "lower", "majority", "prepared", "split_of",
    "text_id",
)  # fmt: skip
PROGRAM = (
    "import sys\nfrom ofacore.parts import {}\nprint(sorted({{'torch', 'transformers', 'PIL'}} & set(sys.modules)))"
)


def loaded(names):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(names)], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("name", parts.__all__)
def test_every_public_name_is_there(name):
    assert getattr(parts, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = parts.nothing


def test_starter_data_and_transforms_load_no_torch():
    assert loaded(", ".join(LIGHT)) == "[]\n"


def test_parts_of_a_model_do():
    assert loaded("TokenHead") == "['torch']\n"
