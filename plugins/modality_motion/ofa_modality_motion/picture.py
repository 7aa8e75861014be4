"""Pictures as text for web pages."""

from __future__ import annotations

import base64


def data_uri(content: bytes, kind: str) -> str:
    """The picture as ``data:image/<kind>;base64,...``."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
