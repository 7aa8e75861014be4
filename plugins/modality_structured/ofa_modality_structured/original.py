"""How the original cleans the cells of a table before it writes them."""

from __future__ import annotations

from collections.abc import Iterable

_DROPPED = str.maketrans({"(": "", ")": "", '"': "", ",": " ", "_": " "})
_BRACKETS = str.maketrans({"(": "", ")": "", "_": " "})
KINDS = ("c", "k")


def cleaned(cell: str, kind: str) -> str:
    """A cell without brackets, and words that ``_`` joins apart; kind ``c`` loses quotes and commas too."""
    if kind == "k":
        return " ".join(cell.translate(_BRACKETS).split())
    return cell.strip().translate(_DROPPED)


def cleaned_cells(cells: Iterable[str], between: str) -> str:
    """Cells of kind ``c`` with a text between them that has nothing to be cleaned, in one pass over all letters."""
    return between.join([cell.strip() for cell in cells]).translate(_DROPPED).strip()
