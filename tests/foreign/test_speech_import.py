"""OFASys' adapters of sounds read and write here what they do there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from ofa_foreign.exporting import export_run
from ofa_foreign.importing import ImportReport, import_run
from ofacore.batching.collate import collate
from ofacore.generalist.facade import Generalist
from ofacore.protocols import Example
from tests.foreign.computed import to_theirs, translated
from tests.foreign.ofasys_file import write_checkpoint
from tests.foreign.ofasys_state import (
    HIDDEN,
    SETTINGS,
    adapter_shapes,
    filled,
    random_state,
    token_buckets,
)
from tests.foreign.reference import Piece, Reference
from tests.foreign.test_trainer_files import dictionary

ROWS, REACH, BINS, PACKED, CHANNELS = 16, 40, 20, 2, 12
PRENET, LAYERS = 256, 5
HEAR = "[AUDIO:wav] what is said? -> [TEXT:target]"
SAY = "[PHONE:phones] -> [AUDIO:fbank,adaptor=audio_tgt_fbank,n_frames_per_step=2]"
PHONES = ("AA0", "B", "|", "unk")


def sounds_state(rows: int) -> dict[str, Tensor]:
    """A model with both adapters on both sides, as the original builds them."""
    state = random_state(rows)
    for side in ("encoder", "decoder"):
        for adapter, width in (("audio_fbank", BINS), ("audio_tgt_fbank", BINS * PACKED)):
            prefix = f"{side}.adaptor.{adapter}"
            shapes = {
                **adapter_shapes(prefix, "audio", ROWS, 2 * ROWS - 1),
                **{f"{prefix}.{name}": shape for name, shape in own_shapes(width).items()},
            }
            if adapter == "audio_fbank":
                reading = reading_shapes()
                shapes |= {f"{prefix}.{name}": shape for name, shape in reading.items()}
            else:
                shapes[f"{prefix}.pos_emb_alpha"] = (1,)
            state |= filled(shapes)
            for name in [name for name in shapes if name.endswith(".running_var")]:
                state[name] = state[name].abs() + 0.1
            state[f"{prefix}.audio_rp_bucket"] = frame_buckets()
            for layer in range(LAYERS):
                counter = f"{prefix}.postnet.convolutions.{layer}.1.num_batches_tracked"
                state[counter] = torch.tensor(7)
    return state


def own_shapes(width: int) -> dict[str, tuple[int, ...]]:
    """Of what both adapters have."""
    found: dict[str, tuple[int, ...]] = {}
    for layer, before in enumerate((width, PRENET)):
        found |= pair(f"prenet.0.layers.{layer}.0", PRENET, before)
    found |= pair("prenet.1", HIDDEN, PRENET)
    found |= pair("feat_proj", width, HIDDEN) | pair("eos_proj", 1, HIDDEN)
    sizes = [width, *[CHANNELS] * (LAYERS - 1), width]
    for layer in range(LAYERS):
        name, after = f"postnet.convolutions.{layer}", sizes[layer + 1]
        found |= pair(f"{name}.0", after, sizes[layer], 5) | pair(f"{name}.1", after)
        found |= {f"{name}.1.running_mean": (after,), f"{name}.1.running_var": (after,)}
    return found


def reading_shapes() -> dict[str, tuple[int, ...]]:
    left = ((BINS - 1) // 2 - 1) // 2
    found = pair("subsample.conv.0", HIDDEN, 1, 3, 3) | pair(
        "subsample.conv.2", HIDDEN, HIDDEN, 3, 3
    )
    return {**found, **pair("subsample.out.0", HIDDEN, HIDDEN * left), "mask_emb": (HIDDEN,)}


def pair(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def frame_buckets() -> Tensor:
    """int64 [REACH, REACH], by the rule of tokens, for as many distances as there are rows."""
    return token_buckets(ROWS, REACH)


class SpeechReference(Reference):
    """What the original computes of frames, as its parameters' names and shapes say."""

    def _piece(self, name: str, piece: Piece, typed: bool) -> tuple[Tensor, Tensor, list[Tensor]]:
        if not piece.adapter.startswith("audio"):
            return super()._piece(name, piece, typed)
        read = piece.adapter == "audio_fbank"
        x = self._read(name, piece.value) if read else self._fed(name, piece.value)
        ids = torch.arange(len(x))
        x = x + self.state[f"{name}.type_embedding.weight"][0] if typed else x
        place = self.state[f"{name}.embed_audio_positions.weight"][ids]
        bucket = self.state[f"{name}.audio_rp_bucket"][ids][:, ids]
        tables = [self.state[f"{name}.audio_rel_pos_table_list.{n}.weight"] for n in range(2)]
        return (
            self._norm(f"{name}.layernorm_embedding", x),
            self._norm(f"{name}.layernorm_position", place),
            [table[bucket].permute(2, 0, 1) for table in tables],
        )

    def _read(self, name: str, frames: Tensor) -> Tensor:
        maps = frames[None, None]
        for number in (0, 2):
            own = f"{name}.subsample.conv.{number}"
            weight, bias = self.state[f"{own}.weight"], self.state[f"{own}.bias"]
            maps = functional.conv2d(maps, weight, bias, stride=2).relu()
        return self._linear(f"{name}.subsample.out.0", maps[0].transpose(0, 1).flatten(1))

    def _fed(self, name: str, steps: Tensor) -> Tensor:
        for layer in range(2):
            steps = self._linear(f"{name}.prenet.0.layers.{layer}.0", steps).relu()
        return self._linear(f"{name}.prenet.1", steps)

    def spoken(self, source: list[Piece], steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frames before and after the postnet, and the logits of the end."""
        memory, places = self.encoded(source)
        x, own_places, biases, experts = self._side("decoder", [Piece("audio_tgt_fbank", steps)])
        later = torch.full((len(x), len(x)), -torch.inf).triu(1)
        cross = self._untied("decoder.cross_pos", own_places, places)
        for index, bias in enumerate(biases):
            x = self._layer(f"decoder.layers.{index}", x, bias + later, experts, memory, cross)
        x, name = self._norm("decoder.layer_norm", x), "decoder.adaptor.audio_tgt_fbank"
        before = self._linear(f"{name}.feat_proj", x)
        maps = before.T[None]
        for layer in range(LAYERS):
            maps = self._refined(f"{name}.postnet.convolutions.{layer}", maps)
            maps = maps.tanh() if layer + 1 < LAYERS else maps
        return before, before + maps[0].T, self._linear(f"{name}.eos_proj", x)[:, 0]

    def _refined(self, name: str, maps: Tensor) -> Tensor:
        convolved = functional.conv1d(
            maps, self.state[f"{name}.0.weight"], self.state[f"{name}.0.bias"], padding=2
        )
        known = {leaf: self.state[f"{name}.1.{leaf}"] for leaf in ("weight", "bias")}
        mean, variance = (self.state[f"{name}.1.running_{leaf}"] for leaf in ("mean", "var"))
        return functional.batch_norm(convolved, mean, variance, **known)


@dataclass(frozen=True)
class Made:
    """What one import gave."""

    folder: Path
    state: dict[str, Tensor]
    report: ImportReport
    model: Generalist

    def example(self, task: str, row: dict[str, Any]) -> Example:
        encoder = self.model.assembly.encoders[task]
        return encoder.encode(row, split="valid", rng=np.random.default_rng(1), row_id="0")

    def prediction(self, example: Example) -> Any:
        batch = collate([example])
        hidden = self.model.model.hidden(batch)
        return self.model.model.predict(batch.terms[0], hidden)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("speech")
    places = dictionary()
    for name in ("dict_begin", *PHONES, "dict_end"):
        places[f"<phone>_{name}"] = len(places)
    state = sounds_state(len(places))
    audio = {"is_active": True, "output_frame_dim": BINS, "hop_length": 256, "pad_audio": True}
    adaptor = {
        "audio_fbank": {"output_frame_dim": BINS, "mask_prob": 0.65},
        "audio_tgt_fbank": {"output_frame_dim": BINS, "n_frames_per_step": PACKED},
    }
    settings = {**SETTINGS, "adaptor": adaptor}
    preprocess = {"audio": audio, "text": {"is_active": True, "bpe": "gpt2"}}
    tasks = {
        name: {"instruction": {"template": template}, "preprocess": preprocess}
        for name, template in {"hear": HEAR, "say": SAY, "draw": "[TEXT:a] -> [AUDIO:b]"}.items()
    }
    store = {"model": {"unify": settings}, "task": tasks}
    write_checkpoint(folder / "a.pt", state, settings, places, more={"configstore": store})
    report = import_run(folder / "a.pt", folder / "run")
    return Made(folder, state, report, Generalist.from_pretrained(folder / "run"))


def test_what_an_import_takes_and_leaves_is_told(made: Made) -> None:
    assert dict(made.report.tasks) == {
        "hear": HEAR,
        "say": f"{SAY[:-1]},preprocess=audio_steps]",
    }
    told = "\n".join(made.report.left_out)
    assert "draw: [AUDIO:b]: no weights of adapter 'audio_fbank' for the target" in told
    assert "settings of adaptor.audio_fbank: mask_prob=0.65" in told
    assert "settings of preprocess.audio: pad_audio=True" in told and "hop_length" not in told


@torch.no_grad()
def test_sounds_are_read_as_there(made: Made) -> None:
    frames = np.random.default_rng(3).normal(size=(60, BINS)).astype(np.float32)
    example = made.example("hear", {"wav": frames, "target": "<text>_7 <text>_30"})
    prediction = made.prediction(example)
    table = to_theirs(made.model)
    tokens = [
        torch.tensor(translated(piece.features["tokens"], table))
        for piece in (*example.source[0], *example.target)
        if piece.adapter == "token"
    ]
    reference = SpeechReference(made.state)
    source = [Piece("audio_fbank", torch.from_numpy(frames)), Piece("text", tokens[0])]
    expected = reference.logits(source, tokens[1])
    columns = {int(our): column for column, our in enumerate(prediction.ids)}
    order = [columns[our] for our, _ in sorted(table.items(), key=lambda pair: pair[1])]
    torch.testing.assert_close(prediction.logits()[:, order], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_sounds_are_written_as_there(made: Made) -> None:
    noise = np.random.default_rng(4).normal(size=22_050 // 4).astype(np.float32) * 0.1
    sound = {"array": noise, "sampling_rate": 22_050}
    example = made.example("say", {"phones": "AA0 B | unk", "fbank": sound})
    (piece,) = example.target
    steps = torch.from_numpy(piece.features["steps"])
    assert steps.shape[1] == BINS * PACKED and len(steps) > 8
    prediction = made.prediction(example)
    ids = translated(example.source[0][0].features["tokens"], to_theirs(made.model))
    before, after, stop = SpeechReference(made.state).spoken(
        [Piece("text", torch.tensor(ids))], steps
    )
    for found, expected in (
        (prediction.before, before),
        (prediction.after, after),
        (prediction.stop, stop),
    ):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_frames_are_those_of_the_sound_without_statistics_of_their_own(made: Made) -> None:
    """The checkpoint keeps no means and deviations, so frames stay as they are."""
    slot = next(slot for slot in made.model.assembly.plans["say"].slots() if slot.name == "fbank")
    preprocessor = made.model.assembly.preprocessors["audio_steps"]
    sound = {"array": np.zeros(4000, np.float32), "sampling_rate": 22_050}
    ctx = made.example("say", {"phones": "B", "fbank": sound}).context
    assert ctx is not None
    (segment,) = preprocessor.encode(sound, replace(slot), ctx)
    assert np.allclose(segment.labels["values"][0], np.log(1e-5))


def test_everything_is_written_back(made: Made) -> None:
    export_run(made.folder / "run", made.folder / "back", "safetensors")
    back = load_file(made.folder / "back" / "model.safetensors")
    assert set(back) == set(made.state)
    assert all(back[name].equal(tensor) for name, tensor in made.state.items())
