"""Models of transformers out of a folder: without its reports, and with one kind of error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch

_LONGEST_REASON = 300


class PretrainedError(Exception):
    """The weights of a folder cannot be read; the message says where and why."""


def pretrained(kind: Any, folder: str, config: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A model in fp32 with the weights of a folder, and what transformers tells of loading them: ``missing_keys`` etc.

    Args:
        kind: Class of transformers that has ``from_pretrained``.
        folder: As ``save_pretrained`` writes it; nothing is fetched.
        config: The model's configuration.
        options: Further arguments of ``from_pretrained``.

    Raises:
        PretrainedError: The weights cannot be read.
    """
    try:
        with quiet_transformers():
            model, told = kind.from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                output_loading_info=True,
                dtype=torch.float32,
                **options,
            )
    except Exception as error:  # it raises anything for a folder that is not as it should be
        reason = " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
        raise PretrainedError(f"the weights in '{folder}' cannot be read ({reason})") from error
    return model, told


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No report and no progress bar of transformers, which must be installed; afterwards all is as before."""
    logging = import_module("transformers.utils.logging")
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
