"""Groups of tasks that help each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Group = tuple[str, ...]


def groups_of(tasks: Sequence[str], helps: np.ndarray) -> list[Group]:
    """Tasks that are better learned together (agglomerative clustering, average linkage).

    Args:
        tasks: Names.
        helps: [tasks, tasks]: how much row A helps column B; negative: it harms. What is not a number is passed over.

    Returns:
        Groups, the largest first: the two with the highest mean help in both directions become one, as long as it is
        above 0.
    """
    mutual = (helps + helps.T) / 2
    groups = [[place] for place in range(len(tasks))]
    while len(groups) > 1:
        pairs = [(a, b) for b in range(len(groups)) for a in range(b)]
        means = [_mean(mutual[np.ix_(groups[a], groups[b])]) for a, b in pairs]
        best = int(np.argmax(means))
        if means[best] <= 0:
            break
        a, b = pairs[best]
        groups[a] += groups.pop(b)
    named = []
    for group in sorted(groups, key=lambda group: (-len(group), min(group))):
        named.append(tuple(tasks[place] for place in sorted(group)))
    return named


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.0
