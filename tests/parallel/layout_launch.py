"""Cases of layouts without stages that every rank of a launch runs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ofacore.parallel import process_groups as groups
from ofacore.parallel.process_grid import ProcessGrid
from tests.parallel import layout_runs as runs
from tests.parallel.exact_runs import exact_case
from tests.parallel.layout_cases import MODELS, gradients_case

FEW = ["rotary", "untied"]
SPLIT = [name for name in MODELS if name not in ("biased", "whole heads")]


def cases(folder: Path) -> dict[str, Callable[[], Any]]:
    """Name -> what to do; results are numbers by name, of this rank."""
    return {
        "tensor": lambda: gradients_case({"tensor": 2}, [*FEW, "biased", "whole heads"]),
        "sequence": lambda: gradients_case({"tensor": 2, "sequence": True}, SPLIT),
        "data": lambda: gradients_case({}, ["rotary", "learned"]),
        "experts": lambda: gradients_case(
            {"expert": 2},
            [*FEW, "learned", "leaning", "shared", "low-rank experts", "frozen encoder"],
        ),
        "fsdp": lambda: gradients_case(
            {"fsdp": True}, [*FEW, "shared", "low-rank experts", "frozen encoder"]
        ),
        "tensor and replicas": lambda: gradients_case({"tensor": 2}, FEW),
        "tensor and data": lambda: gradients_case(
            {"tensor": 2, "sequence": True, "zero": True}, FEW
        ),
        "tensor and experts": lambda: gradients_case(
            {"tensor": 2, "expert": 2}, ["untied", "learned", "shared"]
        ),
        "muon, tensor": lambda: runs.optimizer_case(runs.MUON, "rotary", tensor=2),
        "muon, zero": lambda: runs.optimizer_case(runs.MUON, "rotary", zero=True),
        "muon, fsdp": lambda: runs.optimizer_case(runs.MUON, "rotary", fsdp=True),
        "muon, experts": lambda: runs.optimizer_case(runs.MUON, "rotary", expert=2),
        "adamw, sequence": lambda: runs.optimizer_case(
            runs.ADAMW, "untied", tensor=2, sequence=True
        ),
        "adamw, zero": lambda: runs.optimizer_case(runs.ADAMW, "untied", zero=True),
        "muon, tensor and zero": lambda: runs.optimizer_case(
            runs.MUON, "rotary", tensor=2, zero=True, expert=2
        ),
        "bf16, zero": lambda: runs.bf16_case(zero=True),
        "bf16, sequence": lambda: runs.bf16_case(tensor=2, sequence=True),
        "exact, zero": lambda: exact_case(folder / "exact zero", zero=True),
        "exact, fsdp": lambda: exact_case(folder / "exact fsdp", fsdp=True),
        "exact, tensor": lambda: exact_case(folder / "exact tensor", tensor=2, sequence=True),
        "exact, pipeline": lambda: exact_case(folder / "exact pipeline", pipeline=2),
        "exact, experts": lambda: exact_case(folder / "exact experts", expert=2, zero=True),
        "mixed modalities": runs.mixed_modalities,
        "collective adapter": lambda: runs.mixed_modalities(runs.coupled),
        "nan": lambda: runs.fault_case("nan"),
        "memory": lambda: runs.fault_case("memory"),
        "memory, contrast": lambda: runs.fault_case("memory", "contrast"),
        "dropout": lambda: runs.dropout_case(tensor=2),
        "dropout, sequence": lambda: runs.dropout_case(tensor=2, sequence=True),
        "decoding": lambda: runs.decoding_case(tensor=2, sequence=True),
        "decoding, fsdp": lambda: runs.decoding_case(fsdp=True),
        "cross-entropy": runs.cross_entropy_case,
        "different start": runs.different_start,
        "marks": runs.marks,
        "run": lambda: runs.training_case(folder / "run", 6),
        "run, tensor": lambda: runs.training_case(folder / "tensor", 6, tensor=2, sequence=True),
        "run, begin": lambda: runs.training_case(folder / "resumed", 2, expert=2),
        "run, go on": lambda: runs.training_case(folder / "resumed", 4, zero=True),
    }


def main(folder: Path, names: list[str]) -> None:
    """Run some cases; each rank writes ``<name>.<rank>.json``."""
    torch.set_num_threads(1)
    groups.start(ProcessGrid(int(os.environ["WORLD_SIZE"])))
    known = cases(folder)
    for name in names:
        began = time.perf_counter()
        result = known[name]()
        (folder / f"{name}.{dist.get_rank()}.json").write_text(json.dumps(result))
        print(f"{name}: {time.perf_counter() - began:.1f} s", flush=True)
    groups.stop()
