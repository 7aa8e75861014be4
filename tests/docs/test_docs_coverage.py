"""The coverage page names things that exist, and leaves no item out."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from ofa_cli.lazy import COMMANDS
from ofacore.config.schema import RunConfig
from ofacore.plan.attributes import CORE_ATTRIBUTES
from ofacore.plugin import Registry
from ofacore.plugin.kinds import CORE_KINDS

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
PACKAGES = ("ofacore", "ofa_")
ITEMS = {
    "Instruction": """TEXT IMAGE BOX AUDIO MOTION PHONE VIDEO STRUCT CATEGORY preprocess adaptor no_loss closed_set
        mask_ratio noise_ratio max_length min_length uncased no_punctuation disable_auto_boseos length n_frames_per_step
        use_mask sample_rate soft_trim window anchor_frame add_bos is_label""",
    "Preprocessors": """text text_phone category image imagenet imagepretrain image_vqgan box audio audio_embed phone
        video motion_6d table database""",
    "Adaptors": """text image_resnet image_vit image_patch_embed image_vqgan video_image_sequence audio_fbank
        audio_tgt_fbank motion_6d general""",
    "Model": "tiny medium base large huge asr_small asr_base 6b 8b 10b scale_attn scale_fc scale_heads scale_resids",
    "Criteria": """cross_entropy label_smoothed_cross_entropy diffusion_criterion scst_reward_criterion ofa_tacotron2
        speech_to_text_loss speech_pretrain_loss""",
    "Metrics": """accuracy vqa_score rouge cider clip_ti f_measure iou_acc matthews_corrcoef wer exact_match bleu
        solved_acc MCD""",
    "Tasks": """glue gigaword natural_instruction_v2 text_infilling language_modeling caption pretrain_caption image_gen
        image_infilling vqa_gen snli_ve image_classify image_text_matching mae_finetune refcoco grounded_captioning
        object_detection video_classify video_caption video_question_answering_generative video_generation
        speech_to_text text_to_speech audio_pretraining phone_to_text diffusion spider dart fetaqa sudoku default""",
}
"""Names that the inventory of the original lists, by section."""


@dataclass(frozen=True)
class Entry:
    section: str
    item: str
    here: str
    note: str

    @property
    def names(self) -> list[str]:
        return re.findall(r"`([^`]+)`", self.here)


def entries(text: str) -> Iterator[Entry]:
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        section, *lines = part.splitlines()
        for line in lines:
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if len(cells) == 3 and cells[0] != "Item" and set(cells[0]) != {"-"}:
                yield Entry(section.strip(), *cells)


ENTRIES = list(entries(PAGE.read_text(encoding="utf-8")))
REGISTRY = Registry.discover()


class Unresolved(Exception):
    pass


def resolve(name: str) -> None:
    """Raises if a name of the page leads nowhere."""
    kind, colon, rest = name.partition(":")
    if not colon:
        resolve_python(name)
    elif kind == "config":
        resolve_key(rest)
    elif kind == "cli":
        resolve_command(rest)
    elif kind == "attribute":
        owner, _, attribute = rest.partition(".")
        known = CORE_ATTRIBUTES if owner == "core" else REGISTRY.slot(owner).attributes
        require(attribute in {entry.name for entry in known}, name)
    elif kind == "option":
        component, _, option = rest.partition(".")
        require(option in REGISTRY.component(*component.split("/")).options, name)
    elif kind in ("slot", "preset"):
        getattr(REGISTRY, kind)(rest)
    else:
        require(kind in CORE_KINDS, name)
        REGISTRY.load(kind, rest)


def require(found: bool, name: str) -> None:
    if not found:
        raise Unresolved(name)


def resolve_python(name: str) -> None:
    require(name.startswith(PACKAGES), name)
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            require(hasattr(found, part), name)
            found = getattr(found, part)
        return
    raise Unresolved(name)


def resolve_key(path: str) -> None:
    section: Any = RunConfig
    for part in path.split("."):
        if part != "<name>":
            require(issubclass(section, BaseModel), path)
            key = part.removesuffix("[]")
            require(key in section.model_fields, path)
            section = inner(section.model_fields[key].annotation)


def inner(annotation: Any) -> Any:
    """The section inside an annotation such as ``dict[str, TaskConfig]``; where there is none, its class."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation
    found = [inner(argument) for argument in get_args(annotation)]
    return next(
        (kind for kind in found if isinstance(kind, type) and issubclass(kind, BaseModel)), object
    )


def resolve_command(text: str) -> None:
    words = text.split()
    require(words[0] in COMMANDS, text)
    command: Any = typer.main.get_command(
        importlib.import_module(f"ofa_cli.commands.{words[0]}").app
    )
    for word in words[1:]:
        if word.startswith("--"):
            require(any(word in parameter.opts for parameter in command.params), text)
        else:
            require(word in getattr(command, "commands", {}), text)
            command = command.commands[word]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.section}: {entry.item}")
def test_every_name_exists(entry: Entry) -> None:
    for name in entry.names:
        resolve(name)


def test_every_row_says_where_it_is_or_why_not() -> None:
    silent = [
        e.item
        for e in ENTRIES
        if not e.names and (e.here not in ("*to come*", "*not offered*") or not e.note)
    ]
    assert not silent


def test_no_item_is_left_out() -> None:
    for section, names in ITEMS.items():
        words = set(re.findall(r"\w+", " ".join(e.item for e in ENTRIES if e.section == section)))
        assert not set(names.split()) - words, section


@pytest.mark.parametrize(
    "name",
    [
        "ofacore.generalist.facade.Generalist.fly",
        "ofacore.nowhere",
        "os.path",
        "metric:nothing",
        "colour:red",
        "slot:SMELL",
        "attribute:TEXT.loud",
        "preset:nothing",
        "config:train.stepz",
        "config:tasks.<name>.loss",
        "cli:fly",
        "cli:train --fly",
        "cli:data fly",
    ],
)
def test_a_name_that_does_not_exist_is_found(name: str) -> None:
    with pytest.raises(Exception, match=r"."):
        resolve(name)
