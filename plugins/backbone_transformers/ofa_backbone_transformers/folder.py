"""What a folder of transformers holds, without its model: what it says about it, its tokenizer, single weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofacore.plugin import PluginError, suggest

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from transformers import PretrainedConfig

    from ofacore.protocols import Options

_ASK = "give model.backbone: {name: transformers, path: FOLDER}, a folder as `save_pretrained` writes it"
_GENERATION = "generation_config.json"
_TOKENIZER = "tokenizer.json"
_SPECIAL = {
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "pad": "pad_token_id",
    "start": "decoder_start_token_id",
}
_FORCED = "forced_bos_token_id"


class BackboneError(PluginError):
    """A folder that holds no model, or one that cannot be a backbone."""


def architecture(options: Options) -> PretrainedConfig:
    """The configuration of the model, from its folder or from what a checkpoint kept of it.

    Raises:
        BackboneError: There is no folder, no configuration in it, or one of an unknown kind of model.
    """
    if options.get("config"):
        return _known(options["config"], "the option config")
    folder = folder_of(options)
    return _known(read_json(folder / "config.json"), f"'{folder}'")


def folder_of(options: Options) -> Path:
    """The folder that the option ``path`` names.

    Raises:
        BackboneError: It is none, or holds no model.
    """
    path = str(options.get("path") or "")
    if not path:
        raise BackboneError(f"backbone 'transformers' has no path; {_ASK}")
    folder = Path(path).expanduser()
    if not (folder / "config.json").is_file():
        raise BackboneError(f"'{path}' holds no config.json; {_ASK}")
    return folder


def special_tokens(options: Options) -> dict[str, int]:
    """Numbers of ``bos``, ``eos``, ``pad``, ``start``, ``forced``, ``unk`` and ``mask``, those that there are.

    ``start`` is what a decoder reads first. Of several ends it is the first; see `further_ends`.
    """
    if options.get("config"):
        kept = options.get("tokens", {})
        return {name: int(number) for name, number in kept.items() if isinstance(number, int)}
    folder = folder_of(options)
    found: dict[str, int] = {}
    for name, key in _SPECIAL.items():
        number = _said(options, key)
        number = number[0] if isinstance(number, list) and number else number
        if isinstance(number, int):
            found[name] = number
    forced = (generation_settings(options) or read_json(folder / "config.json")).get(_FORCED)
    if isinstance(forced, int):
        found["forced"] = forced
    return {**_named_tokens(folder), **found}


def further_ends(options: Options) -> list[int]:
    """Tokens that end a text besides ``eos``."""
    if options.get("config"):
        return [int(number) for number in options.get("tokens", {}).get("ends", ())]
    said = _said(options, "eos_token_id")
    return [int(number) for number in said[1:]] if isinstance(said, list) else []


def _said(options: Options, key: str) -> Any:
    """What the options of generation of a folder say, else its configuration."""
    said = generation_settings(options).get(key)
    return architecture(options).to_dict().get(key) if said is None else said


def generation_settings(options: Options) -> dict[str, Any]:
    """What the folder tells `generate` of transformers, or what a checkpoint kept of it; empty: nothing."""
    if options.get("config"):
        return dict(options.get("generation", {}))
    file = folder_of(options) / _GENERATION
    return read_json(file) if file.is_file() else {}


def prompt_tokens(options: Options) -> list[int]:
    """What the decoder of an encoder-decoder reads before an answer; the last of them is the start of a target.

    Raises:
        BackboneError: The option ``prompt`` is needed, or names a token that there is none of.
    """
    if options.get("config"):
        return [int(number) for number in options.get("tokens", {}).get("prompt", ())]
    folder, config = folder_of(options), architecture(options)
    if not config.is_encoder_decoder:
        return []
    special = special_tokens(options)
    start = special.get("start", special.get("eos", 0))
    names = list(options.get("prompt") or ())
    if names:
        return [start, *_numbers(names, folder)]
    if config.model_type == "whisper":
        return [start, *_prompt_of_whisper(folder, generation_settings(options))]
    return [start, *_forced_tokens(special, start)]


def _forced_tokens(special: Mapping[str, int], start: int) -> list[int]:
    """What `generate` puts behind the start, unless a target begins with `<eos>` and `<bos>`, which says the same."""
    forced = special.get("forced")
    begins_so = start == special.get("eos") and forced == special.get("bos")
    return [] if forced is None or begins_so else [forced]


def _prompt_of_whisper(folder: Path, generation: Mapping[str, Any]) -> list[int]:
    """What an English Whisper reads behind its start, as its options of generation say.

    Raises:
        BackboneError: It knows several languages.
    """
    if generation.get("is_multilingual"):
        raise BackboneError(
            f"'{folder}' is a Whisper of many languages; say what its decoder shall read first: "
            "model.backbone: {..., prompt: ['<|en|>', '<|transcribe|>', '<|notimestamps|>']}"
        )
    number = generation.get("no_timestamps_token_id")
    return [number] if isinstance(number, int) else []


def _numbers(names: Sequence[str], folder: Path) -> list[int]:
    """Numbers of tokens by name."""
    if not names:
        return []
    tokenizer = tokenizer_of(folder)
    found = []
    for name in names:
        number = tokenizer.token_to_id(str(name))
        if number is None:
            hint = suggest(str(name), list(tokenizer.get_vocab())) or "look in tokenizer.json"
            raise BackboneError(f"option prompt: no token '{name}' in '{folder}'; {hint}")
        found.append(number)
    return found


def stored_architecture(options: Options) -> dict[str, Any]:
    """The configuration as JSON values."""
    found: dict[str, Any] = json.loads(architecture(options).to_json_string(use_diff=False))
    return {name: value for name, value in found.items() if not name.startswith("_")}


def read_json(file: Path) -> dict[str, Any]:
    """The content of a file.

    Raises:
        BackboneError: It cannot be read.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"'{file}' cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise BackboneError(f"'{file}' holds no object of JSON")
    return found


