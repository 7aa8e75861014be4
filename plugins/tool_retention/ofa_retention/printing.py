"""The report as text."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from ofa_cli.output import echo, print_table
from ofa_retention.figures import Mean, Retained

_TITLES = ("task", "base", "special.", "general.", "difference, 95 %", "ratio", "normal.")


def print_report(rows: Sequence[Retained], means: Sequence[Mean], shifted: bool = False) -> None:
    """A table for each generalist, and the means of all."""
    for variant in dict.fromkeys(row.variant for row in rows):
        own = [row for row in rows if row.variant == variant]
        echo(f"generalist '{variant}'" + (", rows of other sources" if shifted else ""))
        print_table(_TITLES, [_cells(row) for row in own])
        below = [row.task for row in own if row.clears is False]
        if below:
            echo(f"not above their baseline by the interval: {', '.join(below)}")
        for row in own:
            if row.problem:
                echo(f"{row.task}: {row.problem}")
        echo()
    for mean in means:
        _print_mean(mean)


def _cells(row: Retained) -> tuple[str, ...]:
    interval = ""
    if isfinite(row.difference_low):
        interval = f"{row.difference_low:+.3f} to {row.difference_high:+.3f}"
    return (
        row.task,
        short(row.baseline),
        short(row.specialist),
        short(row.generalist),
        interval,
        short(row.ratio),
        short(row.normalised),
    )


def short(value: float) -> str:
    """Three decimals; empty for what is not known."""
    return f"{value:.3f}" if isfinite(value) else ""


def _print_mean(mean: Mean) -> None:
    share = mean.parameters / max(1, mean.specialists_parameters)
    echo(f"{mean.variant}: over {mean.tasks} tasks it keeps")
    echo(
        f"  {mean.ratio:.3f} of its specialists' scores ({mean.ratio_low:.3f} to {mean.ratio_high:.3f})"
    )
    if mean.normalised_tasks:
        limits = f"{mean.normalised_low:.3f} to {mean.normalised_high:.3f}"
        told = f"  {mean.normalised:.3f} of what they gain over the baselines ({limits})"
        echo(told + f", {mean.normalised_tasks} tasks")
    echo(
        f"  with {mean.parameters / 1e6:.2f} M parameters, {share:.1%} of their "
        f"{mean.specialists_parameters / 1e6:.2f} M; {mean.clear} tasks are above their baseline"
    )
    echo(
        f"  trained {mean.samples} samples in {mean.seconds:.0f} s; the specialists took "
        f"{mean.specialists_seconds:.0f} s"
    )
