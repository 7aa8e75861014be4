"""What this plugin offers: the backbone `transformers`."""

from __future__ import annotations

from ofacore.plugin import Component, ComponentManifest, Option

_PACKAGE = "ofa_backbone_transformers"

MANIFEST = ComponentManifest(
    "transformers",
    (2, 0),
    (
        Component(
            "backbone",
            "transformers",
            f"{_PACKAGE}.backbone:TransformersBackbone",
            "An encoder-decoder or a decoder of transformers, from a local folder.",
            options={
                "path": Option("", "Its folder, as `save_pretrained` writes it."),
                "joined": Option(
                    True,
                    "Of a decoder alone: the target goes on right behind the source; otherwise it begins with a token "
                    "of its own.",
                ),
                "prompt": Option(
                    (),
                    "Tokens, by name, that the decoder of an encoder-decoder reads behind its start: a language.",
                ),
                "peft": Option(
                    {},
                    "What peft adds to the layers, which are then frozen: `{r: 8, target_modules: [q_proj]}`, or any "
                    "other keys of its configurations.",
                ),
                "config": Option({}, "In place of a path: its configuration, without weights."),
                "tokens": Option({}, "Beside `config`: numbers of its special tokens."),
                "generation": Option(
                    {}, "Beside `config`: what its folder told `generate` of transformers."
                ),
            },
            divides=("fsdp",),
            settings=f"{_PACKAGE}.settings:settings",
        ),
        Component(
            "adapter",
            "whisper",
            f"{_PACKAGE}.whisper_sound:WhisperSound",
            "Sounds for a Whisper as backbone: `[AUDIO:x,preprocess=audio_wave,adapter=whisper]`.",
            options={
                "path": Option("", "Folder of the model; the backbone sets it."),
                "config": Option({}, "In place of a path: what is needed of its configuration."),
                "pad_seconds": Option(
                    30,
                    "Sounds are filled up with silence to a multiple of so many seconds, 30 at most; 30 is what a "
                    "Whisper knows, less is faster and has to be learned.",
                    minimum=1,
                    maximum=30,
                ),
            },
        ),
    ),
    "Models of transformers as backbones.",
)
