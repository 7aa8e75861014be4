"""Checkpoints of other projects on the disk: what kind they are, and everything that is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ofacore.checkpoint.errors import CheckpointError
from ofacore.checkpoint.foreign.dictionary import in_rows, read_dictionary, read_json
from ofacore.checkpoint.foreign.inert import plain
from ofacore.checkpoint.foreign.unpickling import LazyTensor, OtherTensor, read_torch_file
from ofacore.plugin import suggest

Form = Literal["bart", "ofa", "ofasys"]
EXPECTED = (
    "a checkpoint of OFASys (a .pt file), or a folder with config.json and model.safetensors or pytorch_model.bin "
    "whose model_type is bart or ofa"
)
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
STATE = ("state_dict.safetensors", "model_config.json")
"""An OFASys state without pickle: tensors, and the model's configuration."""
_NUMBERS = frozenset({"num_beams", "length_penalty", "no_repeat_ngram_size", "max_length", "min_length"})
SIDE_FILES = (
    "config.json", "generation_config.json", "vocab.json", "merges.txt", "added_tokens.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json",
)  # fmt: skip
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
        tasks: Name -> instruction, of the tasks it was trained for, where it says so.
        preprocessing: Preprocessor -> its settings there, where it says so.
        remarks: What else is there and not taken.
    """

    path: Path
    folder: Path
    form: Form
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    generation: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)
    preprocessing: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

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
            int(self.config.get(key) or number) for key, number in (("code_dict_size", 8192), ("num_bins", 1000))
        )
        return ["<mask>", *(f"<code_{n}>" for n in range(codes)), *(f"<bin_{n}>" for n in range(bins))]

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
        near = suggest(path.name, [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else [])
        raise CheckpointError(path, f"no such file or folder{'; ' + near if near else ''}; expected {EXPECTED}")
    if not path.is_file() and not path.is_dir():
        raise CheckpointError(path, f"is neither a file nor a folder; expected {EXPECTED}")
    if path.is_file():
        return _of_folder(path.parent, path) if path.name in (*WEIGHTS, STATE[0]) else _of_file(path)
    return _of_folder(path, path)


def _of_folder(folder: Path, path: Path) -> Foreign:
    if (folder / "checkpoints").is_dir() or (folder / "COMPLETE").is_file():
        raise CheckpointError(folder, "is a run of this project already; nothing is to be imported")
    if (folder / STATE[0]).is_file() and (folder / STATE[1]).is_file():
        return Foreign(path, folder, "ofasys", read_json(folder / STATE[1]), load_tensors(folder / STATE[0]))
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
    if kind not in ("bart", "ofa"):
        made = ", ".join(config.get("architectures") or ()) if isinstance(config, Mapping) else ""
        found = f"a model of type '{kind}'{f' ({made})' if made else ''}"
        raise CheckpointError(folder / "config.json", f"found {found}; expected model_type bart or ofa")
    generation = folder / "generation_config.json"
    options = read_json(generation) if generation.is_file() else {}
    if not isinstance(options, Mapping):
        raise CheckpointError(generation, f"found {_described(options)}; expected settings by name")
    for key in _NUMBERS & options.keys():
        if not isinstance(options[key], int | float | None):
            raise CheckpointError(generation, f"found {key} {options[key]!r}; expected a number")
    return Foreign(path, folder, kind, config, _weights(folder), options)


def _weights(folder: Path) -> dict[str, Tensor]:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return load_tensors(folder / name)
        index = folder / f"{name}.index.json"
        if index.is_file():
            parts = sorted({str(part) for part in _mapping(_mapping(read_json(index)).get("weight_map")).values()})
            if not parts:
                raise CheckpointError(index, "names no files; expected a weight_map of tensor -> file")
            return {key: value for part in parts for key, value in load_tensors(folder / part).items()}
    there = ", ".join(sorted(entry.name for entry in folder.iterdir())[:10])
    raise CheckpointError(folder, f"found {there}; expected weights in {' or '.join(WEIGHTS)}")


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file, safetensors or PyTorch's.

    Raises:
        CheckpointError: It is missing or damaged, or would run code.
    """
    if not path.is_file():
        raise CheckpointError(path, "no such file")
    if path.suffix == ".safetensors":
        try:
            return load_file(str(path))
        except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
            raise CheckpointError(path, f"damaged or not a safetensors file ({error})") from error
    return _tensors(read_torch_file(path), path)


