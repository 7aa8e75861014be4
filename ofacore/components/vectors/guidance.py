"""Classifier-free guidance (Ho & Salimans 2022): the session without the prompt, and what it takes to have one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ofacore.plugin import PluginError

if TYPE_CHECKING:
    from torch import Tensor

    from ofacore.protocols import DecodeSession


def unconditional_twin(session: DecodeSession, guidance: float) -> DecodeSession | None:
    """The session without the prompt; None where ``guidance`` is 1 and nobody asks for it.

    Raises:
        PluginError: There is none.
    """
    if guidance == 1.0:
        return None
    if session.unconditional is None:
        raise PluginError(
            f"guidance={guidance:g} needs a prompt that can be dropped: name it by the task options "
            "prompt_slot and drop_prompt and train with them, or use guidance=1"
        )
    return session.unconditional


def led_away(conditional: Tensor, free: Tensor, guidance: float) -> Tensor:
    """The prediction with the prompt, led away from that without."""
    return free + guidance * (conditional - free)
