"""Weights of towers from files that others wrote; nothing in a file is ever executed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ofacore.plugin import PluginError

if TYPE_CHECKING:
    from torch import Tensor

ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
_WRAPPERS = ("state_dict", "model", "model_state")
_SHOWN = 3


class WeightsError(PluginError):
    """A file of weights that is not there, cannot be read, or belongs to another architecture."""


def read_weights(path: str | Path, owner: str) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` file, or of a ``.pth``, ``.pt`` or ``.bin`` file that holds tensors alone.

    A dict of tensors may be wrapped once, under ``state_dict`` or ``model``; the prefix ``module.`` is taken away.

    Raises:
        WeightsError: No such file, another kind of file, or a file that is damaged or holds Python objects.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise WeightsError(f"{owner}: '{path}' is none of {', '.join(ENDINGS)}")
    if not path.is_file():
        raise WeightsError(f"{owner}: no file '{path}'")
    if path.suffix == ".safetensors":
        return _read_safetensors(path, owner)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise WeightsError(
            f"{owner}: '{path}' is damaged or holds more than tensors ({reason})"
        ) from error
    return _tensors(content, path, owner)


def load_tower(
    tower: nn.Module,
    state: Mapping[str, Tensor],
    source: str | Path,
    owner: str,
    surplus: tuple[str, ...] = (),
) -> None:
    """Copy tensors by name into a tower; all or nothing.

    Args:
        tower: Module whose parameters and buffers are wanted.
        state: Tensors by the tower's own names.
        source: Where they come from, for messages.
        owner: Name of the adapter, for messages.
        surplus: Beginnings of names that the file may hold besides.

    Raises:
        WeightsError: A tensor is missing, superfluous, or of another shape; names both shapes.
    """
    own = tower.state_dict()
    wanted = {
        name: value for name, value in own.items() if not name.endswith("num_batches_tracked")
    }
    missing = [name for name in wanted if name not in state]
    extra = [name for name in state if name not in own and not name.startswith(surplus)]
    pairs = [
        (name, tuple(value.shape), tuple(state[name].shape))
        for name, value in own.items()
        if name in state
    ]
    shapes = [
        f"{name} is {there} in the file, {here} here"
        for name, here, there in pairs
        if here != there
    ]
    parts = [
        _listed("other shapes", shapes),
        _listed("missing", missing),
        _listed("unexpected", extra),
    ]
    problems = [part for part in parts if part]
    if problems:
        raise WeightsError(f"{owner}: '{source}' holds another architecture: {'; '.join(problems)}")
    tower.load_state_dict({name: state[name] for name in own if name in state}, strict=False)


def _read_safetensors(path: Path, owner: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{owner}: '{path}' is damaged ({error})") from error


def _tensors(content: Any, path: Path, owner: str) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        inner = next(
            (content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), content
        )
        found = {
            str(k).removeprefix("module."): v
            for k, v in inner.items()
            if isinstance(v, torch.Tensor)
        }
        if found:
            return found
    raise WeightsError(f"{owner}: '{path}' holds no tensors by name, but {type(content).__name__}")


def _listed(title: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{title}: {', '.join(names[:_SHOWN])}{more}"
