"""Checks of what a plugin says about itself: its entry point, its manifest, the names in it."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from ofa_kit.members import missing_members
from ofa_kit.suite import Suite
from ofacore.plugin import (
    CommandManifest,
    ComponentManifest,
    LoadError,
    Manifest,
    ModalityManifest,
    PluginError,
    TaskManifest,
)
from ofacore.plugin.discovery import announcements
from ofacore.plugin.options import declaration_fault
from ofacore.plugin.plugin_rows import Announcement, contract_problem, import_target, plugin_of

HEAVY = (
    "PIL",
    "av",
    "cv2",
    "datasets",
    "diffusers",
    "librosa",
    "matplotlib",
    "megatron",
    "numpy",
    "pandas",
    "scipy",
    "sklearn",
    "soundfile",
    "tensorflow",
    "tokenizers",
    "torch",
    "torchmetrics",
    "torchvision",
    "transformers",
)
"""Libraries that reading a manifest may not import."""
_WEIGHS = "ofacore.protocols:LossWeighing"
"""Protocol of aggregators that weigh losses and see no gradients."""
_KINDS = {
    ModalityManifest: "modality",
    TaskManifest: "task",
    ComponentManifest: "component",
    CommandManifest: "command",
}


class DeclarationChecks(Suite):
    """Checks that every plugin passes, whatever it brings."""

    def test_found_through_its_entry_point(self) -> None:
        """Discovery finds the manifest, and it fits this core."""
        manifest = self.manifest()
        found = announced(manifest)
        group = f"ofa.{_KINDS[type(manifest)]}"
        target = (
            self.plugin
            if isinstance(self.plugin, str) and ":" in self.plugin
            else "your_package.manifest:MANIFEST"
        )
        assert found, (
            f"no entry point announces the manifest of '{manifest.name}', so an installed model cannot find it: write\n"
            f'[project.entry-points."{group}"]\n{manifest.name} = "{target}"\n'
            "into pyproject.toml and install the package again (pip install -e .)"
        )
        kind = found.kind or _KINDS[type(manifest)]
        assert kind == _KINDS[type(manifest)], (
            f"'{found.name}' is announced in the group ofa.{kind}, but it is a "
            f"{type(manifest).__name__}: announce it in the group {group}"
        )
        problem = contract_problem(manifest.contract, found.distribution)
        assert not problem, f"the contract of '{manifest.name}' does not fit: {problem}"

    def test_manifest_is_light(self) -> None:
        """Reading the manifest imports no heavy library: every command reads the manifests of all plugins."""
        target = manifest_target(self)
        imported, error = heavy_imports(target)
        assert not error, (
            f"the manifest '{target}' cannot be imported by a fresh interpreter:\n{error}"
        )
        assert not imported, (
            f"importing '{target}' imports {', '.join(imported)}: name implementations as "
            "'module:Object' strings, which are imported at first use, and move code that needs "
            "these libraries out of the manifest's module"
        )

    def test_names_resolve(self) -> None:
        """Every ``"module:Object"`` can be imported, and every component that is named exists."""
        manifest = self.manifest()
        try:
            plugin_of(Announcement("", manifest.name, "", manifest.name, "0"), manifest)
        except PluginError as error:
            pytest.fail(f"the manifest of '{manifest.name}' is malformed: {error}", pytrace=False)
        registry = self.closed_registry()
        for what, target in targets(manifest):
            try:
                registry.resolve(target)
            except LoadError as error:
                pytest.fail(
                    f"{what}: '{target}' cannot be imported: {error}; correct the string",
                    pytrace=False,
                )
            if isinstance(manifest, CommandManifest):
                assert callable(registry.resolve(target)), (
                    f"{what}: '{target}' cannot be called; name a Typer application or a function"
                )
        for owner, kind, name in uses(manifest):
            assert name in registry.names(kind), (
                f"{owner} names the {kind} '{name}', which neither this plugin nor the core has; "
                f"there are {', '.join(registry.names(kind))}. If another plugin brings it, list "
                "that plugin in `requires` here and in the dependencies of pyproject.toml"
            )

    def test_options_are_declared(self) -> None:
        """The default of every option fits its own declaration; one without a sentence is warned of."""
        for component in self.manifest().components:
            for name, option in component.declared.items():
                title = f"option '{name}' of the {component.kind} '{component.name}'"
                fault = declaration_fault(option)
                assert not fault, f"{title}: {fault}; correct its Option(...) in the manifest"
                if not option.doc:
                    warnings.warn(
                        f"{title} has no sentence: declare it by Option(default, 'what it does')",
                        stacklevel=1,
                    )

    def test_components_have_what_their_protocol_asks(self) -> None:
        """A class has every member of its kind's protocol, but for those that may be left out."""
        registry = self.closed_registry()
        for component in self.manifest().components:
            protocol = registry.kind(component.kind).protocol
            built = registry.load(component.kind, component.name) if protocol else None
            if not isinstance(built, type):
                continue
            if getattr(built, "weighs_losses", False):
                protocol = _WEIGHS
            missing = missing_members(registry.resolve(protocol), built)
            assert not missing, (
                f"the {component.kind} '{component.name}' has no {', '.join(missing)}: its protocol is {protocol}, "
                "whose members it needs"
            )

    def test_declared_options_are_shared_with_somebody(self) -> None:
        """An option that is set once for several components is one of theirs too."""
        registry = self.closed_registry()
        for component in self.manifest().components:
            served = [registry.component(kind, name) for kind, name in component.uses.items()]
            for name in (name for name, option in component.declared.items() if option.shared):
                assert any(name in other.options for other in served), (
                    f"the {component.kind} '{component.name}' shares its option '{name}', but none of the components "
                    f"that it uses declares it: {', '.join(other.name for other in served) or 'it uses none'}"
                )