def _tensors(value: Any, path: Path) -> dict[str, Tensor]:
    """Every tensor of a state; what else stands in it is passed over.

    Raises:
        CheckpointError: There is none, or one that cannot be read.
    """
    found = {str(name): part for name, part in value.items()} if isinstance(value, Mapping) else {}
    lazy = {name: tensor for name, tensor in found.items() if isinstance(tensor, LazyTensor)}
    if not lazy:
        raise CheckpointError(path, f"found {_described(value)}; expected names and tensors")
    other = next((name for name, tensor in found.items() if isinstance(tensor, OtherTensor)), None)
    if other is not None:
        raise CheckpointError(path, f"tensor '{other}' is sparse, quantised or nested; expected plain tensors")
    try:
        tensors = {name: tensor.read() for name, tensor in lazy.items()}
    except (ValueError, KeyError, OSError, RuntimeError, TypeError, BadZipFile) as error:
        raise CheckpointError(path, f"damaged or cut off ({error})") from error
    wrapped = all(name.startswith("module.") for name in tensors)
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()} if wrapped else tensors


def _of_file(path: Path) -> Foreign:
    if path.suffix == ".safetensors":
        raise CheckpointError(path, f"tensors alone do not say what they are; expected {EXPECTED}")
    found = read_torch_file(path)
    state = _state(found, path)
    tree = found if state is not found else {}
    tensors = _tensors(state, path)
    form = _form(tensors, path)
    store = _mapping(plain(tree.get("configstore")))
    places = plain(tree.get("global_dict_indices")) or {}
    if isinstance(places, list):
        places = {str(name): row for row, name in enumerate(places)}
    return Foreign(
        path, path.parent, form, _settings(tree, store, path), tensors,
        places={str(name): int(row) for name, row in _mapping(places).items()},
        tasks=_tasks(store.get("task")), preprocessing=_preprocessing(store.get("task")), remarks=_remarks(tree),
    )  # fmt: skip


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
    raise CheckpointError(path, f"found {_described(tree)}; expected a trainer's checkpoint with 'model' in it")


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
    shown = ", ".join(list(tensors)[:3])
    raise CheckpointError(
        path, f"another architecture: found {len(tensors)} tensors such as {shown}; expected {EXPECTED}"
    )


def _first(value: Any) -> Any:
    """The configuration itself, or the first of several by name."""
    if isinstance(value, Mapping) and value and all(isinstance(part, Mapping) for part in value.values()):
        return next(iter(value.values()))
    return value


def _tasks(store: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, task in store.items() if isinstance(store, Mapping) else ():
        instruction = task.get("instruction") if isinstance(task, Mapping) else None
        template = instruction.get("template") if isinstance(instruction, Mapping) else None
        if template:
            name = str(task.get("_name") or key)
            found[name if name not in found else f"{name}_{key}"] = _joined(template)
    return found


def _preprocessing(store: Any) -> dict[str, Mapping[str, Any]]:
    """Settings of every active preprocessor; of the first task that has it."""
    found: dict[str, Mapping[str, Any]] = {}
    for task in store.values() if isinstance(store, Mapping) else ():
        sections = task.get("preprocess") if isinstance(task, Mapping) else None
        for name, settings in sections.items() if isinstance(sections, Mapping) else ():
            if isinstance(settings, Mapping) and settings.get("is_active"):
                found.setdefault(str(name), settings)
    return found


def _joined(template: Any) -> str:
    return " ||| ".join(map(str, template)) if isinstance(template, list) else str(template)


def _described(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dictionary of {', '.join(map(str, list(value)[:5])) or 'nothing'}"
    return f"a {type(value).__name__}"
