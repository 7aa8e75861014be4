"""What this plugin offers: the position scheme `untied` and what it costs."""

from __future__ import annotations

from ofacore.plugin import Component, ComponentManifest, Option

OPTIONS = {
    "attention_bias": Option(
        True,
        "Biases by distance; false, as OFA's use_self_attn_bias: none, and the encoder's scores are scaled by the "
        "head's width alone, without factors on its heads.",
    ),
    "buckets": Option(
        256, "Distances along a line that are told apart, in each direction.", minimum=1
    ),
    "share_bias": Option(False, "All layers share one table of biases."),
    "entangled": Option(False, "Vectors are added to the embeddings, not to the attention scores."),
    "layernorm": Option(True, "Normalise position vectors."),
}
_PACKAGE = "ofa_positions_untied"

MANIFEST = ComponentManifest(
    "untied",
    (2, 0),
    (
        Component(
            "positions",
            "untied",
            f"{_PACKAGE}.scheme:Untied",
            "Learned vectors of positions apart from content, and biases by distance.",
            options=OPTIONS,
        ),
        Component("positions_cost", "untied", f"{_PACKAGE}.cost:UntiedCost", "What they cost."),
    ),
    "The position scheme of models of the OFA family.",
)
