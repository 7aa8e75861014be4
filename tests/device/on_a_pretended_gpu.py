"""Every modality, training and answering, on a GPU that is pretended: no tensors of two devices meet, few waits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_kit.accelerator import DeviceMixError, PretendedGpu
from ofacore import Generalist, Task
from ofacore.batching.cursor import Cursor
from ofacore.batching.steps import LoaderSettings, StepLoader
from ofacore.generalist.fitting import schedule, training_data
from ofacore.training.loop import Trainer

SMALL = {"hidden": 32, "ffn": 64, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
COLOURS = ("red", "green", "blue", "red", "green", "blue", "gray", "black")
FORMS = {
    "words": "say [TEXT:cap] -> [TEXT:n]",
    "picture": "[IMAGE:img,size=32] what colour? -> [TEXT:cap]",
    "closed set": "[IMAGE:img,size=32] which? -> [TEXT:cap,closed_set]",
    "box": '[IMAGE:img,size=32] where is " [TEXT:cap] "? -> [BOX:box]',
    "region": "[IMAGE:img,size=32] what is in [BOX:box]? -> [TEXT:cap]",
    "repeat": "[IMAGE:img,size=32] what is there? -> ([BOX:boxes] [TEXT:names])*",
    "to motion": "move: [TEXT:cap] -> [MOTION:m,min_length=0]",
    "from motion": "[MOTION:m,min_length=0] -> [TEXT:cap]",
    "three targets": "[IMAGE:img,size=32] -> [TEXT:cap] [MOTION:m,min_length=0] [BOX:box]",
    "decoder only": "-> [TEXT:cap]",
    "match": "[IMAGE:img,size=32|TEXT:cap] ->",
}
MODELS: dict[str, dict[str, Any]] = {
    "packed": {},
    "experts and low rank": {"experts": "modality", "lora": {"rank": 2}, "encoder_drop_path": 0.1},
    "tables of positions": {"positions": "untied"},
}


def wave(frames: int) -> np.ndarray:
    t = np.linspace(0, 6, frames, dtype=np.float32)
    return np.stack([np.sin(t), np.cos(t), t], 1)


def rows() -> list[dict[str, Any]]:
    return [
        {
            "img": Image.new("RGB", (32, 24), colour),
            "cap": colour,
            "n": str(len(colour)),
            "box": [4, 4, 20, 18],
            "boxes": [[1, 1, 10, 10], [12, 4, 30, 20]][: 1 + k % 2],
            "names": ["cat", "dog"][: 1 + k % 2],
            "m": wave(12 + k % 3),
        }
        for k, colour in enumerate(COLOURS)
    ]


def made(**model: Any) -> Generalist:
    tasks = [Task(name, text, train=rows()) for name, text in FORMS.items()]
    return Generalist.create(tasks, **SMALL, **model)


def steps(model: Generalist, samples: int) -> list[Any]:
    settings = LoaderSettings(seed=1, positions=10**6, samples=samples)
    return [
        step for step in StepLoader(training_data(model), schedule(model), settings, Cursor(), 0, 1)
    ]


def trained(
    model: Generalist, samples: int, folder: Path, gpu: PretendedGpu
) -> tuple[Counter[str], list[float]]:
    """Waits of a step, and its losses."""
    trainer = Trainer(model.model, [], model.assembly.config.train, folder)
    losses = []
    for step in steps(model, samples):
        gpu.forget()
        losses += trainer.train_step(step).values.values()
    return Counter(gpu.waits), losses


@pytest.fixture(scope="module", params=list(MODELS))
def on_gpu(request: pytest.FixtureRequest) -> Any:
    """A model of all forms, on the device, within whose reach the tests run."""
    model = made(**{"dropout": 0.1, **MODELS[request.param]})
    with PretendedGpu() as gpu:
        gpu.to_device(model.model)
        yield request.param, model, gpu


@pytest.mark.parametrize("samples", [0, 5])
def test_a_training_step_waits_at_most_four_times_whatever_its_micro_batches(
    on_gpu: Any, samples: int, tmp_path: Path
) -> None:
    _, model, gpu = on_gpu
    waits, losses = trained(model, samples, tmp_path, gpu)
    assert np.isfinite(losses).all()
    assert waits.total() <= 4, waits


@pytest.mark.parametrize("name", [name for name in FORMS if name != "match"])
def test_every_form_answers_with_all_tensors_on_the_device(on_gpu: Any, name: str) -> None:
    _, model, _ = on_gpu
    model.model.eval()
    row = rows()[1]
    source = FORMS[name].split("->")[0]
    given = {
        key: value for key, value in row.items() if f":{key}]" in source or f":{key}," in source
    }
    targets = FORMS[name].split("->")[1]
    quick = {"steps": 2} if "[MOTION" in targets else {}
    quick |= {"max_length": 4} if "[TEXT" in targets or "[BOX" in targets else {}
    (out,) = model.infer(name, [given], max_turns=2, **quick)
    assert out.fields


@pytest.mark.parametrize(
    "options", [{}, {"strategy": "beam", "beam": 3}, {"strategy": "sample", "top_k": 5}], ids=str
)
def test_a_further_token_costs_one_wait(on_gpu: Any, options: dict[str, Any]) -> None:
    _, model, gpu = on_gpu
    model.model.eval()
    found = []
    for length in (4, 8):
        gpu.forget()
        model.infer("words", rows()[:3], max_length=length, min_length=length, **options)
        found.append(Counter(gpu.waits))
    more = found[1] - found[0]
    assert more.total() <= 4, more


def test_losses_on_the_device_are_those_of_the_cpu(tmp_path: Path) -> None:
    """Where operations are the same; without dropout, whose random numbers differ."""
    here, there = made(dropout=0.0), made(dropout=0.0)
    trainer = Trainer(here.model, [], here.assembly.config.train, tmp_path)
    expected = [
        value for step in steps(here, 0) for value in trainer.train_step(step).values.values()
    ]
    with PretendedGpu() as gpu:
        gpu.to_device(there.model)
        _, losses = trained(there, 0, tmp_path, gpu)
    assert np.allclose(losses, expected, rtol=1e-4)


def test_the_pretended_gpu_finds_mixed_devices_and_waits() -> None:
    with PretendedGpu() as gpu:
        x = torch.ones(3, device="pretended")
        with pytest.raises(DeviceMixError, match="add"):
            x + torch.ones(3)
        gpu.forget()
        assert bool((x > 0).all()) and x[x > 0].shape == (3,)
        torch.tensor([1.0], device="pretended")
        torch.ones(1).pin_memory().to("pretended", non_blocking=True)
        assert gpu.waits.total() == 3
        assert all("on_a_pretended_gpu.py" in place for place in gpu.waits), gpu.waits
