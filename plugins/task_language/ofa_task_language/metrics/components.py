"""The metrics that this package announces."""

from __future__ import annotations

from ofacore.plugin import Component, Option

_PACKAGE = "ofa_task_language.metrics"
_UNCASED = Option(False, "Case does not count.")
_CASE = {"uncased": _UNCASED, "no_punctuation": Option(False, "ASCII punctuation does not count.")}
_POSITIVE = Option("", "The label that counts as positive; empty: all labels alike.")
_AVERAGE = Option(
    "", "How labels are averaged; empty: macro.", choices=("", "macro", "micro", "weighted")
)
_CHRF = {
    "char_order": Option(6, "Longest n-grams of characters.", minimum=1),
    "word_order": Option(0, "Longest n-grams of words; 2 is chrF++.", minimum=0),
    "beta": Option(2, "How much more recall counts than precision.", minimum=1),
    "uncased": _UNCASED,
}


def _metric(name: str, target: str, doc: str, **options: Option) -> Component:
    return Component("metric", name, f"{_PACKAGE}.{target}", doc, options=options)


METRICS: tuple[Component, ...] = (
    _metric("accuracy", "labels:Accuracy", "share of predictions equal to the reference"),
    _metric("f1", "labels:F1", "F1 of labels (scikit-learn)", average=_AVERAGE, positive=_POSITIVE),
    _metric(
        "multilabel_f1",
        "label_sets:MultilabelF1",
        "F1 of rows that have several labels, as a repeat gives them",
        average=Option(
            "samples",
            "The mean over rows, over all labels at once, or the mean over labels.",
            choices=("samples", "micro", "macro"),
        ),
    ),
    _metric(
        "matthews",
        "labels:Matthews",
        "Matthews correlation of labels (scikit-learn)",
        positive=_POSITIVE,
    ),
    _metric(
        "exact_match",
        "words:ExactMatch",
        "share of texts equal to a reference, blanks joined",
        **_CASE,
    ),
    _metric("token_f1", "words:TokenF1", "F1 of words, the best over the references", **_CASE),
    _metric("vqa_score", "words:VqaScore", "confidence that people have in the answer", **_CASE),
    _metric(
        "bleu",
        "ngrams:Bleu",
        "corpus BLEU (sacrebleu), 0 to 1",
        tokenize=Option("13a", "sacrebleu's name of the tokenizer, such as intl, char or zh."),
        uncased=_UNCASED,
    ),
    _metric("chrf", "ngrams:Chrf", "corpus chrF (sacrebleu), 0 to 1", **_CHRF),
    _metric(
        "rouge",
        "ngrams:Rouge",
        "ROUGE-1, -2 and -L, F1 (rouge-score)",
        stemmer=Option(False, "Words are compared by their stems."),
        tokenize=Option(
            "rouge",
            "rouge: words of a-z and 0-9; unicode: words of any script.",
            choices=("rouge", "unicode"),
        ),
    ),
    _metric("cider", "cider:Cider", "CIDEr-D over the whole corpus (pycocoevalcap)"),
    _metric(
        "wer",
        "error_rates:WordErrorRate",
        "word errors by words of the references (jiwer)",
        **_CASE,
    ),
    _metric(
        "cer",
        "error_rates:CharacterErrorRate",
        "character errors by characters of the references (jiwer)",
        **_CASE,
    ),
    _metric(
        "per",
        "error_rates:PhonemeErrorRate",
        "phoneme errors by phonemes of the references (jiwer)",
    ),
    _metric(
        "retrieval",
        "retrieval:Retrieval",
        "share of rows whose reference is ranked first among candidates",
        candidates=Option("candidates", "Column that holds the candidates of a row."),
    ),
    _metric(
        "perplexity",
        "perplexity:Perplexity",
        "of the references, from log-probabilities of their tokens",
    ),
)
