"""What this package adds to ofacore."""

import re

from ofacore.plugin import Component, ModalityManifest, Option, SlotType

HEX = re.compile(r"#[0-9a-fA-F]{6}")
WIDTH = {"width": Option(3, "Numbers of a colour.", minimum=3, maximum=3)}
USES = {
    "adapter": "colour",
    "head": "colour",
    "criterion": "squared_error",
    "generator": "one_shot",
}


def is_colour(value):
    return isinstance(value, str)


COLOUR = SlotType(
    name="COLOUR",
    doc="One colour.",
    preprocessor="colour",
    values="a hex colour such as '#ff8800'",
    is_element=is_colour,
    sample="ofa_modality_colour.preprocessor:sample",
)

MANIFEST = ModalityManifest(
    name="colour",
    contract=(2, 0),
    doc="Hex colours.",
    slots=(COLOUR,),
    components=(
        Component(
            "preprocessor",
            "colour",
            "ofa_modality_colour.preprocessor:Colours",
            uses=USES,
            options=WIDTH,
        ),
        Component("adapter", "colour", "ofa_modality_colour.adapter:ColourAdapter"),
        Component("metric", "colour_error", "ofa_modality_colour.metric:ColourError"),
        Component("head", "colour", "ofacore.parts:ValuesHead", options=WIDTH),
    ),
)
