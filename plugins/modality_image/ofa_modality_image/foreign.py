"""What the tensors of an OFASys model tell about its adapters of pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]
_DEPTHS = {6: 50, 23: 101, 36: 152}
"""Blocks of the third stage -> depth of the trunk."""
_POSITIONS = "embed_image_positions.weight"


def patch_options(shapes: Shapes, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options of ``image_patch_embed``."""
    class_token = "cls_token" in shapes
    side = math.isqrt(shapes[_POSITIONS][0] - class_token)
    return {
        "patch": shapes["proj.weight"][-1],
        "class_token": class_token,
        "grid": side,
        "bare": True,
    }


def resnet_options(shapes: Shapes, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options of ``image_resnet``."""
    return {
        "depth": _DEPTHS.get(_count(shapes, r"embed_images\.layer3\.(\d{1,6})\."), 0),
        "grid": math.isqrt(shapes[_POSITIONS][0] - 1),
        "freeze_statistics": bool(settings.get("freeze_resnet", False)),
        "sync_batch_norm": bool(settings.get("sync_bn", False)),
        "drop_path": float(settings.get("resnet_drop_path_rate") or 0.0),
        "bare": True,
    }


def vit_options(shapes: Shapes, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options of ``image_vit``; a head is 64 wide, or 80 in the largest tower."""
    width, _, _, patch = shapes["embed_images.conv1.weight"]
    cells = shapes["embed_images.positional_embedding"][0] - 1
    return {
        "variant": "",
        "patch": patch,
        "width": width,
        "layers": _count(shapes, r"embed_images\.transformer\.resblocks\.(\d{1,6})\."),
        "heads": width // (80 if width % 80 == 0 and width % 64 == 0 and width >= 1280 else 64),
        "resolution": patch * math.isqrt(cells),
        "grid": math.isqrt(shapes[_POSITIONS][0] - 1),
        "drop_path": float(settings.get("vit_drop_path_rate") or 0.0),
        "bare": True,
    }


def _count(shapes: Shapes, pattern: str) -> int:
    found = (re.match(pattern, name) for name in shapes)
    return max((int(match[1]) + 1 for match in found if match), default=0)
