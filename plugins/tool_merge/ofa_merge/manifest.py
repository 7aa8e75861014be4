"""The command ``ofa merge``."""

from ofacore.plugin import CommandManifest

COMMAND = CommandManifest(
    "merge", (2, 0), "ofa_merge.command:merge", "Make one model of several runs that began alike."
)
