"""Packs sequences into rows, and rows of similar size into a few groups, so that little of a matrix is empty.

Rows are made by first-fit decreasing (Johnson 1973): a sequence goes to the first row with room. The room of a row is
what its first sequence takes, at least `FLOOR`. Sizes may have two parts, such as target and source positions. Rows
are then sorted and cut into groups by dynamic programming over the number of empty places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FLOOR = 128
"""Positions of the first part that short sequences are packed up to; longer rows cost attention and save little."""
MAX_GROUPS = 4
Size = tuple[int, ...]
Row = list[int]
"""Numbers of the sequences in a row."""


def pack(sizes: Sequence[Size], floor: Size, max_groups: int = MAX_GROUPS) -> list[list[Row]]:
    """Groups of rows that hold every sequence once.

    Args:
        sizes: Positions of each sequence, one number for each part.
        floor: Room of a row of short sequences, for each part.
        max_groups: Most groups.
    """
    if not sizes:
        return []
    rows, loads = first_fit(sizes, floor)
    return _grouped(rows, np.array(loads, np.int64), max_groups)


def first_fit(sizes: Sequence[Size], floor: Size) -> tuple[list[Row], list[Size]]:
    """Rows, and how many positions each holds."""
    rows: list[Row] = []
    loads: list[Size] = []
    rooms: list[Size] = []
    for number in sorted(range(len(sizes)), key=lambda i: (-sum(sizes[i]), sizes[i], i)):
        size = sizes[number]
        for place, (load, room) in enumerate(zip(loads, rooms, strict=True)):
            if all(a + b <= c for a, b, c in zip(load, size, room, strict=True)):
                rows[place].append(number)
                loads[place] = tuple(a + b for a, b in zip(load, size, strict=True))
                break
        else:
            rows.append([number])
            loads.append(size)
            rooms.append(tuple(max(a, b) for a, b in zip(size, floor, strict=True)))
    return rows, loads


def _grouped(rows: list[Row], loads: np.ndarray, max_groups: int) -> list[list[Row]]:
    """The cheaper of two orders: by the last part (source positions), or by the total."""
    orders = (np.lexsort((loads[:, 0], loads[:, -1])), np.argsort(loads.sum(1), kind="stable"))
    cuts = [best_cuts(loads[order], max_groups) for order in orders]
    order, (_, ends) = min(zip(orders, cuts, strict=True), key=lambda pair: pair[1][0])
    starts = [0, *ends[:-1]]
    return [[rows[i] for i in order[start:end]] for start, end in zip(starts, ends, strict=True)]


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
