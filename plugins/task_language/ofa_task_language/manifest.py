"""Task presets on text: classification, summaries, translation, letters and sounds, infilling, language modelling."""

from __future__ import annotations

from ofa_task_language.metrics.components import METRICS
from ofacore.plugin import Component, MetricUse, TaskManifest, TaskPreset

_DATA = "ofa_task_language.data"
_TWICE = "; the target repeats the text as a prompt without loss"


def _prompted(source: str, slots: str) -> str:
    """An instruction whose target repeats the source as a prompt, as in prompt tuning."""
    prompt = source
    for slot in slots.split():
        prompt = prompt.replace(f"[TEXT:{slot}]", f"[TEXT:{slot},no_loss]")
    return f"{source} -> {prompt} [TEXT:label,closed_set]"


def _glue(
    name: str, source: str, slots: str, labels: tuple[str, ...], doc: str, metric: str = "accuracy"
) -> TaskPreset:
    columns = {slot: "a text" for slot in slots.split()} | {"label": "one of: " + ", ".join(labels)}
    options = {"positive": labels[1]} if metric in ("f1", "matthews") else {}
    metrics = (MetricUse(metric, "label", options),)
    if metric != "accuracy":
        metrics += (MetricUse("accuracy", "label"),)
    return TaskPreset(
        name,
        (_prompted(source, slots),),
        doc + _TWICE,
        columns,
        metrics=metrics,
        closed_sets={"label": labels},
    )


_PAIR = "sentence1 sentence2"

GLUE = (
    _glue(
        "cola",
        'is the text " [TEXT:sentence] " grammatically correct?',
        "sentence",
        ("no", "yes"),
        "Linguistic acceptability (GLUE CoLA)",
        "matthews",
    ),
    _glue(
        "sst2",
        'is the sentiment of text " [TEXT:sentence] " positive or negative?',
        "sentence",
        ("negative", "positive"),
        "Sentiment (GLUE SST-2)",
    ),
    _glue(
        "mrpc",
        'does text1 " [TEXT:sentence1] " and text2 " [TEXT:sentence2] " have the same semantics?',
        _PAIR,
        ("no", "yes"),
        "Paraphrase (GLUE MRPC)",
        "f1",
    ),
    _glue(
        "qqp",
        'is question " [TEXT:question1] " and question " [TEXT:question2] " equivalent?',
        "question1 question2",
        ("no", "yes"),
        "Same question (GLUE QQP)",
        "f1",
    ),
    _glue(
        "mnli",
        'can text1 " [TEXT:premise] " imply text2 " [TEXT:hypothesis] "?',
        "premise hypothesis",
        ("yes", "maybe", "no"),
        "Entailment (GLUE MNLI)",
    ),
    _glue(
        "qnli",
        'does " [TEXT:sentence] " contain the answer to question " [TEXT:question] "?',
        "sentence question",
        ("no", "yes"),
        "Answer in sentence (GLUE QNLI)",
    ),
    _glue(
        "rte",
        'can text1 " [TEXT:sentence1] " imply text2 " [TEXT:sentence2] "?',
        _PAIR,
        ("no", "yes"),
        "Entailment (GLUE RTE)",
    ),
    TaskPreset(
        "stsb",
        (
            'how similar are text1 " [TEXT:sentence1] " and text2 " [TEXT:sentence2] " from 0 to 5? -> [TEXT:score]',
        ),
        "Similarity of two texts (GLUE STS-B)",
        {"sentence1": "a text", "sentence2": "a text", "score": "0.0 to 5.0 with one decimal"},
        metrics=(MetricUse("exact_match", "score"),),
    ),
)

PLAIN = (
    TaskPreset(
        "summary",
        ('what is the summary of article " [TEXT:src] "? -> [TEXT:tgt,noise_ratio=0.2]',),
        "Summaries, as of Gigaword; in training a fifth of what the decoder reads is noise",
        {
            "src": "the article",
            "tgt": "the summary",
            "refs": "several references, joined by `&&`, for a metric with `references: refs`",
        },
        transforms={"src": ("truncate_words",), "refs": ("split_references",)},
        metrics=(MetricUse("rouge", "tgt"),),
        generation={"strategy": "beam", "beam": 5, "max_length": 32, "no_repeat_ngram": 3},
    ),
    TaskPreset(
        "natural_instruction",
        (
            "[TEXT:instruction] [TEXT:examples] [TEXT:src] -> [TEXT:tgt,max_length=128]",
            "[TEXT:instruction] [TEXT:src] -> [TEXT:tgt,max_length=128]",
        ),
        "Following a written instruction, with or without examples (Super-NaturalInstructions)",
        {
            "instruction": "definition of the task",
            "examples": "worked examples as one text",
            "src": "the input",
            "tgt": "the answer",
        },
        transforms={"src": ("truncate_words",)},
        metrics=(MetricUse("rouge", "tgt"),),
        generation={"max_length": 128},
    ),
    TaskPreset(
        "text_infilling",
        ('what is the complete text of " [TEXT:text,mask_ratio=0.3] "? -> [TEXT:text]',),
        "A text from itself with spans masked, anew in every epoch",
        {"text": "any text"},
    ),
    TaskPreset(
        "language_modeling",
        ("-> [TEXT:text]",),
        "Text after text, decoder alone",
        {"text": "any text"},
        metrics=(MetricUse("perplexity", "text"),),
    ),
    TaskPreset(
        "translate",
        ('translate " [TEXT:src] " from [TEXT:from] to [TEXT:to] -> [TEXT:tgt]',),
        "Translation between any languages",
        {
            "src": "a text",
            "from": "name of its language",
            "to": "name of the other language",
            "tgt": "translation",
        },
        metrics=(MetricUse("chrf", "tgt"), MetricUse("bleu", "tgt")),
        generation={"strategy": "beam", "beam": 5},
    ),
)


