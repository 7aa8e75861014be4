"""Commands for checkpoints of other projects."""

from ofacore.plugin import CommandManifest

IMPORT = CommandManifest(
    "import",
    (2, 0),
    "ofa_foreign.import_command:import_",
    "Make a run of another project's checkpoint.",
)
EXPORT = CommandManifest(
    "export",
    (2, 0),
    "ofa_foreign.export_command:export",
    "Write a run's model for other programs.",
)
