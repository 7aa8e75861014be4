"""Options of the generator of sounds. Part of the manifest: nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping

from ofacore.plugin import Option

FLOW_OPTIONS: Mapping[str, Option] = {
    "steps": Option(8, "Steps from noise to frames.", minimum=1, maximum=1000),
    "guidance": Option(1.0, "Scale of classifier-free guidance; 1: off.", minimum=0, maximum=1e3),
    "sway": Option(-1.0, "Below 0 more of the steps lie near the noise.", minimum=-1, maximum=1.75),
    "temperature": Option(1.0, "Deviation of the noise.", minimum=0, maximum=10),
    "lengths": Option(
        "given",
        "`given`: as the slot, the row's own sound or the mean says; `predicted`: by the head `audio_length`, unless "
        "the slot says seconds.",
        choices=("given", "predicted"),
    ),
    "text": Option("", "Slot that lengths are predicted from; empty: the first of the source."),
    "n_best": Option(1, "Number of sounds that are drawn.", minimum=1, maximum=100_000),
}
