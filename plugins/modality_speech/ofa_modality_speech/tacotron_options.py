"""Options of autoregressive synthesis. Part of the manifest: nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping

from ofacore.plugin import Option

STEP_OPTIONS: Mapping[str, Option] = {
    "max_frames": Option(1500, "Most frames of a sound that does not end itself.", minimum=1),
    "stop_threshold": Option(
        0.5, "A sound ends where its end is at least so likely.", minimum=0, maximum=1
    ),
}
STOP_WEIGHT = Option(5.0, "Weight of the last step among those that could be it.", minimum=0)
GUIDE_OPTIONS: Mapping[str, Option] = {
    "guide_weight": Option(1.0, "Weight of attention away from the diagonal.", minimum=0),
    "sigma": Option(0.4, "How wide the diagonal is, as a share of the text.", minimum=0.01),
    "layers": Option((-1,), "Decoder layers whose attention is guided; -1: the last."),
}
