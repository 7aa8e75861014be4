"""HiFi-GAN (Kong et al. 2020) from a folder: one of `transformers`, or one of the authors' own program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofacore.parts import pretrained
from ofacore.plugin import PluginError

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG = "config.json"
_RENAMED = {"ups.": "upsampler."}


def load_hifigan(folder: str) -> nn.Module:
    """A generator that turns log-mel frames [frames, bins] into samples [frames * hop].

    Args:
        folder: It holds ``config.json``, and the weights: ``model.safetensors`` as `transformers` writes it, or one
            file ``g_*`` or ``generator*`` of the authors' program.

    Raises:
        PluginError: The folder, its configuration or its weights cannot be used; says why.
    """
    path = Path(folder)
    if not (path / CONFIG).is_file():
        raise PluginError(
            f"option vocoder: '{folder}' is neither griffin_lim nor a folder with {CONFIG}"
        )
    try:
        settings = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        if settings.get("model_type") == "hifigan":
            return _of_transformers(folder)
        return _of_authors(path, settings)
    except ImportError as error:
        raise PluginError("option vocoder: a HiFi-GAN needs `pip install transformers`") from error
    except Exception as error:  # anything, where a file is damaged or holds something else
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise PluginError(f"option vocoder: '{folder}' cannot be used: {reason}") from error


def _of_transformers(folder: str) -> nn.Module:
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    config = SpeechT5HifiGanConfig.from_pretrained(folder, local_files_only=True)
    module, told = pretrained(SpeechT5HifiGan, folder, config)
    if told["missing_keys"]:
        raise ValueError(f"its weights lack {sorted(told['missing_keys'])[0]}")
    found: nn.Module = module.eval()
    return found


def _of_authors(path: Path, settings: Mapping[str, Any]) -> nn.Module:
    """The same network with the names of `transformers`."""
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    config = SpeechT5HifiGanConfig(
        model_in_dim=int(settings.get("num_mels", 80)),
        sampling_rate=int(settings.get("sampling_rate", 22_050)),
        upsample_initial_channel=settings["upsample_initial_channel"],
        upsample_rates=list(settings["upsample_rates"]),
        upsample_kernel_sizes=list(settings["upsample_kernel_sizes"]),
        resblock_kernel_sizes=list(settings["resblock_kernel_sizes"]),
        resblock_dilation_sizes=[list(sizes) for sizes in settings["resblock_dilation_sizes"]],
        normalize_before=False,
    )
    module = SpeechT5HifiGan(config)
    state = _folded(_weights(path))
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - state.keys() - {"mean", "scale"})
    if missing:
        raise ValueError(f"its weights lack {missing[0]}")
    module.load_state_dict(state, strict=False)
    return module.eval()


def _weights(path: Path) -> Mapping[str, Tensor]:
    import torch
    from safetensors.torch import load_file

    found = sorted([*path.glob("g_*"), *path.glob("generator*"), *path.glob("*.safetensors")])
    if not found:
        raise ValueError("there is no file g_*, generator* or *.safetensors")
    if found[-1].suffix == ".safetensors":
        return load_file(found[-1])
    stored = torch.load(found[-1], map_location="cpu", weights_only=True)
    weights: Mapping[str, Tensor] = stored.get("generator", stored)
    return weights


def _folded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of `transformers`; direction and size of a normalised weight (Salimans & Kingma 2016) in one."""
    found: dict[str, Tensor] = {}
    for name, values in state.items():
        for old, new in _RENAMED.items():
            name = new + name[len(old) :] if name.startswith(old) else name
        if name.endswith(".weight_g"):
            continue
        if name.endswith(".weight_v"):
            size = state[_sibling(name)]
            lengths = values.flatten(1).norm(dim=1).reshape(size.shape)
            name, values = name.removesuffix("_v"), values * size / lengths
        found[name] = values
    return found


def _sibling(name: str) -> str:
    """Where the size of a direction stands in the authors' file."""
    for old, new in _RENAMED.items():
        name = old + name[len(new) :] if name.startswith(new) else name
    return name.removesuffix("_v") + "_g"
