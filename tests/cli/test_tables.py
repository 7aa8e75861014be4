"""Tables of the commands on a terminal of 80 columns, and on none."""

from __future__ import annotations

import io
import sys

from rich.console import Console

from ofa_cli.output import print_table
from ofacore.evaluation.report import ScoreRow
from ofacore.runs.scoring_run import print_scores

NAMES = ("compositional_grounding", "iou_accuracy_at_half", "iou_accuracy_at_three_quarters")
BASELINE = "the box in the middle of the picture"
SCORES = [ScoreRow(NAMES[0], name, 0.5, 0.4, 0.6, 0.1, BASELINE, 300) for name in NAMES[1:]]


def printed(**options):
    console = Console(file=io.StringIO(), color_system=None, **options)
    print_scores(SCORES, console)
    return console.file.getvalue().splitlines()


def test_scores_keep_names_whole_on_a_narrow_terminal():
    lines = printed(width=80, force_terminal=True, soft_wrap=True)
    assert lines[0] == "held-out scores" and max(map(len, lines)) <= 80
    assert all(name in " ".join(lines).split() for name in NAMES)


def test_scores_are_a_line_each_without_a_terminal():
    lines = printed(width=80, soft_wrap=True)
    assert len(lines) == 4 and f"0.100 ({BASELINE})" in lines[2] and lines[2].endswith("better")


def test_a_command_fits_its_terminal(monkeypatch, capsys):
    rows = [(*NAMES, BASELINE)]
    print_table(("task", "metric", "other", "baseline"), rows)
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(("task", "metric", "other", "baseline"), rows)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and all(name in " ".join(lines).split() for name in NAMES)
