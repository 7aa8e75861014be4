"""A run that was scored gets its page."""

from __future__ import annotations

from pathlib import Path

from ofacore.plugin import hookimpl


class PageOfRun:
    """Writes ``report.html`` whenever a run was scored."""

    @hookimpl
    def ofa_scored(self, folder: Path) -> None:
        """Write the page into the run folder."""
        from ofa_report.run_page import write_run_page

        write_run_page(folder)
