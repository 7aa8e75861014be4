"""Packs sequences into rows, and rows of similar size into a few groups, so that little of a matrix is empty.

Rows are made by first-fit decreasing (Johnson 1973): a sequence goes to the first row with room. The room of a row is
what its first sequence takes, at least `FLOOR`. Sizes may have two parts, such as target and source positions. Rows
are then sorted and cut into groups by dynamic programming over the number of empty places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FLOOR = 128
"""Source positions that short sequences are packed up to; target positions up to half of it."""
FULL = 0.92
"""Share of real positions that is good enough."""
_ATTEMPTS = ((1, 4), (1, 8), (2, 4), (2, 8), (4, 4), (4, 8))
"""Factors on the floor, and most groups; a later one, whose attention costs more, only where too much is empty."""
Size = tuple[int, ...]
Row = list[int]
"""Numbers of the sequences in a row."""


def pack(sizes: Sequence[Size], floor: Size) -> list[list[Row]]:
    """Groups of rows that hold every sequence once, eight groups at most.

    Args:
        sizes: Positions of each sequence, one number for each part.
        floor: Room of a row of short sequences, for each part.
    """
    if not sizes:
        return []
    real = sum(map(sum, sizes))
    best: tuple[float, list[list[Row]]] | None = None
    for factor, max_groups in _ATTEMPTS:
        rows, loads = first_fit(sizes, tuple(factor * part for part in floor))
        found = _grouped(rows, loads, max_groups)
        best = found if best is None or found[0] < best[0] else best
        if real >= FULL * best[0]:
            break
    assert best is not None
    return best[1]


def first_fit(sizes: Sequence[Size], floor: Size) -> tuple[list[Row], np.ndarray]:
    """Rows, and how many positions each holds: int64 [rows, parts]."""
    table = np.array(sizes, np.int64)
    order = np.lexsort((*table.T, -table.sum(1)))
    room = np.zeros(table.T.shape, np.int64)
    rows: list[Row] = []
    for number in order.tolist():
        size = sizes[number]
        fits = room[0, : len(rows)] >= size[0]
        for part in range(1, len(size)):
            fits &= room[part, : len(rows)] >= size[part]
        place = int(fits.argmax()) if rows else 0
        if rows and fits[place]:
            rows[place].append(number)
        else:
            place = len(rows)
            rows.append([number])
            room[:, place] = np.maximum(size, floor)
        room[:, place] -= size
    return rows, np.array([table[row].sum(0) for row in rows])


def _grouped(rows: list[Row], loads: np.ndarray, max_groups: int) -> tuple[float, list[list[Row]]]:
    """Places taken and the groups, by the best of three orders: by the last part, by the first, by the total."""
    orders = (
        np.lexsort((loads[:, 0], loads[:, -1])),
        np.lexsort((loads[:, -1], loads[:, 0])),
        np.argsort(loads.sum(1), kind="stable"),
    )
    cuts = [best_cuts(loads[order], max_groups) for order in orders]
    order, (places, ends) = min(zip(orders, cuts, strict=True), key=lambda pair: pair[1][0])
    starts = [0, *ends[:-1]]
    return places, [[rows[i] for i in order[start:end]] for start, end in zip(starts, ends, strict=True)]


def best_cuts(loads: np.ndarray, max_groups: int) -> tuple[float, list[int]]:
    """Places taken, and the end of each group, for consecutive groups of rows [rows, parts]."""
    count = len(loads)
    cost = np.full((count + 1, count + 1), np.inf)
    for start in range(count):
        widest = np.maximum.accumulate(loads[start:], axis=0).sum(1)
        cost[start, start + 1 :] = widest * np.arange(1, count - start + 1)
    totals, choices = [cost[0]], [np.zeros(count + 1, np.int64)]
    for _ in range(1, min(max_groups, count)):
        table = totals[-1][:, None] + cost
        choices.append(table.argmin(0))
        totals.append(table.min(0))
    groups = int(np.argmin([total[count] for total in totals]))
    ends = [count]
    for level in range(groups, 0, -1):
        ends.append(int(choices[level][ends[-1]]))
    return float(totals[groups][count]), ends[::-1]
