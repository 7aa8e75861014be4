"""Options of the generators that read CTC. Part of the manifest: nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping

from ofacore.parts import SEARCH_OPTIONS
from ofacore.plugin import Option

LISTEN = Option("", "Name of the slot that is listened to; empty: the first of the source.")
CTC_OPTIONS: Mapping[str, Option] = {
    "listen": LISTEN,
    "beam": Option(1, "Prefixes of a beam; 1: the likeliest path.", minimum=1, maximum=1000),
    "n_best": Option(1, "Number of candidates; no more than the beam.", minimum=1, maximum=1000),
}
_OTHER_STRATEGIES = ("strategy", "groups", "diversity", "temperature", "top_k", "top_p")
JOINT_OPTIONS: Mapping[str, Option] = {
    "listen": LISTEN,
    "ctc_weight": Option(
        0.3, "Share of CTC in the score; the rest is the decoder's.", minimum=0, maximum=1
    ),
    **{name: one for name, one in SEARCH_OPTIONS.items() if name not in _OTHER_STRATEGIES},
}