class PluginConformance(DeclarationChecks):
    """Checks of a plugin of any group, whatever kinds of components, row transforms or commands it brings."""


def announced(manifest: Manifest) -> Announcement | None:
    """The entry point that announces a manifest."""
    for found in announcements()[0]:
        if found.target.partition(":")[0] in sys.modules and _import(found.target) is manifest:
            return found
    return None


def manifest_target(suite: Suite) -> str:
    """``"module:Object"`` of the manifest under test."""
    manifest = suite.manifest()
    if isinstance(suite.plugin, str) and ":" in suite.plugin:
        return suite.plugin
    found = announced(manifest)
    if found is None:
        pytest.skip(
            "the manifest was given as an object: give 'package.manifest:MANIFEST' to check its module"
        )
    return found.target


def heavy_imports(target: str) -> tuple[list[str], str]:
    """(heavy libraries that importing the module of a target imports, error text) in a fresh interpreter."""
    module = target.partition(":")[0]
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; import {module}; "
        f"print('>', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(">")]
    return (lines[-1].split()[1:] if lines else []), done.stderr if done.returncode else ""


def targets(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """(what, ``"module:Object"``) of everything that a manifest refers to."""
    if isinstance(manifest, CommandManifest):
        yield f"the command '{manifest.name}'", manifest.target
    for kind in getattr(manifest, "kinds", ()):
        yield f"the protocol of the kind '{kind.name}'", kind.protocol
    for component in manifest.components:
        yield f"the {component.kind} '{component.name}'", component.target
        if component.check:
            yield f"the check of the {component.kind} '{component.name}'", component.check
    for slot in getattr(manifest, "slots", ()):
        if slot.sample:
            yield f"the sample of {slot.name}", slot.sample
        if slot.row_transform:
            yield f"the row transform of {slot.name}", slot.row_transform
    for preset in getattr(manifest, "presets", ()):
        for what in ("data", "baseline"):
            if getattr(preset, what):
                yield f"{what} of the preset '{preset.name}'", getattr(preset, what)


def uses(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    """(owner, kind, name) of every component that a manifest names."""
    for slot in getattr(manifest, "slots", ()):
        yield f"slot type {slot.name}", "preprocessor", slot.preprocessor
    for component in manifest.components:
        for kind, name in component.uses.items():
            yield f"{component.kind} '{component.name}'", kind, name
        for name in component.builds_on:
            yield f"{component.kind} '{component.name}' in builds_on", "preprocessor", name


def _import(target: str) -> Any:
    try:
        return import_target(target)
    except (ImportError, AttributeError):
        return None
