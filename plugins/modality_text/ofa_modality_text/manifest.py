"""What this plugin offers: the slot type TEXT and the preprocessor `text`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from numbers import Real
from typing import Any

from ofacore.plugin import Attribute, Component, ModalityManifest, Option, SlotType


def is_text(value: Any) -> bool:
    """True for one text: a string, a number, a date or time, or a one-dimensional integer array of token ids."""
    if isinstance(value, str | Real | Decimal | date | time):
        return not isinstance(value, bool)
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return getattr(value, "ndim", None) == 1 and kind in ("i", "u")


_CLOSED_SET = Attribute(
    "closed_set",
    sides=("target",),
    doc="The value is one of a set given by the task; only its members can be learned and generated.",
)
_ATTRIBUTES = (
    Attribute(
        "max_length",
        "int",
        doc="Longer texts are cut to this many tokens; at inference no more are generated.",
        minimum=1,
    ),
    Attribute(
        "min_length",
        "int",
        doc="At inference at least this many tokens are generated.",
        minimum=0,
        sides=("target",),
    ),
    Attribute(
        "length",
        "int",
        doc="Every value has exactly this many tokens, so no end token is needed.",
        minimum=1,
    ),
    Attribute("uncased", doc="Lower-case the text."),
    Attribute("no_punctuation", doc="Remove punctuation."),
    Attribute(
        "level",
        "choice",
        default="bpe",
        choices=("bpe", "character"),
        doc="`character` keeps letters apart, for spelling, pronunciation and the like.",
    ),
    Attribute(
        "specials",
        sides=("source",),
        doc="`<mask>`, `<bos>` or `<s>`, `<eos>` or `</s>`, `<pad>` and `<unk>` in the text are these tokens; "
        "without it, no text ever becomes one.",
    ),
    Attribute(
        "mask_ratio",
        "float",
        minimum=0.0,
        maximum=1.0,
        sides=("source",),
        doc="In training this share of the tokens is masked, in spans whose lengths are Poisson distributed.",
    ),
    Attribute(
        "noise_ratio",
        "float",
        minimum=0.0,
        maximum=1.0,
        sides=("target",),
        doc="In training this share of what the decoder reads is replaced by random tokens; the labels stay.",
    ),
    _CLOSED_SET,
    Attribute(
        "disable_auto_boseos",
        doc="No `<bos>` and `<eos>` around the run of tokens that this slot begins.",
    ),
)

_TARGET = "ofa_modality_text.preprocessor:TextPreprocessor"
_USES = {"adapter": "token", "head": "token", "criterion": "cross_entropy", "generator": "token"}
_TOKENIZER = "A `tokenizer.json`, a folder that holds one, or a Hugging Face name; with `path`: gpt2, bert_cn or hf."
_OPTIONS: Mapping[str, Option] = {
    "vocab_size": Option(
        4096, "Largest number of tokens of the BPE; small data give fewer.", minimum=256
    ),
    "min_frequency": Option(2, "How often a pair of tokens must occur to become one.", minimum=1),
    "tokenizer": Option("", _TOKENIZER),
    "path": Option("", "Where the tokenizer's files are."),
    "poisson_lambda": Option(3.0, "Mean length of masked spans.", minimum=1e-3),
    "replace_length": Option(
        -1,
        "What a masked span becomes: -1 as many mask tokens, 1 a single one, 0 nothing.",
        choices=(-1, 0, 1),
    ),
    "random_ratio": Option(
        0.0, "Share of mask tokens that become random tokens.", minimum=0, maximum=1
    ),
}
_TOWER_PATH = Option("", "Folder of the tower, as `save_pretrained` writes it.")
_TOWER = (
    Component(
        "preprocessor",
        "text_tower",
        "ofa_modality_text.tower_preprocessor:TowerTextPreprocessor",
        "Tokens of a tower's own tokenizer, for sources.",
        {"adapter": "text_tower"},
        {"path": replace(_TOWER_PATH, shared=True)},
    ),
    Component(
        "adapter",
        "text_tower",
        "ofa_modality_text.tower:TextTower",
        "A text encoder of transformers: BERT, RoBERTa, MiniLM, T5's encoder.",
        options={
            "path": _TOWER_PATH,
            "frozen": Option(False, "Its weights are not trained."),
            "layer": Option(-1, "Whose states are taken; -1: the output."),
            "pool": Option(
                "states",
                "`states` of all tokens, their `mean`, or the `first` one: one position for a text.",
                choices=("states", "mean", "first"),
            ),
            "config": Option({}, "In place of a path: its configuration, without weights."),
        },
    ),
)
_VECTORS = Option(64, "Vectors that the model has for prompts.", minimum=1)

MANIFEST = ModalityManifest(
    name="text",
    contract=(2, 0),
    doc="Text, as tokens of a byte-level BPE trained on the tasks' own text or of any Hugging Face tokenizer.",
    slots=(
        SlotType(
            name="TEXT",
            doc="Text of any language.",
            preprocessor="text",
            values="a string, a number, a date or time, or a one-dimensional integer array of token ids",
            is_element=is_text,
            attributes=_ATTRIBUTES,
            views=("text",),
            sample="ofa_modality_text.sample:text",
            serves_plain_text=True,
            widget="text",
            default_metrics={
                "repeat": "multilabel_f1",
                "closed_set": "accuracy",
                "numbers": "absolute_error",
                "": "chrf",
            },
        ),
        SlotType(
            name="CATEGORY",
            doc="The name of a class, which is one token.",
            preprocessor="category",
            values="a string or a number; a target is one of the values that the training data show",
            is_element=is_text,
            attributes=(_CLOSED_SET,),
            views=("text",),
            sample="ofa_modality_text.sample:name",
            widget="text",
            default_metrics={"repeat": "multilabel_f1", "": "accuracy"},
        ),
        SlotType(
            name="PROMPT",
            doc="Learned vectors in the source, for prompt tuning; rows need no column for it.",
            preprocessor="prompt",
            values="anything: it is not looked at",
            is_element=is_text,
            attributes=(
                Attribute(
                    "length",
                    "int",
                    default=16,
                    minimum=1,
                    sides=("source",),
                    doc="Number of vectors.",
                ),
                Attribute(
                    "first",
                    "int",
                    default=0,
                    minimum=0,
                    sides=("source",),
                    doc="The first of the model's vectors that it takes: prompts of different tasks begin elsewhere, "
                    "or share some.",
                ),
            ),
            sample="ofa_modality_text.sample:name",
            row_transform="ofa_modality_text.prompt:FillPrompts",
            needs_column=False,
        ),
    ),
    components=(
        Component(
            "preprocessor",
            "text",
            _TARGET,
            "Byte-level BPE trained on the tasks' own text, or a named tokenizer.",
            _USES,
            _OPTIONS,
        ),
        Component(
            "preprocessor",
            "text_gpt2",
            _TARGET,
            "GPT-2's BPE from local files: option `path` is a folder with vocab.json and merges.txt, or "
            "encoder.json and vocab.bpe; a dict.txt there gives the order of the tokens.",
            _USES,
            {**_OPTIONS, "tokenizer": Option("gpt2", _TOKENIZER)},
        ),
        Component(
            "preprocessor",
            "text_bert_cn",
            _TARGET,
            "BERT's word pieces, as in Chinese models: option `path` is a vocab.txt or the folder that holds it.",
            _USES,
            {**_OPTIONS, "tokenizer": Option("bert_cn", _TOKENIZER)},
        ),
        Component(
            "preprocessor",
            "category",
            "ofa_modality_text.category:CategoryPreprocessor",
            "A closed list of names, each one token: option `classes`, or all values of the training data.",
            _USES,
            {"classes": Option((), "The names; empty: all values of the training data.")},
        ),
        Component(
            "preprocessor",
            "prompt",
            "ofa_modality_text.prompt:PromptPreprocessor",
            "Learned vectors by their numbers.",
            {"adapter": "prompt"},
            {"vectors": replace(_VECTORS, shared=True)},
        ),
        Component(
            "adapter",
            "prompt",
            "ofa_modality_text.prompt_adapter:PromptAdapter",
            "The vectors of learned prompts (Lester et al. 2021).",
            options={"vectors": _VECTORS},
        ),
        *_TOWER,
    ),
)
