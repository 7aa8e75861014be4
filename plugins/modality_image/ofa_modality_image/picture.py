"""Pictures as text for web pages."""

from __future__ import annotations

import base64
import io

from PIL import Image


def data_uri(image: Image.Image) -> str:
    """The picture as ``data:image/png;base64,...``."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
