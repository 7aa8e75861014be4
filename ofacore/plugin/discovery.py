"""Finds installed plugins: one entry point after the other, each in a ``try`` of its own.

Environment variables:
    ``OFA_PLUGINS``: Names of plugins or distributions that may be used, separated by commas; the others are
        ``disabled``. Set to nothing, only the core's own components remain.
    ``OFA_PLUGIN_DEV``: ``name=package.module:MANIFEST[,...]``, plugins that are importable but not installed.
    ``OFA_PLUGIN_TIMEOUT``: Seconds that the first import of a manifest may take.
    ``OFA_PREFER``: ``name=distribution[,...]``, which plugin brings a name that several have, where no configuration
        says so (`Registry.discover`).
    ``OFA_STRICT_PLUGINS``: ``1`` makes every bad plugin an error.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING

from ofacore.plugin.cache import RowCache, cache_file
from ofacore.plugin.first_party import COMMAND_DISTRIBUTIONS, CORE_DISTRIBUTION
from ofacore.plugin.guard import guarded
from ofacore.plugin.plugin_errors import PluginError, UnknownNameError
from ofacore.plugin.plugin_rows import (
    GROUPS,
    Announcement,
    Plugin,
    describe,
    import_target,
    plugin_of,
    without_manifest,
)
from ofacore.plugin.trial import try_imports

if TYPE_CHECKING:
    from importlib.metadata import Distribution


SLOW = 1.0
"""Seconds that the import of a manifest may take before its plugin is named."""


def discover_plugins(
    refused: Mapping[str, str] = MappingProxyType({}), only: str = ""
) -> list[Plugin]:
    """Every plugin that is announced, whatever state it is in.

    Args:
        refused: Target -> why it must not be imported here.
        only: Kind of plugin (``command``) that is wanted; of others none is imported that says its kind.

    Raises:
        PluginError: An environment variable cannot be read.
    """
    announced, plugins = announcements()
    allowed = allowed_names([*announced, *(_announcement(plugin) for plugin in plugins)])
    cache = RowCache.read(cache_file())
    if only:
        announced = [announcement for announcement in announced if announcement.kind in (only, "")]
    refused = {**_stopped(announced, allowed, cache, refused), **refused}
    read: dict[str, list[str]] = {}
    for announcement in announced:
        if announcement.target in refused:
            plugins.append(without_manifest(announcement, "broken", refused[announcement.target]))
        elif permitted(announcement, allowed):
            plugins.append(_examine(announcement, cache, read))
        else:
            plugins.append(without_manifest(announcement, "disabled", "not listed in OFA_PLUGINS"))
    if only:
        cache.keep_others()
    cache.write()
    return plugins


def _stopped(
    announced: list[Announcement],
    allowed: set[str] | None,
    cache: RowCache,
    refused: Mapping[str, str],
) -> dict[str, str]:
    """Manifests that were not seen before and cannot be imported here, by target."""
    new = [
        found.target
        for found in announced
        if found.kind != "hooks"
        and found.distribution != CORE_DISTRIBUTION
        and found.target not in refused
        and found.target.partition(":")[0] not in sys.modules
        and permitted(found, allowed)
        and cache.get(found) is None
    ]
    if not new:
        return {}
    way_out = "mend it, uninstall the plugin, or leave it out with OFA_PLUGINS"
    return {
        target: f"{reason}; {way_out}"
        for target, reason in try_imports(list(dict.fromkeys(new))).items()
    }


def announcements() -> tuple[list[Announcement], list[Plugin]]:
    """All entry points of our groups, and rows for distributions whose entry points cannot be read."""
    from importlib.metadata import distributions

    found: dict[str, list[Announcement]] = {}
    unreadable: list[Plugin] = []
    for distribution in distributions():
        text = _read(distribution, "entry_points.txt")
        if "ofa." not in text:
            continue
        name, version = _name_and_version(distribution)
        if name in found:
            continue
        try:
            found[name] = list(_entry_points(text, name, version))
        except Exception as error:
            problem = f"its entry_points.txt cannot be read: {describe(error)}"
            unreadable.append(
                without_manifest(Announcement("", name, "", name, version), "broken", problem)
            )
    installed = [announcement for group in found.values() for announcement in group]
    known = {announcement.target for announcement in installed}
    return installed + [dev for dev in _development() if dev.target not in known], unreadable


def _examine(announcement: Announcement, cache: RowCache, read: dict[str, list[str]]) -> Plugin:
    """The plugin behind one entry point; whatever its import does becomes the problem of its row.

    Args:
        announcement: The entry point.
        cache: Gets what was found.
        read: Module -> files that its import read; several manifests may stand in one module.
    """
    if announcement.kind == "hooks":
        return _examine_hooks(announcement)
    if plugin := cache.get(announcement):
        return plugin
    before, start = set(sys.modules), time.perf_counter()
    try:
        owner = f"plugin '{announcement.name}' ({announcement.distribution})"
        with guarded(announcement.target, owner), contextlib.redirect_stdout(sys.stderr):
            manifest = import_target(announcement.target)
        plugin = plugin_of(announcement, manifest)
    except KeyboardInterrupt:
        raise
    except PluginError as error:
        return without_manifest(announcement, "broken", str(error))
    except BaseException as error:
        problem = f"cannot be imported from '{announcement.target}': {describe(error)}"
        return without_manifest(announcement, "broken", problem)
    _name_if_slow(announcement, time.perf_counter() - start)
    module = announcement.target.partition(":")[0]
    if module not in before:
        read[module] = _files_read(module, before)
    if files := read.get(module):
        cache.put(announcement, plugin, manifest.contract, files)  # type: ignore[attr-defined]
    return plugin


def _name_if_slow(announcement: Announcement, seconds: float) -> None:
    if seconds > SLOW:
        import logging

        logging.getLogger(__name__).warning(
            "plugin %s (%s) took %.1f s to import; 'ofa plugins check %s --imports' says more",
            announcement.name,
            announcement.distribution,
            seconds,
            announcement.name,
        )


def _examine_hooks(announcement: Announcement) -> Plugin:
    """Hooks have no manifest and may be heavy: they are imported when a run starts, until then they must be there."""
    package = announcement.target.partition(":")[0].partition(".")[0]
    if find_spec(package) is None:
        return without_manifest(announcement, "broken", f"there is no module '{package}'")
    return without_manifest(announcement, "ok")


def _files_read(module: str, before: set[str]) -> list[str]:
    """Files of the plugin's package that the import of a module read."""
    package = module.partition(".")[0]
    new = [
        name
        for name in sys.modules
        if name not in before and (name == package or name.startswith(f"{package}."))
    ]
    files = [getattr(sys.modules[name], "__file__", None) for name in new]
    return [file for file in files if file]


