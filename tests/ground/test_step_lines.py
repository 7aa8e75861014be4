"""Lines of steps that are done again are dropped."""

import math

import pytest

from ofacore.ground.step_lines import keep_lines

WHOLE = '{"step": 1, "said": "a\u2028b"}\n{"step": 2}\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (WHOLE, WHOLE),
        (WHOLE + '{"step": 3}\n', WHOLE),
        (WHOLE + '{"ste', WHOLE),
        (WHOLE.removesuffix("\n"), WHOLE),
        (WHOLE + "[]\n", WHOLE),
        ("", ""),
    ],
)
def test_what_is_kept_ends_with_a_line_break(tmp_path, before, after):
    path = tmp_path / "lines.jsonl"
    path.write_text(before, encoding="utf-8")
    keep_lines(path, lambda step: step <= 2)
    assert path.read_text(encoding="utf-8") == after
    assert list(tmp_path.iterdir()) == [path]


def test_no_file_stays_no_file(tmp_path):
    keep_lines(tmp_path / "none.jsonl", math.isfinite)
    assert not any(tmp_path.iterdir())
