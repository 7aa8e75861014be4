"""Encoders of transformers that metrics look at pictures with, by local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ofacore.parts import pretrained
from ofacore.plugin import UserError

_POOLER = "pooler."


def load_encoder(path: str, metric: str, wanted: str, reader: str) -> tuple[Any, Any]:
    """A model in evaluation mode, and what prepares its input: transformers' class ``reader``.

    Nothing is fetched, no code of the folder is run. A model that was saved without what pools its states has none.

    Raises:
        UserError: The folder is none, or holds no such model, or not all of it.
    """
    if not path or not Path(path).is_dir():
        raise UserError(f"{metric}: option path='{path}' is no folder; give {wanted}")
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f"{metric} needs transformers; pip install ofa-modality-image[towers]"
        ) from error
    try:
        config = transformers.AutoConfig.from_pretrained(path, local_files_only=True)
        model, told = pretrained(transformers.AutoModel, path, config, use_safetensors=True)
        prepare = getattr(transformers, reader).from_pretrained(path, local_files_only=True)
    except Exception as error:  # transformers raises anything for a folder that is damaged
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{metric}: '{path}' cannot be read ({reason}); give {wanted}") from error
    lost = sorted(name for name in told["missing_keys"] if not name.startswith(_POOLER))
    if lost:
        raise UserError(f"{metric}: the weights in '{path}' lack {lost[0]}; give {wanted}")
    if told["missing_keys"]:
        model.pooler = None  # what it would pool by is in no file
    return model.eval(), prepare
