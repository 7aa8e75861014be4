"""From files and overrides to a run: merge, ``--set``, the task ``"*"``, schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from ofacore.config.documents import read_document
from ofacore.config.layering import Layer, Path, dotted, merge, with_defaults_of_star
from ofacore.config.overrides import apply_overrides
from ofacore.config.problems import ConfigError, Place, Problem
from ofacore.config.schema import RunConfig
from ofacore.config.task_section import DataConfig
from ofacore.config.validation import explained, salvage, validate
from ofacore.ground.excerpts import excerpt
from ofacore.plugin import Registry, suggest

INCLUDE = "_include"
"""Top-level key: files that this one is laid over, relative to its folder."""
STARTER = {"starter": "starter.yaml", "starter-all": "starter_all.yaml"}
"""Words that stand for built-in runs, and their files in this package."""


@dataclass(frozen=True)
class ConfigText:
    """A configuration that is no file: its YAML, and what messages call it."""

    text: str
    name: str


@dataclass(frozen=True)
class Loaded:
    """A configuration that remembers where its values were written."""

    config: RunConfig
    places: dict[str, Place] = field(default_factory=dict)
    """Dotted key path -> place."""


def load(
    sources: Sequence[str | FilePath | ConfigText],
    overrides: Sequence[str] = (),
    registry: Registry | None = None,
) -> RunConfig:
    """Read a run.

    Args:
        sources: YAML files, later ones over earlier ones; ``starter`` or ``starter-all`` for the built-in runs.
        overrides: ``a.b=c``, over all files.
        registry: Whose presets the built-in runs take; None: everything installed.

    Raises:
        ConfigError: With every problem of all sources.
    """
    return read(sources, overrides, registry).config


def read(
    sources: Sequence[str | FilePath | ConfigText],
    overrides: Sequence[str] = (),
    registry: Registry | None = None,
) -> Loaded:
    """As `load`, with the places of all values, for problems that are found later."""
    problems: list[Problem] = []
    layer = Layer()
    for source in sources:
        layer = merge(layer, _source(source, registry, problems))
    layer = with_defaults_of_star(apply_overrides(layer, overrides, problems))
    config = validate(layer, problems)
    places = {dotted(path): place for path, place in layer.places.items()}
    if config is None:
        rest = salvage(layer.values)
        salvaged = Loaded(rest, places) if rest else None
        raise ConfigError(problems, salvaged)
    return Loaded(config, places)


def starter_config(registry: Registry, everything: bool = False) -> RunConfig:
    """The built-in run: all presets of the default generalist, or every preset that has data.

    Raises:
        ConfigError: The installed plugins make it impossible, such as a preset named like no task can be.
    """
    return load(["starter-all" if everything else "starter"], registry=registry)


def read_data(overrides: Sequence[str]) -> DataConfig:
    """A task's data section from overrides alone: ``header=false``, ``names=[a, b]``.

    Raises:
        ConfigError: With every unknown key and bad value.
    """
    problems: list[Problem] = []
    layer = apply_overrides(Layer(), overrides, problems)
    try:
        config = DataConfig.model_validate(layer.values)
    except ValidationError as error:
        raise ConfigError(
            [*problems, *explained(error, layer.values, ("tasks", "task", "data"))]
        ) from None
    if problems:
        raise ConfigError(problems)
    return config


def read_generation(overrides: Sequence[str]) -> dict[str, Any]:
    """Options of generation from overrides alone: ``strategy=beam``, ``n_best=3``; generators say which there are.

    Raises:
        ConfigError: An override is not of the form ``name=value``.
    """
    problems: list[Problem] = []
    layer = apply_overrides(Layer(), overrides, problems)
    if problems:
        raise ConfigError(problems)
    return layer.values


def _source(
    source: str | FilePath | ConfigText, registry: Registry | None, problems: list[Problem]
) -> Layer:
    if isinstance(source, ConfigText):
        return read_document(source.text, source.name, problems)
    if isinstance(source, str) and source in STARTER:
        return _starter(source, registry or Registry.discover(), problems)
    return _file(FilePath(source), (), Place(), problems)


def _starter(word: str, registry: Registry, problems: list[Problem]) -> Layer:
    layer = _file(FilePath(str(files("ofacore.config"))) / STARTER[word], (), Place(), problems)
    wanted = [
        p for p in registry.presets().values() if p.data and (p.starter or word == "starter-all")
    ]
    entries = {
        preset.name: {"preset": preset.name, "data": {"optional": True}} for preset in wanted
    }
    tasks = Layer({"tasks": entries})
    tasks.places.update({("tasks", preset.name): Place(word) for preset in wanted})
    return merge(tasks, layer)


def _file(
    path: FilePath, including: tuple[FilePath, ...], asked: Place, problems: list[Problem]
) -> Layer:
    """One file over the files that it includes."""
    path = path.expanduser()
    if path.resolve() in including:
        problems.append(Problem(INCLUDE, f"{path} includes itself", asked))
        return Layer()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = "" if path.exists() else _near(path)
        problems.append(Problem("", _unreadable(path, error), asked, hint))
        return Layer()
    layer = read_document(text, str(path), problems)
    below = Layer()
    for name in _included(layer, problems):
        below = merge(
            below,
            _file(
                path.parent / name, (*including, path.resolve()), layer.place((INCLUDE,)), problems
            ),
        )
    return merge(below, layer)


def _included(layer: Layer, problems: list[Problem]) -> list[str]:
    names = layer.values.pop(INCLUDE, [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        path: Path = (INCLUDE,)
        problems.append(layer.problem(path, f"found {excerpt(names)}, expected a list of files"))
        return []
    return names


def _unreadable(path: FilePath, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"no file {path}"
    if isinstance(error, UnicodeDecodeError):
        return f"{path} is no text: byte {error.start} is not UTF-8; a configuration is a YAML file"
    return f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"


def _near(path: FilePath) -> str:
    there = [*STARTER, *(found.name for found in path.parent.glob("*.y*ml"))]
    return suggest(path.name, (name for name in there if name != path.name))
