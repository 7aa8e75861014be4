"""Errors of the registry, and the did-you-mean that every room uses for unknown names."""

from __future__ import annotations

from collections.abc import Iterable

from ofacore.ground.errors import UserError

_LONGEST = 200
"""Characters of a name; what is longer is no misspelt name, and comparing it takes minutes."""


def suggest(name: str, names: Iterable[str]) -> str:
    """``"did you mean 'image'?"`` for the nearest of ``names``, or ``""`` where none is near."""
    near = nearest(name, names)
    return f"did you mean '{near}'?" if near else ""


def nearest(name: str, names: Iterable[str]) -> str:
    """The most similar of ``names``, letter case aside, or ``""`` where none is similar."""
    from difflib import get_close_matches

    if len(name) > _LONGEST:
        return ""
    spelled = {known.casefold(): known for known in names}
    near = get_close_matches(name.casefold(), spelled, n=1, cutoff=0.6)
    return spelled[near[0]] if near else ""


class PluginError(UserError):
    """A plugin or a setting about plugins cannot be used."""


class UnknownNameError(PluginError, KeyError):
    """A name that no installed plugin announces.

    Attributes:
        kind: What was looked for, in words: ``slot type``, ``criterion``.
        name: The unknown name.
        known: Every name that exists.
        advice: What to do about it, such as a pip command; or empty.
        hint: The way out in a few words: the advice, else the nearest name, else all names.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], advice: str = "") -> None:
        self.kind, self.name, self.known, self.advice = kind, name, tuple(sorted(known)), advice
        super().__init__(kind, name, self.known, advice)

    @property
    def hint(self) -> str:
        return self.advice or nearest(self.name, self.known) or f"one of: {', '.join(self.known)}"

    def __str__(self) -> str:
        existing = (
            f"there are: {', '.join(self.known)}" if self.known else f"no {self.kind} is installed"
        )
        parts = [
            f"unknown {self.kind} '{self.name}'",
            suggest(self.name, self.known),
            self.advice,
            existing,
        ]
        return "; ".join(part for part in parts if part)


class ConflictError(PluginError):
    """Two plugins announce the same name and no setting decides.

    Attributes:
        what: The name in conflict, in words: ``slot type IMAGE``.
        owners: Distributions that announce it.
    """

    def __init__(self, what: str, owners: Iterable[str], setting: str) -> None:
        self.what, self.owners, self.setting = what, tuple(owners), setting
        super().__init__(what, self.owners, setting)

    def __str__(self) -> str:
        return conflict_text(self.what, self.owners, self.setting)


def conflict_text(what: str, owners: Iterable[str], setting: str) -> str:
    """One line that names the owners and the setting that decides."""
    owners = tuple(owners)
    names = " and ".join(f"'{owner}'" for owner in owners)
    choice = f"{setting}={owners[0]}"
    way_out = (
        f"decide with plugins.prefer.{choice}, or without a configuration by OFA_PREFER={choice}"
    )
    if setting.startswith("command/"):  # chosen before any configuration is read
        way_out = f"decide by OFA_PREFER={choice}"
    return f"{what} is announced by {names}; uninstall one, or {way_out}"


class LoadError(PluginError):
    """A plugin's implementation cannot be imported.

    Attributes:
        plugin: Name of the plugin, or empty.
        distribution: Distribution that brings it, or empty.
        target: The ``"module:Object"`` string.
    """

    def __init__(
        self, target: str, cause: str, plugin: str = "", distribution: str = "", what: str = ""
    ) -> None:
        self.target, self.cause, self.plugin, self.distribution, self.what = (
            target,
            cause,
            plugin,
            distribution,
            what,
        )
        super().__init__(target, cause, plugin, distribution, what)

    def __str__(self) -> str:
        subject = self.what or "the object"
        origin = (
            f" of plugin '{self.plugin}' (distribution '{self.distribution}')"
            if self.plugin
            else ""
        )
        return f"{subject}{origin} {self._happened()}: {self.cause}"

    def _happened(self) -> str:
        return f"could not be imported from '{self.target}'"


class HookError(LoadError):
    """A hook of a plugin raised; ``target`` is the name of the hook."""

    def _happened(self) -> str:
        return "raised an exception"
