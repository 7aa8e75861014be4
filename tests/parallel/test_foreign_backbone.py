"""A backbone of transformers learns the same on several processes, whole or split by FSDP; other ways are refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from ofacore.config.schema import RunConfig
from ofacore.plugin import Registry
from ofacore.setup.layout_check import layout_problems
from tests.parallel import foreign_backbone_cases as cases
from tests.parallel.launching import ROOT, launch

FOLDERS = ROOT / "plugins/backbone_transformers/tests/folders.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of small models, and the weights that two ranks came to."""
    spec = importlib.util.spec_from_file_location("small_models", FOLDERS)
    assert spec is not None and spec.loader is not None
    small = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(small)
    place = tmp_path_factory.mktemp("folders")
    for family in cases.FAMILIES:
        small.save(family, place / family)
    done = launch("tests.parallel.foreign_backbone_cases", 2, str(place))
    assert [code for code, _ in done] == [0, 0], "\n".join(output[-3000:] for _, output in done)
    return place


@pytest.mark.dist
@pytest.mark.parametrize("family", cases.FAMILIES)
def test_two_ranks_learn_what_one_does(place: Path, family: str) -> None:
    alone = cases.trained(place / family, place / f"alone {family}")
    for layout in cases.LAYOUTS:
        found = torch.load(place / f"{layout} {family}.pt", weights_only=True)
        assert found.keys() == alone.keys()
        for name, tensor in alone.items():
            assert torch.allclose(found[name], tensor, atol=1e-5), (layout, name)


@pytest.mark.parametrize("parallel", [{"nproc": 2, "tp": 2}, {"nproc": 2, "pp": 2}])
def test_layers_are_not_cut(parallel: dict[str, int]) -> None:
    named = {"name": "transformers", "path": "somewhere"}
    config = RunConfig.model_validate({"model": {"backbone": named}, "parallel": parallel})
    problems = layout_problems(config, {}, Registry.discover())
    assert any("backbone 'transformers'" in str(problem) for problem in problems)
