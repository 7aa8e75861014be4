"""This process as one of those of a run: its groups, and its signs of life."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from ofacore.config.schema import ParallelConfig
from ofacore.launch.heartbeat import Heartbeat
from ofacore.launch.watchdog import Watchdog, folder_of
from ofacore.parallel import process_groups as groups
from ofacore.setup.layout_check import layout_of

_PATIENCE = 60.0
"""Seconds that a collective waits longer than the watchdog, which knows more to tell."""


@contextmanager
def joined(config: ParallelConfig) -> Iterator[Sequence[Heartbeat]]:
    """Join the processes of a run; gives the callbacks that training then needs. One process joins nobody.

    Groups that exist are used as they are, and left as they are.

    Raises:
        LayoutError: The numbers do not fit together, or other groups exist.
    """
    layout = layout_of(config)
    if layout.single or not groups.layout().single:
        yield ()
        return
    groups.start(layout, timedelta(seconds=config.timeout + _PATIENCE))
    watchdog = Watchdog(groups.world_rank(), config.timeout, folder_of())
    watchdog.beat(0)
    try:
        yield (Heartbeat(watchdog),)
        groups.stop()
        watchdog.done()
    finally:
        watchdog.rest()
