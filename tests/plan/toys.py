"""A registry with two toy modalities and a metric."""

from __future__ import annotations

from ofacore.components.tokens.search_options import SEARCH_OPTIONS
from ofacore.plugin import (
    CONTRACT,
    Attribute,
    Component,
    ComponentManifest,
    ModalityManifest,
    Registry,
    SlotType,
)

_TOKEN_GENERATOR = Component(
    "generator", "token", "x:y", options=SEARCH_OPTIONS, check="ofacore.parts:check_search"
)
WORDS = ModalityManifest(
    "words",
    CONTRACT,
    slots=(
        SlotType(
            "WORD",
            "a word",
            "word",
            "str",
            lambda v: isinstance(v, str),
            serves_plain_text=True,
            attributes=(
                Attribute("max_length", "int", minimum=1),
                Attribute("min_length", "int", minimum=0),
                Attribute("ratio", "float", minimum=0, maximum=1, sides=("source",)),
                Attribute("level", "choice", default="piece", choices=("piece", "letter")),
                Attribute("closed_set", "flag", sides=("target",)),
            ),
        ),
    ),
    components=(
        Component(
            "preprocessor",
            "word",
            "x:y",
            uses={
                "adapter": "token",
                "head": "token",
                "criterion": "cross_entropy",
                "generator": "token",
            },
        ),
        Component("adapter", "token", "x:y"),
        Component("head", "token", "x:y"),
        _TOKEN_GENERATOR,
        Component("criterion", "cross_entropy", "x:y"),
        Component("metric", "accuracy", "x:y"),
    ),
)
PICTURES = ModalityManifest(
    "pictures",
    CONTRACT,
    slots=(
        SlotType("PICTURE", "a picture", "picture", "array", lambda v: True),
        SlotType(
            "FRAME",
            "a frame in a picture",
            "word",
            "list",
            lambda v: True,
            attributes=(Attribute("picture", "slot", choices=("PICTURE",)),),
            bound_to="picture",
        ),
        SlotType(
            "MARK",
            "a mark on a picture",
            "word",
            "list",
            lambda v: True,
            attributes=(
                Attribute("picture", "slot", choices=("PICTURE",), required=True),
                Attribute(
                    "kind", "choice", choices=("dot", "line"), sides=("target",), required=True
                ),
            ),
        ),
    ),
    components=(
        Component("preprocessor", "picture", "x:y", uses={"adapter": "patches"}),
        Component("adapter", "patches", "x:y"),
    ),
)


def registry() -> Registry:
    """Both modalities."""
    return Registry.of(WORDS, PICTURES)


def pictures_only() -> Registry:
    """No slot type serves plain text."""
    components = ComponentManifest("parts", CONTRACT, tuple(c for c in WORDS.components))
    return Registry.of(PICTURES, components)
