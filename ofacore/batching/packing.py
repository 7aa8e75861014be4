"""Packs sequences into rows, and rows of similar size into a few groups, so that little of a matrix is empty.

Rows are made by first-fit decreasing (Johnson 1973): a sequence goes to the first row with room. The room of a row is
what its first sequence takes, at least `FLOOR`. Sizes have one part or two, such as target and source positions. Rows
are then sorted and cut into groups by dynamic programming over the number of empty places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

FLOOR = 128
"""Source positions that short sequences are packed up to; target positions up to half of it."""
OPEN_ROWS = 64
"""Most rows that are tried for a sequence; beyond them the fullest is closed, which bounds the time."""
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
    parts = np.array(sizes, np.int64)
    order = np.lexsort((*parts.T, -parts.sum(1))).tolist()
    (least, more), (room, further) = _both(parts.min(0).tolist()), _both(floor)
    rows: list[Row] = []
    row_of = np.empty(len(sizes), np.int64)
    rooms: dict[int, tuple[int, int]] = {}
    for number in order:
        size, other = _both(sizes[number])
        place = _first_with_room(rooms, size, other)
        if place is None:
            place = len(rows)
            rows.append([])
            rooms[place] = max(size, room), max(other, further)
        rows[place].append(number)
        row_of[number] = place
        left = rooms[place]
        left = rooms[place] = left[0] - size, left[1] - other
        if left[0] < least or left[1] < more:
            del rooms[place]
        elif len(rooms) > OPEN_ROWS:
            del rooms[min(rooms, key=lambda row: sum(rooms[row]))]
    loads = np.zeros((len(rows), parts.shape[1]), np.int64)
    np.add.at(loads, row_of, parts)
    return rows, loads


def _both(size: Sequence[int]) -> tuple[int, int]:
    """Both parts of a size; the second is 0 where there is one."""
    return size[0], size[1] if len(size) > 1 else 0


def _first_with_room(rooms: Mapping[int, tuple[int, int]], size: int, other: int) -> int | None:
    for row, (room, further) in rooms.items():
        if room >= size and further >= other:
            return row
    return None


def _grouped(rows: list[Row], loads: np.ndarray, max_groups: int) -> tuple[float, list[list[Row]]]:
    """Places taken and the groups, by the best of three orders: by the last part, by the first, by the total."""
    orders = [np.argsort(loads.sum(1), kind="stable")]
    if loads.shape[1] > 1:
        first, last = loads[:, 0], loads[:, -1]
        orders = [np.lexsort((first, last)), np.lexsort((last, first)), *orders]
    number, places, ends = best_cuts(loads[np.stack(orders)], max_groups)
    ordered = [rows[place] for place in orders[number].tolist()]
    starts = [0, *ends[:-1]]
    return places, [ordered[start:end] for start, end in zip(starts, ends, strict=True)]


@lru_cache(maxsize=64)
def _spans(count: int) -> np.ndarray:
    """int64 [count, count]: how many rows a group from the first to the second has; below 1 where it is none."""
    places = np.arange(count)
    spans = places - places[:, None] + 1
    spans.flags.writeable = False
    return spans


def best_cuts(loads: np.ndarray, max_groups: int) -> tuple[int, float, list[int]]:
    """Which order of rows to cut into consecutive groups, and where.

    Args:
        loads: What each row holds, in several orders [orders, rows, parts].
        max_groups: Most groups.

    Returns:
        The number of the order, the places that its groups take, and the end of each group.
    """
    orders, count, parts = loads.shape
    spans = _spans(count)
    widest = np.zeros((orders, count, count), np.int64)
    for part in range(parts):
        held = np.where(spans > 0, loads[:, None, :, part], 0)
        widest += np.maximum.accumulate(held, axis=2)
    cost = np.full((orders, count + 1, count + 1), np.inf)
    cost[:, :-1, 1:] = np.where(spans > 0, widest * spans, np.inf)
    totals, choices = [cost[:, 0]], [np.zeros((orders, count + 1), np.int64)]
    for _ in range(1, min(max_groups, count)):
        table = totals[-1][:, :, None] + cost
        choices.append(table.argmin(1))
        totals.append(table.min(1))
    places = np.stack([total[:, count] for total in totals], axis=1)
    order, groups = divmod(int(places.argmin()), len(totals))
    ends = [count]
    for level in range(groups, 0, -1):
        ends.append(int(choices[level][order, ends[-1]]))
    return order, float(places[order, groups]), ends[::-1]
