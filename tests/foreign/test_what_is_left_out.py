"""What a checkpoint says and an import does not take is told by name, and stops nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ofa_foreign.importing import ImportReport, import_run
from ofacore.generalist.facade import Generalist
from tests.foreign.ofasys_file import write_checkpoint
from tests.foreign.ofasys_state import SETTINGS, random_state, trunk, with_trunk
from tests.foreign.test_trainer_files import dictionary

TEXT = "[TEXT:source] -> [TEXT:target]"
NOT_OURS = {
    "codes": (
        "[TEXT:a] -> [IMAGE,preprocess=image_vqgan,adaptor=image_vqgan]",
        "no weights of adapter 'image_vqgan'",
    ),
    "motion": (
        "[TEXT:a] -> [MOTION:m,preprocess=motion_6d,adaptor=motion_6d]",
        "no adapter 'motion_6d'",
    ),
    "broken": ("[TEXT:a -> [TEXT:b]", "this slot is not closed"),
    "arrows": ("[TEXT:a] -> [TEXT:b] -> [TEXT:c]", "second arrow"),
    "types": ("[HOLOGRAM:a] -> [TEXT:b]", "unknown slot type 'HOLOGRAM'"),
}


def section(template: Any, search: Any = None, **preprocess: Any) -> dict[str, Any]:
    """A task as the trainer stores it."""
    evaluation = {} if search is None else {"evaluation": {"generator_args": search}}
    active = {name: {"is_active": True, **settings} for name, settings in preprocess.items()}
    return {"instruction": {"template": template}, "preprocess": active, **evaluation}


def imported(folder: Path, tasks: dict[str, Any], sees: bool = False) -> ImportReport:
    places = dictionary()
    state = random_state(len(places))
    state = with_trunk(state, "image_resnet", trunk(), 1024) if sees else state
    store = {"model": {"unify": SETTINGS}, "task": tasks}
    write_checkpoint(folder / "a.pt", state, SETTINGS, places, more={"configstore": store})
    return import_run(folder / "a.pt", folder / "run")


def test_tasks_that_cannot_be_are_left_out_and_the_others_come(tmp_path: Path) -> None:
    tasks = {name: section(template) for name, (template, _) in NOT_OURS.items()}
    report = imported(tmp_path, {**tasks, "good": section(TEXT)})
    assert dict(report.tasks) == {"good": TEXT}
    told = "\n".join(report.lines())
    for name, (_, reason) in NOT_OURS.items():
        assert any(
            line.startswith(f"left out: {name}: ") and reason in line for line in report.lines()
        ), told


def test_names_that_become_one_word_stay_two_tasks(tmp_path: Path) -> None:
    report = imported(
        tmp_path, {"a-b": section(TEXT), "a_b": section("say [TEXT:source] -> [TEXT:target]")}
    )
    assert dict(report.tasks) == {"a_b": TEXT, "a_b_2": "say [TEXT:source] -> [TEXT:target]"}


def test_options_of_searching_come_along(tmp_path: Path) -> None:
    search = {
        "beam": 3,
        "max_len": 7,
        "min_len": 2,
        "no_repeat_ngram_size": 3,
        "max_len_b": 32,
        "lenpen": 2.0,
    }
    tasks = {
        "json": section(TEXT, json.dumps(search)),
        "mapping": section(TEXT, {**search, "normalize_scores": True, "sampling_topk": -1}),
        "drawn": section(TEXT, {"sampling": True, "sampling_topk": 4}),
        "odd": section(TEXT, {"beam": "wide"}),
        "text": section(TEXT, "{"),
    }
    report = imported(tmp_path, tasks)
    config = Generalist.from_pretrained(tmp_path / "run").assembly.config
    common = {"beam": 3, "max_length": 7, "min_length": 2, "no_repeat_ngram": 3}
    found = {name: dict(task.generation) for name, task in config.tasks.items()}
    assert found == {
        "json": common,
        "mapping": {**common, "length_penalty": 2.0},
        "drawn": {"strategy": "sample", "top_k": 4},
        "odd": {},
        "text": {},
    }
    told = "\n".join(report.left_out)
    assert "json: evaluation.generator_args: max_len_b=32" in told
    assert (
        "odd: evaluation.generator_args" in told
        and "text: evaluation.generator_args: no JSON" in told
    )


@pytest.mark.parametrize("imagenet", [True, False])
def test_pixels_are_normalised_as_there(imagenet: bool, tmp_path: Path) -> None:
    image = {
        "patch_image_size": 32,
        "imagenet_default_mean_and_std": imagenet,
        "interpolation": "bilinear",
        "hflip": 3,
    }
    task = section(
        "[IMAGE:img] what? -> [TEXT:target]",
        image=image,
        text={"bpe": "gpt2", "max_src_length": 12},
    )
    report = imported(tmp_path, {"see": task}, sees=True)
    model = Generalist.from_pretrained(tmp_path / "run")
    stored = model.assembly.config.options["preprocessor/image"]
    statistics = {"mean_std": "imagenet"} if imagenet else {}
    assert stored == {"size": 32, "interpolation": "bilinear", **statistics}
    encoder = model.assembly.encoders["see"]
    row = {"img": np.full((32, 32, 3), 200, np.uint8), "target": "<text>_1"}
    example = encoder.encode(row, split="valid", rng=np.random.default_rng(1), row_id="0")
    assert example.source[0][0].features["statistics"].tolist() == [int(imagenet)]
    told = "\n".join(report.left_out)
    assert "settings of preprocess.image: hflip=3" in told
    assert "settings of preprocess.text: max_src_length=12" in told


def test_settings_that_differ_between_tasks_are_told(tmp_path: Path) -> None:
    report = imported(
        tmp_path, {"a": section(TEXT, text={"random_ratio": 0.1}), "b": section(TEXT, text={})}
    )
    assert "b: preprocess.text differs from that of a, which was taken" in report.left_out
    stored = Generalist.from_pretrained(tmp_path / "run").assembly.config.options
    assert stored["preprocessor/text"] == {"random_ratio": 0.1}


def test_settings_of_the_model_that_nothing_reads_are_told(tmp_path: Path) -> None:
    odd = {
        "quant_noise_pq": 0.1,
        "freeze_encoder": True,
        "offload_activations": False,
        "no_cross_attention": None,
        "max_source_positions": 1024,
        "encoder": {**SETTINGS["encoder"], "layerdrop": 0.2, "embed_dim": 16},
        "adaptor": {
            "text": {"token_bucket_size": 256, "dropout": "${model.dropout}", "sparse": 3},
            "video": {"rate": 5},
        },
    }
    settings = {**SETTINGS, **odd}
    places = dictionary()
    store = {"model": {"unify": settings}, "task": {"a": section(TEXT)}}
    write_checkpoint(
        tmp_path / "a.pt", random_state(len(places)), settings, places, more={"configstore": store}
    )
    report = import_run(tmp_path / "a.pt", tmp_path / "run")
    told = [line for line in report.left_out if "settings of" in line]
    assert told == [
        "settings of the model: encoder.layerdrop=0.2, freeze_encoder=True, quant_noise_pq=0.1",
        "settings of adaptor.text: sparse=3",
    ]
    (tmp_path / "plain").mkdir()
    plain = imported(tmp_path / "plain", {"a": section(TEXT)})
    assert not [line for line in plain.left_out if "settings of" in line]
