"""Mistakes of ``ofa import`` and ``ofa export``; the page docs/importing.md runs them as they are meant to be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from ofa_cli.main import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "{here}", "--out", "run"], "found nothing; expected a checkpoint of OFASys"),
        (["import", "x", "--out", "y", "--experts", "many"], "there are none and modality"),
        (["export", "x", "--out", "y", "--format", "hfbart"], "did you mean 'hf-bart'"),
        (["export", "{here}/no", "--out", "y"], "no run folder"),
    ],
)
def test_mistakes_exit_with_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([argument.format(here=tmp_path) for argument in arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
