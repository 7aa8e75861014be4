"""``ofa import`` of a folder of transformers: a run whose backbone is that model, ready to answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofa_foreign.formats.bart_search import search_of, settings_of
from ofacore.config.component_options import component_options
from ofacore.config.schema import RunConfig
from ofacore.generalist.facade import Generalist, build_model
from ofacore.ground.artifacts import Artifact
from ofacore.ground.json_files import read_json
from ofacore.ground.vocabulary import BOS, Vocabulary
from ofacore.plan.neighbours import with_neighbours
from ofacore.plan.planned_run import PlannedRun
from ofacore.plugin import PluginError, Registry
from ofacore.protocols import SlotFitting
from ofacore.setup.assembly import Assembly
from ofacore.setup.backbone_settings import with_backbone_settings

BACKBONE = "transformers"
_OWN = ("bart", "ofa")
"""Kinds of models whose weights become those of our own layers."""
_UNBOUNDED = 1 << 30


def is_for_backbone(path: Path, registry: Registry) -> bool:
    """Whether a path is a folder of transformers that becomes a backbone."""
    kind = _json(path / "config.json").get("model_type") if path.is_dir() else None
    known = isinstance(kind, str) and kind not in _OWN
    return known and BACKBONE in registry.names("backbone")


def on_backbone(
    path: Path, instructions: Sequence[str], registry: Registry
) -> tuple[Generalist, tuple[str, ...]]:
    """The model in a folder, with tasks that ask it, and what of its generation has no counterpart here.

    Args:
        path: The folder.
        instructions: What the model shall be asked; none: what its kind suggests.
        registry: Plugins to use.

    Raises:
        UserError: The folder holds no model that can be a backbone, or an instruction needs data to be fitted on.
    """
    config, settings = _settings(path, registry)
    asked = list(instructions) or [settings["instruction"]]
    slots = settings.get("slots", {})
    tasks = {
        f"imported{number or ''}": {"instruction": with_attributes(line, slots)}
        for number, line in enumerate(asked)
    }
    run = RunConfig.model_validate({**config.model_dump(exclude_unset=True), "tasks": tasks})
    assembly = _assembled(with_backbone_settings(run, registry), registry)
    assembly.config, left_out = _with_search(assembly.config, path, assembly.vocabulary)
    return Generalist(assembly, build_model(assembly)), left_out


def with_attributes(instruction: str, slots: Mapping[str, str]) -> str:
    """An instruction whose slots of some types have attributes, unless they say how they are read.

    Args:
        instruction: It.
        slots: Type of a slot -> attributes, as they are written.
    """
    for kind, attributes in slots.items():
        pattern = re.compile(rf"\[{re.escape(kind)}:([^\],]+)((?:,[^\]]*)?)\]")

        def filled(match: re.Match[str], added: str = attributes, kind: str = kind) -> str:
            if "adapter=" in match[2] or "preprocess=" in match[2]:
                return match[0]
            return f"[{kind}:{match[1]}{match[2]},{added}]"

        instruction = pattern.sub(filled, instruction)
    return instruction


def _settings(path: Path, registry: Registry) -> tuple[RunConfig, Mapping[str, Any]]:
    """The configuration without tasks, and what else the backbone says of its folder."""
    named = {"name": BACKBONE, "path": str(path.resolve())}
    config = RunConfig.model_validate({"model": {"backbone": named}})
    component = registry.component("backbone", BACKBONE)
    options = {**component.options, **config.model.options}
    return config, registry.resolve(component.settings)(options)


def _assembled(config: RunConfig, registry: Registry) -> Assembly:
    """Preprocessors fitted on nothing.

    Raises:
        PluginError: One of them needs data.
    """
    registry = registry.pinned(component_options(config))
    plans = PlannedRun.of(config, registry).plans
    used = with_neighbours(
        (slot.preprocessor for plan in plans.values() for slot in plan.slots()), registry
    )
    vocabulary, artifacts = Vocabulary(), dict[str, Artifact]()
    for name in used:
        built, rng = registry.make("preprocessor", name), np.random.default_rng(0)
        try:
            fitted = isinstance(built, SlotFitting)
            artifact = built.fit_slots([], rng) if fitted else built.fit([], rng)
        except PluginError as error:
            raise PluginError(
                f"preprocessor '{name}' needs data, which an import has not ({error}); train with this model as "
                "model.backbone instead"
            ) from error
        if artifact is not None:
            artifacts[name] = artifact
        vocabulary = vocabulary.extend(built.blocks(artifact))
    blocks = [[block.name, block.size] for block in vocabulary.blocks]
    state = {"config": config.model_dump(exclude_unset=True), "vocabulary": blocks}
    return Assembly.restore(state, artifacts, registry)


def _with_search(
    config: RunConfig, path: Path, vocabulary: Vocabulary
) -> tuple[RunConfig, tuple[str, ...]]:
    """The configuration with options of generation as the folder has them, and those that there is nothing like."""
    said = _json(path / "config.json")
    generation = settings_of(said, _json(path / "generation_config.json"))
    early = generation.pop("begin_suppress_tokens", None) or ()
    most = said.get("max_position_embeddings") or said.get("max_target_positions") or _UNBOUNDED
    sizes = {**said, "max_position_embeddings": most}
    search = search_of(sizes, generation, path)
    text = next(block.name for block in vocabulary.blocks if block.name.startswith("text/"))
    first = vocabulary.offset(text)
    options: dict[str, Any] = {k: v for k, v in search.options.items() if k != "core_tokens"}
    banned = [_our_ids(first, ids) for ids in search.banned]
    ends = generation.get("eos_token_id", said.get("eos_token_id"))
    ends = ends if isinstance(ends, list) else [ends]
    banned += [(BOS, first + number) for number in early if number not in ends]
    if any(number in ends for number in early):
        options["min_length"] = max(1, int(options.get("min_length", 0)))
    if banned:
        options["banned_tokens"] = tuple(banned)
    found = config.model_copy(update={"generation": {**options, **config.generation}})
    return found, search.left_out


def _our_ids(first: int, ids: Sequence[int]) -> tuple[int, ...]:
    return tuple(first + number for number in ids)


def _json(file: Path) -> dict[str, Any]:
    """The content of a file; empty where there is none.

    Raises:
        JsonError: It cannot be read as JSON.
    """
    if not file.is_file():
        return {}
    found = read_json(file)
    return found if isinstance(found, dict) else {}
