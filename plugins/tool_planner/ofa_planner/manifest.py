"""The command ``ofa plan-layout``, and what it knows of the core's position scheme."""

from ofacore.plugin import CommandManifest, Component, ComponentManifest

COMMAND = CommandManifest(
    "plan-layout",
    (2, 0),
    "ofa_planner.command:plan_layout",
    "Propose parallel layouts for a number of GPUs.",
)
MANIFEST = ComponentManifest(
    "planner",
    (2, 0),
    (
        Component(
            "positions_cost",
            "rotary",
            "ofa_planner.positions:RotaryCost",
            "What rotation costs.",
        ),
    ),
    "What the planner of layouts knows.",
)
