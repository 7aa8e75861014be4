"""An imported model on the disk: a run folder with one checkpoint, and what it takes to write the model back."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes
from torch import Tensor

from ofa_foreign.formats.dialects import Dialect
from ofa_foreign.formats.entry_json import to_json
from ofa_foreign.formats.reading import Foreign
from ofa_foreign.formats.tokens import Placement
from ofacore.batching.cursor import Cursor
from ofacore.checkpoint import Snapshot, save, step_folder, write_pointer
from ofacore.config import show
from ofacore.generalist.facade import Generalist
from ofacore.generalist.storing import described
from ofacore.ground.artifacts import Artifact
from ofacore.ground.json_text import json_text

ARTIFACT = "imported"
"""Artifact of an imported model: what it takes to write it back as it was, and which of our ids each token got."""
FORM, DICTIONARY, KEPT = "form.json", "dictionary.json", "kept.safetensors"


def artifact_of(
    foreign: Foreign, dialect: Dialect, placement: Placement, kept: Mapping[str, Tensor]
) -> Artifact:
    """What it takes to write the model back: names, order, types, and whatever ours does not hold."""
    types = {
        name: str(tensor.dtype).removeprefix("torch.") for name, tensor in foreign.tensors.items()
    }
    form: dict[str, Any] = {
        "form": foreign.form,
        "prefix": foreign.prefix,
        "lacking": foreign.lacking,
        "config": foreign.config,
        "generation": foreign.generation,
        "entries": to_json(dialect.entries),
        "copies": dialect.copies,
        "bias": [dialect.bias, list(dialect.tensors[dialect.bias].shape)] if dialect.bias else None,
        "head": dialect.head,
        "origin": dialect.origin,
        "types": {name: kind for name, kind in types.items() if kind != "float32"},
    }
    dictionary = {"names": placement.names, "ids": placement.ours()}
    files: dict[str, bytes] = {
        FORM: json_text(form, sort_keys=True).encode(),
        DICTIONARY: json_text(dictionary).encode(),
        KEPT: to_bytes({name: tensor.contiguous() for name, tensor in kept.items()}),
    }
    return Artifact(
        {**files, **{f"file-{name}": content for name, content in foreign.side_files().items()}}
    )


def write_run(generalist: Generalist, out: Path) -> None:
    """A run folder with one checkpoint, of step 0."""
    assembly = generalist.assembly
    state = {
        **described(assembly),
        "step": 0,
        "cursor": Cursor().state(),
        "faults": {},
        "callbacks": {},
    }
    folder = step_folder(out, 0)
    made = [parent for parent in (out, out / "checkpoints") if not parent.exists()]
    try:
        save(
            folder, Snapshot(generalist.model.portable_state(), state, artifacts=assembly.artifacts)
        )
        (out / "config.yaml").write_text(show(assembly.config, defaults=False), encoding="utf-8")
        write_pointer(out, "latest", folder, step=0)
    except BaseException:
        _remove(out, made)
        raise


def _remove(out: Path, made: Sequence[Path]) -> None:
    for folder in made[:1]:
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    (out / "config.yaml").unlink(missing_ok=True)
