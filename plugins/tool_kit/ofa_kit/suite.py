"""What all conformance suites have in common."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from ofa_kit.probe import MANIFEST as PROBE
from ofa_kit.registry import ClosedRegistry, PluginName, load_manifest
from ofacore.plugin import Component, LoadError, Manifest, UnknownNameError


class Suite:
    """Base of the suites.

    Attributes:
        plugin: ``"package.manifest:MANIFEST"``, the name of an entry point, or a manifest.
        requires: Further plugins that take part, written the same way. Default: none.
    """

    plugin: ClassVar[PluginName] = ""
    requires: ClassVar[tuple[PluginName, ...]] = ()

    def manifest(self) -> Manifest:
        """The manifest under test; a test fails where there is none."""
        if not self.plugin:
            pytest.fail(
                f"{type(self).__name__}: set plugin = 'your_package.manifest:MANIFEST'",
                pytrace=False,
            )
        try:
            return load_manifest(self.plugin)
        except (ImportError, AttributeError, UnknownNameError, LoadError) as error:
            pytest.fail(
                f"the manifest '{self.plugin}' cannot be imported: {error}; check the name, and that the package is "
                "installed (pip install -e .)",
                pytrace=False,
            )

    def closed_registry(self) -> ClosedRegistry:
        """The core's components, the plugin, what it requires, and the labels that stand beside it."""
        return ClosedRegistry(PROBE).register(*self.requires, self.manifest())

    def bench(self) -> Any:
        """What the checks share; one for all checks of a class."""
        return self.closed_registry()

    def component(self, kind: str, name: str) -> Component:
        """A component of the plugin, or of the core where the plugin does not bring it."""
        if not name:
            pytest.fail(
                f"{type(self).__name__}: set {kind} = 'the name of your {kind} component'",
                pytrace=False,
            )
        try:
            return self.closed_registry().component(kind, name)
        except UnknownNameError as error:
            pytest.fail(
                f"{error}; list it in the components of '{self.manifest().name}'", pytrace=False
            )
