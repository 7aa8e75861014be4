"""A stored case of the original: its weights in our model, its inputs in our layout, its numbers at real positions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ofa_foreign.formats import ofasys_names, ofasys_options
from ofa_foreign.formats.mapping import given, taken
from ofacore.batching.collate import collate
from ofacore.config.model_section import ModelConfig
from ofacore.ground.vocabulary import BOS, EOS, MASK, PAD, UNK, Block, Vocabulary
from ofacore.model.item_needs import ModelNeeds, Part
from ofacore.model.universal import UniversalModel
from ofacore.parts import CrossEntropy, TokenAdapter, TokenHead
from ofacore.plugin import Component, Registry
from ofacore.protocols import Batch, Example, Piece, SlotPlan, TermItem
from tests.parity.weights import refilled

CARRIED = Path(__file__).with_name("carried")
STORED = Path(__file__).parents[3] / "shared" / "parity"

BLOCK = "tokens"
_CORE = {"<s>": BOS, "<pad>": PAD, "</s>": EOS, "<unk>": UNK, "<mask>": MASK}


def folder_of(name: str) -> Path:
    """The folder of a set of cases; skips the test where it is not there."""
    folder = CARRIED if name == "carried" else STORED / name
    if not folder.is_dir():
        pytest.skip(f"the original's stored numbers of '{name}' are not beside this repository")
    return folder


class Parts:
    """What the stored models are built from: parts of the core, and adapters of installed plugins."""

    known = {
        "adapter/token": TokenAdapter,
        "head/token": TokenHead,
        "criterion/cross_entropy": CrossEntropy,
    }

    def load(self, kind: str, name: str) -> Any:
        full = f"{kind}/{name}"
        return self.known[full] if full in self.known else Registry.discover().load(kind, name)

    def component(self, kind: str, name: str) -> Component:
        return Registry.discover().component(kind, name)


@dataclass
class Original:
    """One folder of stored numbers."""

    folder: Path
    state: Mapping[str, Tensor]

    @classmethod
    def read(cls, folder: Path) -> Original:
        """Stored weights, or those that a rule makes from stored shapes."""
        stored = folder / "state_dict.safetensors"
        if stored.is_file():
            return cls(folder, load_file(stored))
        shapes = json.loads((folder / "shapes.json").read_text(encoding="utf-8"))
        return cls(folder, refilled(shapes))

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    @cached_property
    def numbers(self) -> dict[str, Tensor]:
        return load_file(self.folder / "io.safetensors")

    @cached_property
    def dictionary(self) -> list[str]:
        """Names in the order of their ids."""
        found = self.json("dictionary.json")
        return sorted(found, key=found.__getitem__) if isinstance(found, dict) else found

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary().extend([Block(BLOCK, len(set(self.dictionary) - set(_CORE)))])

    @cached_property
    def ours(self) -> Tensor:
        """Our id of each of theirs, found by name."""
        place = iter(self.vocabulary.range(BLOCK))
        return torch.tensor(
            [_CORE[name] if name in _CORE else next(place) for name in self.dictionary]
        )

    @cached_property
    def reading(self) -> ofasys_names.Reading:
        shapes = {name: tuple(tensor.shape) for name, tensor in self.state.items()}
        return ofasys_options.reading(self.json("model_config.json"), shapes, self.folder)

    @cached_property
    def adapter_options(self) -> dict[str, dict[str, Any]]:
        load = partial(Parts().load, "adapter")
        return ofasys_options.adapter_options(self.json("model_config.json"), self.reading, load)

    def model(self, **changes: Any) -> UniversalModel:
        """Our model with the original's weights, in evaluation mode."""
        options = ofasys_options.model_options(
            self.json("model_config.json"), self.reading, self.folder
        )
        config = ModelConfig(**{**options, "adapters": self.adapter_options, **changes})
        names = self.reading.adapters("encoder").values()
        adapters = tuple(Part(name, config.adapters.get(name, {})) for name in names)
        needs = ModelNeeds(adapters, (Part("token"),), (Part("cross_entropy"),), ("t",))
        built = UniversalModel(config, Parts(), self.vocabulary, {}, needs)
        with torch.no_grad():
            built.embedding.table.weight[self.ours] = self.state[ofasys_names.TABLE]
        own = built.portable_state()
        self.missing, self.unknown = built.load_portable(
            {**own, **taken(ofasys_names.entries(self.reading), self.state, own)[0]}
        )
        return built.eval()

    def theirs(self, built: UniversalModel, gradients: bool = False) -> dict[str, Tensor]:
        """Our state, or the gradients, under the original's names."""
        values = (
            {name: value.grad for name, value in built.named_parameters()}
            if gradients
            else built.state_dict()
        )
        own = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        table = own["embedding.table.weight"][self.ours]
        return {
            **given(ofasys_names.entries(self.reading), own, {}),
            **{name: table for name in (ofasys_names.TABLE, *ofasys_names.TABLE_COPIES)},
        }


