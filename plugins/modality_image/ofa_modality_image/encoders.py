"""Encoders of transformers that metrics look at pictures with, by local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ofacore.plugin import UserError


def load_encoder(path: str, metric: str, wanted: str, reader: str) -> tuple[Any, Any]:
    """A model in evaluation mode, and what prepares its input: transformers' class ``reader``.

    Nothing is fetched, no code of the folder is run.

    Raises:
        UserError: The folder is none, or holds no such model.
    """
    if not path or not Path(path).is_dir():
        raise UserError(f"{metric}: option path='{path}' is no folder; give {wanted}")
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f"{metric} needs transformers; pip install ofa-modality-image[towers]"
        ) from error
    local = {"local_files_only": True}
    try:
        model = transformers.AutoModel.from_pretrained(path, use_safetensors=True, **local)
        prepare = getattr(transformers, reader).from_pretrained(path, **local)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{metric}: '{path}' cannot be read ({reason}); give {wanted}") from error
    return model.eval(), prepare
