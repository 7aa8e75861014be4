"""The command ``ofa report retention``."""

from ofacore.plugin import CommandManifest

COMMAND = CommandManifest(
    "report retention",
    (2, 0),
    "ofa_retention.command:report_retention",
    "Compare a generalist with a specialist for each of its tasks.",
)