@dataclass
class Case:
    """One stored batch."""

    original: Original
    name: str

    @property
    def slots(self) -> list[dict[str, Any]]:
        return self.original.json("meta.json")["cases"][self.name]["slots"]

    def stored(self, what: str) -> Tensor:
        return self.original.numbers[f"{self.name}/{what}"]

    @property
    def rows(self) -> int:
        return len(self.stored("target"))

    def batch(self) -> Batch:
        return collate([self._example(row) for row in range(self.rows)], packing=False)

    def _example(self, row: int) -> Example:
        source, target = [], []
        for number, slot in enumerate(self.slots):
            piece = self._piece(number, slot, self.stored(f"slot_{number}")[row])
            (source if slot["is_src"] else target).append(piece)
        labels = self.original.ours[_real(self.stored("target")[row])].numpy()
        term = TermItem(
            "t/y",
            "target",
            (0,),
            "token",
            "cross_entropy",
            {"ids": labels},
            len(labels),
            blocks=(BLOCK,),
        )
        return Example("t", str(row), (tuple(source),), tuple(target), (term,))

    def _piece(self, number: int, slot: Mapping[str, Any], value: Tensor) -> Piece:
        side = "source" if slot["is_src"] else "target"
        chosen = [
            text.removeprefix("adaptor=")
            for text in slot["attributes"] or ()
            if text.startswith("adaptor=")
        ]
        adapter = chosen[0] if chosen else "token"
        plan = SlotPlan(str(number), slot["modality"], side, number, "", adapter)
        if adapter == "token":
            ids = self.original.ours[_real(value)].numpy()
            where = np.repeat(np.arange(len(ids))[:, None], 3, axis=1)
            return Piece(
                plan, adapter, {"tokens": ids}, (len(ids),), where, causal=side == "target"
            )
        shape = tuple(value.shape[1:])
        where = (
            Parts()
            .load("adapter", adapter)
            .coordinates(shape, self.original.adapter_options[adapter])
        )
        features = {
            "pixels": value.permute(1, 2, 0).flatten().numpy(),
            "statistics": np.array([_given()]),
        }
        return Piece(plan, adapter, features, shape, where)

    def real(self, side: str) -> Tensor:
        """bool [rows, positions] of the original's padded layout."""
        if side == "encoder":
            return ~self.stored("encoder_padding_mask")
        return self.stored("target") != PAD

    def at_real(self, what: str, side: str, time_first: bool) -> Tensor:
        """Stored numbers [N, ...] at positions that are not padding, row by row."""
        values = self.stored(what)
        return (values.transpose(0, 1) if time_first else values)[self.real(side)]


def _real(ids: Tensor) -> Tensor:
    return ids[ids != PAD]


def _given() -> int:
    from ofa_modality_image.normalisation import STATISTICS

    return STATISTICS.index("given")
