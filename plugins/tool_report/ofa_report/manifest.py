"""The command ``ofa report``."""

from ofacore.plugin import CommandManifest

COMMAND = CommandManifest(
    "report",
    (2, 0),
    "ofa_report.command:report",
    "Report on a run, or compare runs.",
)
