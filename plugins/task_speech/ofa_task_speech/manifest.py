"""Task presets on speech: recognition, synthesis, phonemes, spoken words, speakers."""

from __future__ import annotations

from ofacore.plugin import LossUse, MetricUse, TaskManifest, TaskPreset

_DATA = "ofa_task_speech.data"
_SOUND = "a sound: a path, the content of a file, a dict with 'array' and 'sampling_rate', or a column of Hugging Face"
_TEXT = "what is said"
_ERRORS = (MetricUse("wer", "text"), MetricUse("cer", "text"))


def _heard(sound: str, text: str) -> tuple[LossUse, ...]:
    """The loss of the decoder, and CTC on the encoder."""
    return (
        LossUse("cross_entropy", text),
        LossUse("ctc", sound, text, weight=0.3, head="ctc"),
    )


def _alike(sound: str) -> tuple[MetricUse, ...]:
    """How near a sound comes to the real one, and whether it is as long."""
    return (MetricUse("mel_cepstral_distance", sound), MetricUse("duration_correlation", sound))


def _spoken(sound: str, text: str) -> tuple[LossUse, ...]:
    """The loss of the frames, and that of their number."""
    return (
        LossUse("squared_error", sound),
        LossUse("audio_length", text, sound, weight=0.1, head="audio_length"),
    )


WITH_DATA = (
    TaskPreset(
        "spoken_words",
        ("[AUDIO:wav,spec_augment] which word is spoken? -> [TEXT:word,closed_set]",),
        "Which of twenty words is spoken; the data it comes with are synthetic voices, those of the test unheard",
        {
            "wav": _SOUND,
            "word": "one of the words; without a closed set those of the training rows",
        },
        metrics=(MetricUse("accuracy", "word"),),
        data=f"{_DATA}.spoken_words:build",
        baseline=f"{_DATA}.spoken_words:baseline",
        baseline_doc="majority",
        weight=0.5,
        starter=True,
    ),
    TaskPreset(
        "said_words",
        (
            "[TEXT:word,level=character] spoken by [TEXT:voice,level=character]"
            " -> [AUDIO:wav,n_frames_per_step=2]",
        ),
        "Speaks a word with a voice; the data it comes with are synthetic, pairs of the test unheard",
        {"word": "what is said", "voice": "a name of the voice, such as `en-us+f1`", "wav": _SOUND},
        losses=_spoken("wav", "word"),
        metrics=_alike("wav"),
        generation={"steps": 16, "lengths": "predicted", "text": "word"},
        data=f"{_DATA}.said_words:build",
        baseline=f"{_DATA}.said_words:baseline",
        baseline_doc="one sound for all",
    ),
    TaskPreset(
        "speakers",
        ("[AUDIO:feat] who is speaking? -> [TEXT:speaker,closed_set]",),
        "Which of nine people speaks two vowels, from twelve cepstra a frame",
        {
            "feat": "features, an array [frames, numbers], or a sound",
            "speaker": "name of the speaker; without a closed set those of the training rows",
        },
        metrics=(MetricUse("accuracy", "speaker"),),
        data=f"{_DATA}.vowels:build",
        baseline=f"{_DATA}.vowels:baseline",
        baseline_doc="majority",
    ),
)

PLAIN = (
    TaskPreset(
        "speech_to_text",
        ("[AUDIO:wav,spec_augment] what is the text corresponding to the voice? -> [TEXT:text]",),
        "What is said, as of LibriSpeech or AISHELL; with CTC on the encoder",
        {"wav": _SOUND, "text": _TEXT},
        losses=_heard("wav", "text"),
        metrics=_ERRORS,
        generation={"strategy": "beam", "beam": 5, "max_length": 256},
    ),
    TaskPreset(
        "text_to_speech",
        ("[PHONE:text] -> [AUDIO:fbank,n_frames_per_step=2]",),
        "Speech from a text, as of LJSpeech, by flow matching; its length is predicted",
        {"text": "phonemes; in a slot with preprocess=text_phone what is said", "fbank": _SOUND},
        losses=_spoken("fbank", "text"),
        metrics=_alike("fbank"),
        generation={"steps": 16, "lengths": "predicted", "text": "text"},
    ),
    TaskPreset(
        "audio_pretraining",
        ("[AUDIO:wav,use_mask] -> [AUDIO:fbank,preprocess=audio_steps,n_frames_per_step=4]",),
        "What is hidden of a sound, told from what is around it, and the whole sound again",
        {"wav": _SOUND, "fbank": "the same sound: columns {fbank: wav}"},
        losses=(
            LossUse("audio_masked", "wav", head="audio_masked"),
            LossUse("audio_steps", "fbank"),
        ),
    ),
    TaskPreset(
        "phone_to_text",
        ("[PHONE:phone,mask_ratio=0.15] what is the text? -> [TEXT:text]",),
        "A text from its phonemes, of which some are hidden in training",
        {"phone": "phonemes such as `HH AH0 L OW1`", "text": _TEXT},
        metrics=_ERRORS,
        generation={"strategy": "beam", "beam": 5, "max_length": 256},
    ),
)

MANIFEST = TaskManifest("speech", (2, 0), WITH_DATA + PLAIN, doc="Tasks on speech.")
