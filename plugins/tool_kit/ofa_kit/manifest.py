"""Commands of the kit, below ``ofa plugins``."""

from ofacore.plugin import CommandManifest

_COMMANDS = "ofa_kit.commands"

CHECK = CommandManifest(
    "plugins check",
    (2, 0),
    f"{_COMMANDS}.check:check",
    "Find what is wrong with plugins, one line each; exit 1 if there is a problem.",
)
DOCTOR = CommandManifest(
    "plugins doctor",
    (2, 0),
    f"{_COMMANDS}.doctor:doctor",
    "What a report about a plugin needs; exit 1 if something is wrong.",
)
NEW = CommandManifest(
    "plugins new",
    (2, 0),
    f"{_COMMANDS}.new:new",
    "Write a new package that installs, passes its tests and trains as it is.",
)
