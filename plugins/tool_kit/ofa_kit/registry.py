"""A registry that holds what a test gives it and the core's own components; nothing that happens to be installed."""

from __future__ import annotations

from typing import Any, NoReturn

from ofacore.components.manifest import MANIFEST as CORE
from ofacore.plugin import Manifest, PluginError, Registry, UnknownNameError
from ofacore.plugin.discovery import announcements
from ofacore.plugin.plugin_rows import import_target

PluginName = str | Manifest
"""``"package.module:MANIFEST"``, the name of an entry point, or a manifest."""


class ClosedRegistry(Registry):
    """Holds the core's components and what `register` was given; it finds nothing by itself."""

    def __init__(self, *manifests: Manifest) -> None:
        self.manifests: tuple[Manifest, ...] = ()
        self.register(*manifests)

    def register(self, *plugins: PluginName) -> ClosedRegistry:
        """Add plugins; returns itself.

        Args:
            plugins: ``"package.module:MANIFEST"``, names of entry points, or manifests.

        Raises:
            PluginError: One of them cannot be used.
        """
        for plugin in plugins:
            manifest = load_manifest(plugin)
            if all(manifest is not known for known in (CORE, *self.manifests)):
                self.manifests = (*self.manifests, manifest)
        built = Registry.of(CORE, *self.manifests)
        super().__init__(built._plugins, built._prefer, built._given)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return ClosedRegistry, self.manifests

    @classmethod
    def discover(cls, *_: object, **__: object) -> NoReturn:
        """Refused.

        Raises:
            PluginError: Always.
        """
        refuse_discovery()


def refuse_discovery(*_: object, **__: object) -> NoReturn:
    """Stands in for `Registry.discover` while a test uses the fixture ``registry``.

    Raises:
        PluginError: Always.
    """
    raise PluginError(
        "this test uses the fixture `registry`, which holds only what the test registers, so nothing is discovered: "
        "call registry.register('package.manifest:MANIFEST') and pass registry=registry"
    )


def load_manifest(plugin: PluginName) -> Manifest:
    """The manifest that a target or the name of an entry point stands for.

    Raises:
        UnknownNameError: No entry point of that name is installed.
        LoadError: The manifest cannot be imported.
    """
    if not isinstance(plugin, str):
        return plugin
    manifest: Any = import_target(find_target(plugin))
    return manifest  # type: ignore[no-any-return]


def find_target(plugin: str) -> str:
    """``"module:Object"`` of a plugin that is given so, or by the name of its entry point.

    Raises:
        UnknownNameError: No entry point of that name is installed.
    """
    if ":" in plugin:
        return plugin
    announced = {found.name: found.target for found in announcements()[0]}
    if plugin not in announced:
        hint = "install the package (pip install -e .), or write 'package.manifest:MANIFEST'"
        raise UnknownNameError("plugin", plugin, announced, hint)
    return announced[plugin]
