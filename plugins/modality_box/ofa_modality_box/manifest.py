"""What this plugin offers: the slot type BOX, the preprocessor `box` and the row transform of boxes."""

from __future__ import annotations

from numbers import Real
from typing import Any

from ofacore.plugin import Attribute, Component, ModalityManifest, Option, SlotType


def is_box(value: Any) -> bool:
    """True for one box: four numbers, a string, or a dict with the key ``box``; False for a list of boxes."""
    if isinstance(value, str):
        return True
    if isinstance(value, dict):
        return "box" in value
    if isinstance(value, list | tuple):
        return len(value) == 4 and all(
            isinstance(number, Real) and not isinstance(number, bool) for number in value
        )
    return tuple(getattr(value, "shape", ())) == (4,)


_ATTRIBUTES = (
    Attribute(
        "image",
        "slot",
        choices=("IMAGE", "VIDEO"),
        doc="The image that the box lies in, or the video in whose last frame that is seen it does; default: the "
        "nearest before it in the same turn.",
    ),
    Attribute(
        "format",
        "choice",
        default="xyxy",
        choices=("xyxy", "xywh", "cxcywh"),
        doc="The four numbers: two corners, corner and size, or centre and size; x before y.",
    ),
    Attribute(
        "relative", doc="The numbers are shares of the image's width and height instead of pixels."
    ),
    Attribute(
        "clip", doc="Boxes may reach out of the image: what lies outside is cut off, not refused."
    ),
    Attribute("many", doc="The value is a list of any number of boxes."),
    Attribute(
        "scores",
        sides=("target",),
        doc="Outputs are dicts with `box` and `score`, the geometric mean of the four token probabilities.",
    ),
)

_BINS = "Bins of each coordinate, and so tokens."
_VISIBLE = Option(
    0.2,
    "Least share of a box of a list that a crop must leave, or it is dropped.",
    minimum=0,
    maximum=1,
)

MANIFEST = ModalityManifest(
    name="box",
    contract=(2, 0),
    doc="Boxes in images, as four binned coordinates.",
    slots=(
        SlotType(
            name="BOX",
            doc="A region of an image.",
            preprocessor="box",
            values="four numbers, a string such as '10,20,110,220', 'none', or a dict {'box': ..., 'score': ...}; "
            "with `many` a list of these",
            is_element=is_box,
            attributes=_ATTRIBUTES,
            views=("boxes",),
            sample="ofa_modality_box.sample:box",
            row_transform="ofa_modality_box.transform:BoxTransform",
            bound_to="image",
            widget="text",
            default_metrics={
                "repeat": "detection_map",
                "many": "detection_map",
                "": "iou_accuracy",
            },
        ),
    ),
    components=(
        Component(
            kind="preprocessor",
            name="box",
            target="ofa_modality_box.preprocessor:BoxPreprocessor",
            doc="Coordinates as tokens, binned over the view that the model has of the image.",
            uses={
                "adapter": "token",
                "head": "token",
                "criterion": "cross_entropy",
                "generator": "token",
            },
            options={"bins": Option(1000, _BINS, minimum=2), "min_visible": _VISIBLE},
        ),
        Component(
            kind="preprocessor",
            name="box_coarse",
            target="ofa_modality_box.preprocessor:BoxPreprocessor",
            doc="The same with few bins, for small images.",
            uses={
                "adapter": "token",
                "head": "token",
                "criterion": "cross_entropy",
                "generator": "token",
            },
            options={"bins": Option(32, _BINS, minimum=2), "min_visible": _VISIBLE},
        ),
    ),
)
