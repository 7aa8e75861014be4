"""Checkpoints of other projects on the disk: what kind they are, and everything that is in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ofa_foreign.formats.bounds import AmplifiedError
from ofa_foreign.formats.dictionary import in_rows, read_dictionary, read_json
from ofa_foreign.formats.inert import plain
from ofa_foreign.formats.ofasys_tasks import ForeignTask, preprocessing_of, tasks_of
from ofa_foreign.formats.unpickling import LazyTensor, read_torch_file
from ofa_foreign.formats.weight_files import (
    INDEX,
    WEIGHTS,
    check_fetched,
    described,
    load_tensors,
    read_weights,
    tensors_of,
    unwrapped,
)
from ofacore.checkpoint.checkpoint_errors import CheckpointError
from ofacore.ground.printable import shortened
from ofacore.plugin import suggest

Form = Literal["bart", "ofa", "ofasys"]
EXPECTED = (
    "a checkpoint of OFASys (a .pt file), or a folder with config.json and model.safetensors or pytorch_model.bin "
    "whose model_type is bart or ofa"
)
STATE = ("state_dict.safetensors", "model_config.json")
"""An OFASys state without pickle: tensors, and the model's configuration."""
BASE = "model."
"""Before every name of a BART but those of its heads."""
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
SIDE_FILES = (
    "config.json",
    "generation_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
"""Files that are written back as they were."""


@dataclass(frozen=True)
class Foreign:
    """What was found.

    Attributes:
        path: What the user named.
        folder: Where files of its vocabulary are.
        form: Which project's.
        config: Its model's configuration, plain.
        tensors: Name -> tensor, as stored.
        generation: Its options of generation, if it tells any.
        places: Token -> row, where the checkpoint itself says so.
        tasks: Name -> task that it was trained for, where it says so.
        preprocessing: Preprocessor -> its settings there, where it says so.
        prefix: What every name of the file began with before the names of ``tensors``, such as ``module.``.
        lacking: What every name of the file lacks of the names of ``tensors``: ``model.`` for a BART without a head.
        remarks: What else is there and not taken.
    """

    path: Path
    folder: Path
    form: Form
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    generation: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, ForeignTask] = field(default_factory=dict)
    preprocessing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    prefix: str = ""
    lacking: str = ""

    def names(self, rows: int) -> tuple[str, ...]:
        """Name of each of the token table's rows.

        Raises:
            CheckpointError: There is no dictionary, or it does not fit.
        """
        if self.places:
            return in_rows(self.places, rows, self.path)
        trainers = self.path.is_file() and self.path.suffix not in (".safetensors", ".bin")
        return read_dictionary(self.folder, rows, self._added(), trainers)

    def _added(self) -> list[str]:
        """Tokens that OFA puts behind those of its dictionary file: a mask, codes, and bins."""
        if self.form != "ofa":
            return ["<mask>"]
        codes, bins = (
            int(self.config.get(key) or number)
            for key, number in (("code_dict_size", 8192), ("num_bins", 1000))
        )
        return [
            "<mask>",
            *(f"<code_{n}>" for n in range(codes)),
            *(f"<bin_{n}>" for n in range(bins)),
        ]

    def side_files(self) -> dict[str, bytes]:
        """Small files beside the weights."""
        if self.form == "ofasys":
            return {}
        there = {name: self.folder / name for name in SIDE_FILES}
        return {name: path.read_bytes() for name, path in there.items() if path.is_file()}


def read_foreign(path: Path) -> Foreign:
    """Read a checkpoint of another project; no code of it is run.

    Raises:
        CheckpointError: Nothing of a known kind is there, or it is damaged or would run code: says what was found and
            what was expected.
    """
    if not path.exists():
        near = suggest(path.name, _names_beside(path)) or _hub_hint(path)
        hint = f"; {near}" if near else ""
        raise CheckpointError(path, f"no such file or folder{hint}; expected {EXPECTED}")
    if not path.is_file() and not path.is_dir():
        raise CheckpointError(path, f"is neither a file nor a folder; expected {EXPECTED}")
    if path.is_file():
        if path.name in (STATE[1], *SIDE_FILES) or path.name.endswith(INDEX):
            return _of_folder(path.parent, path.parent)
        if path.name in (*WEIGHTS, STATE[0]):
            return _of_folder(path.parent, path)
        return _of_file(path)
    return _of_folder(path, path)


def _names_beside(path: Path) -> list[str]:
    """What there is in the folder that a missing path should be in."""
    if not path.parent.is_dir():
        return []
    return [entry.name for entry in path.parent.iterdir()]


def _hub_hint(path: Path) -> str:
    """What to do about a name such as ``facebook/bart-base``, which is that of no folder here."""
    if not _HUB_NAME.fullmatch(str(path)) or path.parent.exists():
        return ""
    return (
        f"nothing is fetched: `hf download {path} --local-dir FOLDER` does, then name that folder"
    )


def _of_folder(folder: Path, path: Path) -> Foreign:
    if (folder / "checkpoints").is_dir() or (folder / "COMPLETE").is_file():
        what = (
            "is a run of this project already; only --experts modality makes something else of it"
        )
        raise CheckpointError(folder, what)
    if (folder / STATE[0]).is_file() and (folder / STATE[1]).is_file():
        tensors, prefix = unwrapped(load_tensors(folder / STATE[0]))
        return Foreign(path, folder, "ofasys", read_json(folder / STATE[1]), tensors, prefix=prefix)
    if (folder / "config.json").is_file():
        return _of_transformers(folder, path)
    files = sorted(folder.glob("*.pt"))
    if len(files) == 1:
        return _of_file(files[0])
    there = ", ".join(sorted(entry.name for entry in folder.iterdir())[:10]) or "nothing"
    several = "several .pt files: name one; " if files else ""
    raise CheckpointError(folder, f"{several}found {there}; expected {EXPECTED}")