def _entry_points(text: str, distribution: str, version: str) -> Iterator[Announcement]:
    """Our entries of an ``entry_points.txt``. A general INI parser costs a quarter of a millisecond for each file.

    Raises:
        ValueError: A line of one of our groups is no ``name = value``.
    """
    kind = None
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("["):
            kind = GROUPS.get(line.strip("[] "))
        elif kind and not line.startswith(("#", ";")):
            name, equals, target = (part.strip() for part in line.partition("="))
            if not (name and equals and target):
                raise ValueError(f"'{line}' is no line of the form name = value")
            yield Announcement(kind, name, target, distribution, version)


def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    """From the head of the metadata file: parsing the whole of it costs a millisecond for each distribution."""
    head: dict[str, str] = {}
    for line in (_read(distribution, "METADATA") or _read(distribution, "PKG-INFO")).splitlines():
        key, colon, value = line.partition(":")
        if not colon:
            break
        head.setdefault(key, value.strip())
    return head.get("Name", "?"), head.get("Version", "?")


def _read(distribution: Distribution, name: str) -> str:
    try:
        return distribution.read_text(name) or ""
    except (OSError, ValueError):
        return ""


def _development() -> Iterator[Announcement]:
    for entry in filter(None, os.environ.get("OFA_PLUGIN_DEV", "").split(",")):
        name, equals, target = (part.strip() for part in entry.partition("="))
        if not (name and equals and ":" in target):
            raise PluginError(
                f"OFA_PLUGIN_DEV: '{entry}' is not of the form name=package.module:MANIFEST"
            )
        yield Announcement("", name, target, f"dev:{name}", "0")


def permitted(announcement: Announcement, allowed: set[str] | None) -> bool:
    """Whether a plugin may be used; the core's own components and the commands of its tools always may."""
    if allowed is None or announcement.distribution == CORE_DISTRIBUTION:
        return True
    tool = COMMAND_DISTRIBUTIONS.get(announcement.name)
    if announcement.kind == "command" and announcement.distribution == tool:
        return True
    return bool(_names(announcement) & allowed)


def allowed_names(announced: list[Announcement]) -> set[str] | None:
    """Names that ``OFA_PLUGINS`` lists; None where it is not set.

    Raises:
        UnknownNameError: It lists a name that no plugin has.
    """
    setting = os.environ.get("OFA_PLUGINS")
    if setting is None:
        return None
    allowed = {name.strip() for name in setting.split(",")} - {""}
    known = {name for announcement in announced for name in _names(announcement)}
    for name in sorted(allowed - known):
        raise UnknownNameError("plugin", name, known, "it is listed in OFA_PLUGINS")
    return allowed


def _names(announcement: Announcement) -> set[str]:
    return {announcement.name, announcement.distribution}


def _announcement(plugin: Plugin) -> Announcement:
    return Announcement(
        plugin.row.kind, plugin.row.name, plugin.target, plugin.row.distribution, plugin.row.version
    )
