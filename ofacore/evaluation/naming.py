"""What the numbers of a task's metrics are called, so that no two of them share a name."""

from __future__ import annotations

from collections.abc import Sequence

from ofacore.plugin import MetricUse


def called(name: str, number: int, uses: Sequence[MetricUse]) -> str:
    """What a number of a task's metric ``number`` is called: ``slot/name`` where the metric is on other slots too.

    Otherwise it is ``name``, as the metric says. A second use on the same slot, with other options, is ``name.2``.
    """
    own = uses[number]
    alike = [use for use in uses if use.metric == own.metric]
    if any(use.slot != own.slot for use in alike):
        name = f"{own.slot}/{name}"
    before = [use for use in uses[:number] if (use.metric, use.slot) == (own.metric, own.slot)]
    return f"{name}.{len(before) + 1}" if before else name
