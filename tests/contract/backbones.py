"""A plugin with backbones, written with public imports alone."""

from __future__ import annotations

from dataclasses import replace

from ofacore.plugin import CONTRACT, Component, ComponentManifest, Option

LAYERS = {"layers": Option(1, "Layers of each.", minimum=1)}


def _backbone(name: str, kind: str, doc: str, **more) -> Component:
    return Component("backbone", name, f"tests.contract.backbone_modules:{kind}", doc, **more)


MANIFEST = ComponentManifest(
    "backbones",
    CONTRACT,
    (
        _backbone("recurrent", "Recurrent", "Two GRUs.", options=LAYERS),
        _backbone("plain", "Plain", "Layers of torch."),
        _backbone("narrow", "Narrow", "Two GRUs of half the width.", options=LAYERS),
        _backbone("halved", "Halved", "Half of a backbone."),
        _backbone("short", "Short", "States are missing.", options=LAYERS),
        _backbone(
            "boaster", "Recurrent", "Says more than it can.", options=LAYERS, divides=("fsdp",)
        ),
    ),
)
SOUND = replace(MANIFEST, components=MANIFEST.components[:3])
"""Without those that lack something on purpose."""
