"""What is wrong with a codec."""

from __future__ import annotations

from ofacore.plugin import PluginError


class CodecError(PluginError):
    """A codec cannot be read, made or used; the message names the folder or option and what to do."""
