"""Addresses of files on other machines: which `fsspec` can read with what is installed."""

from __future__ import annotations

from difflib import get_close_matches

from ofacore.ground.excerpts import cut

_HUB = "a dataset of the Hugging Face hub is named without address, with format: hf"


def address_problem(address: str) -> str:
    """Why the files of an address cannot be fetched, with the way out; empty where they can. Nothing is fetched."""
    from fsspec import available_protocols, get_filesystem_class

    protocol, mark, _ = address.partition("://")
    shown = cut(address, 200)
    if not mark:
        return f"{shown}: commands are not run; save what it gives as a file and name that"
    if protocol == "hf":
        return f"{shown}: {_HUB}"
    known = available_protocols()
    if protocol not in known:
        near = get_close_matches(protocol, known, 1)
        hint = f"did you mean {near[0]}://?" if near else "download it and give its path"
        return f"{shown}: files cannot be fetched by {protocol}://; {hint}"
    try:
        get_filesystem_class(protocol)
    except ImportError as error:
        return f"{shown}: {protocol}:// needs a package that is not installed: {error}"
    return ""