def _of_transformers(folder: Path, path: Path) -> Foreign:
    config = read_json(folder / "config.json")
    kind = config.get("model_type") if isinstance(config, Mapping) else None
    if not isinstance(kind, str) or kind not in ("bart", "ofa"):
        made = config.get("architectures") if isinstance(config, Mapping) else None
        found = f"a model of type '{shortened(kind)}'"
        if isinstance(made, list) and made:
            found += f" ({', '.join(shortened(name) for name in made[:3])})"
        raise CheckpointError(
            folder / "config.json", f"found {found}; expected model_type bart or ofa"
        )
    generation = folder / "generation_config.json"
    options = read_json(generation) if generation.is_file() else {}
    if not isinstance(options, Mapping):
        raise CheckpointError(generation, f"found {described(options)}; expected settings by name")
    tensors, prefix = unwrapped(read_weights(folder))
    lacking = "" if kind != "bart" or any(name.startswith(BASE) for name in tensors) else BASE
    tensors = {f"{lacking}{name}": tensor for name, tensor in tensors.items()}
    form: Form = "bart" if kind == "bart" else "ofa"
    return Foreign(path, folder, form, config, tensors, options, prefix=prefix, lacking=lacking)


def _of_file(path: Path) -> Foreign:
    if path.suffix == ".safetensors":
        raise CheckpointError(path, f"tensors alone do not say what they are; expected {EXPECTED}")
    check_fetched(path)
    try:
        return _of_tree(path, read_torch_file(path))
    except AmplifiedError as error:
        raise CheckpointError(path, f"refused: {error}; expected a trainer's checkpoint") from None


def _of_tree(path: Path, found: Any) -> Foreign:
    state = _state(found, path)
    tree = found if state is not found else {}
    tensors, prefix = unwrapped(tensors_of(state, path), (BASE,))
    form = _form(tensors, path)
    store = _mapping(plain(tree.get("configstore")))
    preprocessing, differing = preprocessing_of(store.get("task"))
    places = plain(tree.get("global_dict_indices")) or {}
    if isinstance(places, list):
        places = {str(name): row for row, name in enumerate(places)}
    return Foreign(
        path,
        path.parent,
        form,
        _settings(tree, store, path),
        tensors,
        places={str(name): int(row) for name, row in _mapping(places).items()},
        tasks=tasks_of(store.get("task")),
        preprocessing=preprocessing,
        remarks=(*_remarks(tree), *differing),
        prefix=prefix,
    )


def _state(tree: Any, path: Path) -> Mapping[str, Any]:
    """The names and tensors of a file: under ``model``, under ``state_dict``, or all that it holds.

    Raises:
        CheckpointError: There are none, or they are one of several shards.
    """
    if isinstance(tree, Mapping):
        for key in ("model", "state_dict"):
            if isinstance(tree.get(key), Mapping):
                if any("flat_param" in str(name) for name in tree[key]):
                    what = "is one shard of a model that was split over processes"
                    raise CheckpointError(path, f"{what}; expected a file with the whole model")
                return dict(tree[key])
        if tree and all(isinstance(part, LazyTensor) for part in tree.values()):
            return tree
    raise CheckpointError(
        path, f"found {described(tree)}; expected a trainer's checkpoint with 'model' in it"
    )


def _settings(tree: Mapping[str, Any], store: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """The model's settings: the trainer's, those of fairseq, or those in a file beside it."""
    models = _mapping(store.get("model"))
    candidates = (
        _first({key: value for key, value in models.items() if isinstance(value, Mapping)}),
        _first(_mapping(plain(tree.get("cfg"))).get("model")),
        plain(tree.get("args")),
    )
    for found in candidates:
        if isinstance(found, Mapping) and found:
            return found
    beside = path.with_name(STATE[1])
    return _mapping(read_json(beside)) if beside.is_file() else {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _remarks(tree: Mapping[str, Any]) -> tuple[str, ...]:
    """What a file holds besides and an import leaves behind."""
    found = []
    if tree.get("last_optimizer_state"):
        found.append("the optimizer's state: training goes on with a new one")
    if isinstance(tree.get("extra_state"), Mapping) and "ema" in tree["extra_state"]:
        found.append("averaged weights (extra_state.ema): those of 'model' were taken")
    return tuple(found)


def _form(tensors: Mapping[str, Tensor], path: Path) -> Form:
    """Which project a state is of, by its names.

    Raises:
        CheckpointError: Of none that is known.
    """
    if any(name.startswith("encoder.adaptor.") for name in tensors):
        return "ofasys"
    if "encoder.embed_tokens.weight" in tensors and "encoder.pos_q_linear.weight" in tensors:
        return "ofa"
    shown = ", ".join(shortened(name) for name in list(tensors)[:3])
    raise CheckpointError(
        path,
        f"another architecture: found {len(tensors)} tensors such as {shown}; expected {EXPECTED}",
    )


def _first(value: Any) -> Any:
    """The configuration itself, or the first of several by name."""
    if (
        isinstance(value, Mapping)
        and value
        and all(isinstance(part, Mapping) for part in value.values())
    ):
        return next(iter(value.values()))
    return value
