"""Pieces that the pages are made of: one file each, nothing to load from anywhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from html import escape
from math import isfinite
from pathlib import Path

from ofacore.ground.figures import figure, figures

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.25rem .8rem;text-align:right;border-bottom:1px solid #ddd}
td,th{white-space:nowrap}td.text,.wide{white-space:normal}td.text,th.text{text-align:left;overflow-wrap:break-word}
.charts,.samples{display:flex;flex-wrap:wrap;gap:1rem}
figure{margin:0}figure svg{max-width:100%;height:auto}
.sample{border:1px solid #ddd;border-radius:6px;padding:.6rem;max-width:320px;overflow-wrap:anywhere}
.sample img,.sample svg{max-width:100%;min-width:96px}.note{color:#a33;font-size:13px}
.slot{margin:.2rem 0}.good{color:#2c7a3d}.flat{color:#a33}code{background:#f4f4f4;padding:0 .2rem}
"""


_ALLOWED = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
"""What a browser may load: what is in the page itself, whatever fragments of plugins ask for."""


class Marked(str):
    """HTML that may stand as it is."""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_ALLOWED}">'
    head = f"<meta charset='utf-8'>{policy}<title>{escape(title)}</title><style>{_STYLE}</style>"
    icon = "<link rel='icon' href='data:,'>"  # a browser would ask for one otherwise
    body = "\n".join(part for part in parts if part)
    return f"<!doctype html><html lang='en'>{head}{icon}<h1>{escape(title)}</h1>{body}</html>\n"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A table, whose first columns are texts and the others numbers; nothing without rows."""
    if not rows:
        return ""
    head = _line("th", titles, texts)
    lines = [_line("td", row, texts) for row in rows]
    return f"<table>{head}{''.join(lines)}</table>"


def _line(tag: str, values: Sequence[str], texts: int) -> str:
    cells = [_cell(tag, value, place < texts) for place, value in enumerate(values)]
    return f"<tr>{''.join(cells)}</tr>"


def number(value: float | None, form: str = ".3f") -> str:
    """A number, or nothing where there is none."""
    return figure(value, form) if value is not None and isfinite(value) else ""


def interval(low: float, high: float, form: str = ".3f") -> str:
    """Both ends, or nothing."""
    return figures(low, high, form) if isfinite(low) else ""


def coloured(text: str, colour: str) -> Marked:
    """Text in one of the page's colours, ``good`` or ``flat``, or ``wide``: its lines may break."""
    return Marked(f"<span class='{colour}'>{escape(text)}</span>")


def write_page(path: Path, text: str) -> None:
    """Write a page, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _cell(tag: str, value: str, is_text: bool) -> str:
    kind = " class='text'" if is_text else ""
    shown = value if isinstance(value, Marked) else escape(value)
    return f"<{tag}{kind}>{shown}</{tag}>"
