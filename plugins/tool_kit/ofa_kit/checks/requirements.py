"""Whether what a distribution requires is installed, in the versions it asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from ofa_kit.checks.findings import Finding, Subject

CHECK = "requirements"


def check_requirements(subject: Subject) -> Iterator[Finding]:
    """Every requirement without an extra, as far as it applies to this interpreter."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in _required(subject.distribution):
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            yield subject.problem(
                CHECK, f"'{text}' is no requirement", "correct it in pyproject.toml"
            )
            continue
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        found = _version(wanted.name)
        if not found:
            yield subject.problem(
                CHECK, f"it requires {text}, which is not installed", f'pip install "{text}"'
            )
        elif not wanted.specifier.contains(found, prereleases=True):
            yield subject.problem(
                CHECK, f"it requires {text}, but {found} is installed", f'pip install "{text}"'
            )


def check_owners(subject: Subject, owners: Iterable[str]) -> Iterator[Finding]:
    """Distributions whose components are used by name must be required."""
    if subject.distribution.startswith("dev:"):
        return
    named = {_normal(text) for text in _required(subject.distribution)} | {
        _normal(subject.distribution)
    }
    for owner in sorted({owner for owner in owners if not owner.startswith("dev:")}):
        if _normal(owner) not in named:
            message = f"it uses what {owner} brings, but does not require it"
            yield subject.warning(
                CHECK, message, f'add "{owner}" to the dependencies in pyproject.toml'
            )


def unmet(distribution: str) -> list[str]:
    """What a distribution lacks, one line each."""
    return [finding.message for finding in check_requirements(Subject("", distribution, ""))]


def _required(distribution: str) -> list[str]:
    try:
        return requires(distribution) or []
    except PackageNotFoundError:
        return []


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _normal(text: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        return str(canonicalize_name(Requirement(text).name))
    except InvalidRequirement:
        return text
