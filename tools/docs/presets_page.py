"""The generated table of the page of presets: widths, depths, parameters, memory.

``python -m tools.docs.presets_page docs/presets.md`` writes it anew, behind the marker line of the page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ofacore.config.sizes import PRESETS, Sizes

MARKER = "<!-- generated: python -m tools.docs.presets_page docs/presets.md -->\n"
VOCABULARY = 8192
"""Tokens that are counted with the layers."""
_TRAINED = 16
"""Bytes of a parameter in fp32: weight, gradient, two moments of AdamW."""


def parameters(sizes: Sizes) -> int:
    """Weights of the layers' matrices, and of a table of tokens that the head shares."""
    attention, feed_forward = 4 * sizes.hidden**2, 2 * sizes.hidden * sizes.ffn
    encoder = sizes.encoder_layers * (attention + feed_forward)
    decoder = sizes.decoder_layers * (2 * attention + feed_forward)
    return encoder + decoder + VOCABULARY * sizes.hidden


def page(current: str) -> str:
    """A page whose part behind the marker is current.

    Raises:
        ValueError: The page has no marker line, or several.
    """
    if current.count(MARKER) != 1:
        raise ValueError(f"the page needs the line {MARKER.strip()!r} once")
    head = [
        "| Preset | Width | Feed-forward | Heads | Encoder | Decoder | Parameters | Weights | Training |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([current.split(MARKER)[0] + MARKER, *head, *_rows(), ""])


def _rows() -> Iterator[str]:
    for name, sizes in PRESETS.items():
        count = parameters(sizes)
        layers = f"{sizes.encoder_layers} | {sizes.decoder_layers}"
        yield (
            f"| `{name}` | {sizes.hidden} | {sizes.ffn} | {sizes.heads} | {layers} | {_told(count)} | "
            f"{_bytes(4 * count)} | {_bytes(_TRAINED * count)} |"
        )


def _told(count: int) -> str:
    return f"{count / 1e9:.1f} G" if count >= 1e9 else f"{count / 1e6:.0f} M"


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.write_text(page(place.read_text(encoding="utf-8")), encoding="utf-8")
