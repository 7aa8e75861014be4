"""A check of one plugin leaves the others alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofa_kit.checks import checking
from ofacore.plugin import UnknownNameError


def test_new_manifests_of_others_get_no_process_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def note(subject: object, target: str, timeout: float) -> list[object]:
        tried.append(target)
        return []

    monkeypatch.setenv("OFA_CACHE", str(tmp_path))  # so that every manifest is new
    monkeypatch.setenv("OFA_PLUGINS", "text")
    monkeypatch.setattr(checking, "check_manifest_import", note)
    with pytest.raises(UnknownNameError):
        checking.check_plugins("nothing-of-this-name", imports=True)
    assert not tried
