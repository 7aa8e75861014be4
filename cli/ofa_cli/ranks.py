"""One of several processes of a command: who prints, and who hears of errors."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

from ofa_cli.failures import is_user_error, message
from ofacore.ground.printable import printable


def rank() -> int | None:
    """Number of this process among those that a launcher started; None: it is the only one."""
    return (
        int(os.environ["RANK"])
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ
        else None
    )


def quieten() -> None:
    """The first process prints; of the others only errors are seen."""
    if rank():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        logging.disable(logging.WARNING)


def tell(error: BaseException, stream: TextIO) -> None:
    """Print an error once: the launcher does it where it can, else the process itself, with its number."""
    user, own = is_user_error(error), rank()
    text = printable(message(error))
    if own is not None:
        from ofacore.launch.elastic import leave_report
        from ofacore.launch.watchdog import folder_of

        folder = folder_of()
        if folder:
            leave_report(text, user, own, folder)
            return
        text = f"rank {own}: {text}"
    print(f"{'error' if user else 'failure'}: {text}", file=stream)


def end_group_member(code: int) -> None:
    """End this process at once if it is in groups with others; else do nothing.

    After an error the groups cannot be left together, and their threads may abort an interpreter that takes its time to
    end: the launcher would see a signal in place of the exit code.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return
    if distributed.get_world_size() == 1:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
