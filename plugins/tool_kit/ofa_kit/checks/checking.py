"""The whole check of the plugins of an environment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ofa_kit.checks.findings import Finding, Subject
from ofa_kit.checks.running import STOPPED, check_imports, check_manifest_import
from ofa_kit.checks.static import check_plugin, subject_of
from ofacore.plugin import PluginRow, Registry, UnknownNameError
from ofacore.plugin.discovery import allowed_names, announcements, discover_plugins, permitted
from ofacore.plugin.plugin_rows import Announcement


@dataclass(frozen=True)
class Report:
    """What was checked and what was found."""

    plugins: tuple[tuple[str, str], ...]
    """(name, distribution)."""
    findings: tuple[Finding, ...] = ()

    @property
    def problems(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "problem")


@dataclass
class _Hostile:
    """Manifests that must not be imported here: their import does not end, or ends the process."""

    findings: dict[tuple[str, str], list[Finding]] = field(default_factory=dict)
    """(name, distribution) -> what their own process told."""
    stopped: dict[str, str] = field(default_factory=dict)
    """Target -> why it cannot be imported."""


def check_plugins(*names: str, imports: bool = False, timeout: float = 20.0) -> Report:
    """Check some plugins, or all of them.

    Args:
        names: Names of plugins or of their distributions; none: all.
        imports: Also import their code, each in processes of its own.
        timeout: Seconds that one import may take.

    Raises:
        UnknownNameError: There is no such plugin.
    """
    hostile = _try_manifests(names, timeout) if imports else _Hostile()
    registry = Registry(discover_plugins(hostile.stopped))
    for name in names:
        if not any(name in (row.name, row.distribution) for row in registry.rows):
            raise UnknownNameError("plugin", name, {row.name for row in registry.rows})
    chosen = [
        row for row in registry.rows if not names or {row.name, row.distribution} & set(names)
    ]
    findings: list[Finding] = []
    for row in chosen:
        findings += hostile.findings.get((row.name, row.distribution), ())
        if registry.entry_point(row) not in hostile.stopped:
            findings += _check(row, registry, imports, timeout)
    return Report(
        tuple((row.name, row.distribution) for row in chosen), tuple(dict.fromkeys(findings))
    )


def _try_manifests(names: Sequence[str], timeout: float) -> _Hostile:
    """Import the manifests to be checked in processes of their own before any is imported here.

    New ones of other plugins are tried by `discover_plugins`, all of them in one process.
    """
    hostile, everything = _Hostile(), announcements()[0]
    allowed = allowed_names(everything)
    for announced in everything:
        chosen = not names or bool({announced.name, announced.distribution} & set(names))
        if not chosen or announced.kind == "hooks" or not permitted(announced, allowed):
            continue
        found = check_manifest_import(_subject(announced), announced.target, timeout)
        hostile.findings[announced.name, announced.distribution] = found
        if told := [finding for finding in found if finding.check == STOPPED]:
            hostile.stopped[announced.target] = told[0].message
    return hostile


def _check(row: PluginRow, registry: Registry, imports: bool, timeout: float) -> Iterator[Finding]:
    target = registry.entry_point(row)
    manifest = registry.manifest_of(row)
    yield from check_plugin(row, manifest, target, registry)
    if imports and (manifest is not None or (row.kind == "hooks" and row.status == "ok")):
        yield from check_imports(subject_of(row, target), target, manifest, timeout)


def _subject(announced: Announcement) -> Subject:
    row = PluginRow(
        announced.name, announced.distribution, announced.version, "", "ok", "", announced.kind
    )
    return subject_of(row, announced.target)
