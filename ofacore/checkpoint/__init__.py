"""Checkpoints on disk: safetensors and JSON, written so that a crash at any moment leaves the previous one usable."""

from ofacore.checkpoint.checkpoint_errors import CheckpointError, check_fit
from ofacore.checkpoint.portable import Snapshot, load, load_state, save, save_sharded, standing
from ofacore.checkpoint.run_folder import (
    checkpoints,
    find_latest,
    pointer_facts,
    prune,
    read_pointer,
    step_folder,
    write_pointer,
)
from ofacore.checkpoint.sharded import is_sharded, read_shards, stored

__all__ = [
    "CheckpointError",
    "Snapshot",
    "check_fit",
    "checkpoints",
    "find_latest",
    "is_sharded",
    "load",
    "load_state",
    "pointer_facts",
    "prune",
    "read_pointer",
    "read_shards",
    "save",
    "save_sharded",
    "standing",
    "step_folder",
    "stored",
    "write_pointer",
]