def _sentiment(name: str, of: str) -> TaskPreset:
    return TaskPreset(
        f"{name}_sentiment",
        (
            'is the sentiment of text " [TEXT:text] " positive or negative? -> [TEXT:label,closed_set]',
        ),
        f"Sentiment of {of}",
        {"text": "the text", "label": "negative or positive"},
        metrics=(MetricUse("accuracy", "label"),),
        closed_sets={"label": ("negative", "positive")},
        data=f"{_DATA}.{name}_sentiment:build",
        baseline=f"{_DATA}.{name}_sentiment:baseline",
        baseline_doc="majority",
        weight=1.5,
    )


STARTER = (
    _sentiment("tweet", "tweets"),
    _sentiment("movie", "movie review snippets"),
    TaskPreset(
        "g2p",
        (
            ("how is [TEXT:word,level=character,uncased] pronounced? -> [TEXT:phones]", 3.0),
            ("what are the sounds of [TEXT:word,level=character,uncased]? -> [TEXT:phones]", 1.0),
        ),
        "Pronunciation of English words in ARPAbet",
        {"word": "a word", "phones": "phonemes, blanks between: `HH AH L OW`"},
        metrics=(MetricUse("per", "phones"), MetricUse("exact_match", "phones")),
        generation={"max_length": 40},
        data=f"{_DATA}.g2p:build",
        baseline=f"{_DATA}.g2p:baseline",
        baseline_doc="letter map",
        starter=True,
    ),
    TaskPreset(
        "spelling",
        (
            (
                "correct the spelling: [TEXT:wrong,level=character] -> [TEXT:right,level=character]",
                3.0,
            ),
            ("what should [TEXT:wrong,level=character] be? -> [TEXT:right,level=character]", 1.0),
        ),
        "Spelling correction of single words",
        {"wrong": "a misspelled word", "right": "the word"},
        metrics=(MetricUse("exact_match", "right"), MetricUse("cer", "right")),
        generation={"max_length": 40},
        data=f"{_DATA}.spelling:build",
        baseline=f"{_DATA}.spelling:baseline",
        baseline_doc="copy",
        starter=True,
    ),
    TaskPreset(
        "translate_en_fr",
        (
            ('translate " [TEXT:en,level=character] " to French -> [TEXT:fr,level=character]', 3.0),
            ('what is " [TEXT:en,level=character] " in French? -> [TEXT:fr,level=character]', 1.0),
        ),
        "English names and short messages to French",
        {"en": "English", "fr": "French"},
        metrics=(MetricUse("chrf", "fr"), MetricUse("exact_match", "fr")),
        generation={"max_length": 128},
        data=f"{_DATA}.translate_en_fr:build",
        baseline=f"{_DATA}.translate_en_fr:baseline",
        baseline_doc="copy",
        weight=1.6,
        starter=True,
    ),
    TaskPreset(
        "infilling",
        ('what is the complete text of " [TEXT:gapped] "? -> [TEXT:text]',),
        "Sentences with left-out words",
        {"gapped": "the text, each run of left-out words as one `_`", "text": "the text"},
        metrics=(MetricUse("chrf", "text"),),
        generation={"max_length": 64},
        data=f"{_DATA}.infilling:build",
        baseline=f"{_DATA}.infilling:baseline",
        baseline_doc="copy with gaps",
    ),
)

EMOJI_NAMES = Component(
    "dataset",
    "emoji_names",
    f"{_DATA}.emoji_names:EmojiNames",
    "Names of emoji in 14 languages; splits of texts.",
)

MANIFEST = TaskManifest(
    "language", (2, 0), STARTER + GLUE + PLAIN, (*METRICS, EMOJI_NAMES), "Tasks on text."
)
