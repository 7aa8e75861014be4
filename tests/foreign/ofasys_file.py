"""Files as the trainer of OFASys writes them: objects of classes that are gone by the time the file is read."""

from __future__ import annotations

import argparse
import json
import sys
import types
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

STORED = Path(__file__).parents[3] / "shared" / "parity"
_TRAINER = """
import enum
class Kind(enum.Enum):
    TEXT = 1
class Config:
    def __init__(self, values):
        self.__dict__.update({k: Config(v) if isinstance(v, dict) else v for k, v in values.items()})
class Meter:
    def __init__(self, value):
        self.val = value
"""


def write_checkpoint(
    path: Path,
    state: dict[str, torch.Tensor],
    settings: dict[str, Any],
    places: dict[str, int] | None,
    template: str = "",
    new: bool = True,
    size: int = 56,
    more: dict[str, Any] | None = None,
) -> None:
    """Write a trainer's file.

    Args:
        path: Where to.
        state: The model's tensors.
        settings: Its configuration.
        places: Token -> row; None: the file does not say.
        template: Instruction of its task.
        new: The archive format of PyTorch; otherwise the one before it.
        size: Side of its pictures in pixels.
        more: Other parts of the file, in place of the usual ones; None leaves one out.
    """
    module = types.ModuleType("vanished_ofasys")
    exec(compile(_TRAINER, module.__name__, "exec"), module.__dict__)
    sys.modules[module.__name__] = module
    preprocess = {
        "text": {"is_active": True, "bpe": "gpt2"},
        "image": {"is_active": True, "patch_image_size": size},
        "box": {"is_active": False, "box_dict_size": 480},
    }
    instruction = {"template": template, "mode": "auto"}
    task = {
        "_name": "summary",
        "instruction": instruction,
        "preprocess": preprocess,
        "dataset": {"update_freq": [1]},
    }
    tree = {
        "args": None,
        "cfg": argparse.Namespace(common=module.Config({"seed": 1}), model=None),
        "configstore": {
            "model": {"unify": module.Config(settings)},
            "task": {"default": module.Config(task)},
        },
        "model": state,
        "optimizer_history": [
            {"optimizer_name": "FairseqAdam", "lr_scheduler_state": {"best": None}}
        ],
        "last_optimizer_state": {"state": {0: {"exp_avg": torch.ones(3)}}},
        "extra_state": {
            "metrics": {"train": [(0, "loss", module.Meter(torch.tensor(1.0)))]},
            "kind": module.Kind.TEXT,
        },
        **({} if places is None else {"global_dict_indices": places}),
    }
    tree = {
        name: part
        for name, part in {**tree, **(more or {})}.items()
        if part is not None or name == "args"
    }
    try:
        torch.save(tree, path, _use_new_zipfile_serialization=new)
    finally:
        del sys.modules[module.__name__]


def stored_case(folder: Path, path: Path, **options: Any) -> dict[str, torch.Tensor]:
    """One of the stored cases as a trainer's file; returns its tensors."""
    state = load_file(folder / "state_dict.safetensors")
    settings = json.loads((folder / "model_config.json").read_text())
    places = json.loads((folder / "dictionary.json").read_text())
    write_checkpoint(path, state, settings, options.pop("places", places), **options)
    return state