def tokenizer_of(folder: Path) -> Tokenizer:
    """The tokenizer of a folder.

    Raises:
        BackboneError: There is none in the fast form, or its file is damaged.
    """
    from tokenizers import Tokenizer

    file = folder / _TOKENIZER
    if not file.is_file():
        raise BackboneError(
            f"'{folder}' holds no {_TOKENIZER}; save its tokenizer there in the fast form "
            "(`AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)`)"
        )
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises no narrower class
        raise BackboneError(f"'{file}' is no tokenizer, or is damaged ({error})") from error


def stored_weights(folder: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Tensor]]:
    """Weights of a folder by name, those that are wanted; nothing else is read.

    Raises:
        BackboneError: A file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(str(file), "pt") as tensors:
                names = tensors.keys()
                for name in names:
                    if wanted(name):
                        yield name, tensors.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise BackboneError(f"'{file}' is damaged ({error}); fetch it again") from error


def _named_tokens(folder: Path) -> dict[str, int]:
    """Numbers of the unknown token and the mask, which the tokenizer's files name."""
    file = folder / "tokenizer_config.json"
    if not (file.is_file() and (folder / _TOKENIZER).is_file()):
        return {}
    names, tokenizer = read_json(file), tokenizer_of(folder)
    found = {}
    for name in ("unk", "mask"):
        token = names.get(f"{name}_token")
        token = token.get("content") if isinstance(token, dict) else token
        number = tokenizer.token_to_id(token) if isinstance(token, str) else None
        if number is not None:
            found[name] = number
    return found


def _known(content: Mapping[str, Any], place: str) -> PretrainedConfig:
    return _from_text(json.dumps(dict(content), sort_keys=True), place)


@lru_cache(maxsize=8)
def _from_text(text: str, place: str) -> PretrainedConfig:
    from transformers import CONFIG_MAPPING

    content = json.loads(text)
    kind = content.get("model_type")
    if kind not in CONFIG_MAPPING:
        hint = suggest(str(kind), list(CONFIG_MAPPING)) or _ASK
        raise BackboneError(f"{place} names the model_type {kind!r}, which is unknown; {hint}")
    return CONFIG_MAPPING[kind].from_dict(content)  # type: ignore[no-any-return]
