"""The metrics that this package announces."""

from __future__ import annotations

from ofacore.plugin import Component

_PACKAGE = "ofa_task_language.metrics"
_CASE = {"uncased": False, "no_punctuation": False}


def _metric(name: str, target: str, doc: str, **options: object) -> Component:
    return Component("metric", name, f"{_PACKAGE}.{target}", doc, options=options)


METRICS: tuple[Component, ...] = (
    _metric("accuracy", "labels:Accuracy", "share of predictions equal to the reference"),
    _metric("f1", "labels:F1", "F1 of labels (scikit-learn)", average="", positive=""),
    _metric("matthews", "labels:Matthews", "Matthews correlation of labels (scikit-learn)", positive=""),
    _metric("exact_match", "words:ExactMatch", "share of texts equal to a reference, blanks joined", **_CASE),
    _metric("token_f1", "words:TokenF1", "F1 of words, the best over the references", **_CASE),
    _metric("vqa_score", "words:VqaScore", "confidence that people have in the answer", **_CASE),
    _metric("bleu", "ngrams:Bleu", "corpus BLEU (sacrebleu), 0 to 1", tokenize="13a", uncased=False),
    _metric(
        "chrf", "ngrams:Chrf", "corpus chrF (sacrebleu), 0 to 1", char_order=6, word_order=0, beta=2, uncased=False
    ),
    _metric("rouge", "ngrams:Rouge", "ROUGE-1, -2 and -L, F1 (rouge-score)", stemmer=False, tokenize="rouge"),
    _metric("cider", "cider:Cider", "CIDEr-D over the whole corpus (pycocoevalcap)"),
    _metric("wer", "error_rates:WordErrorRate", "word errors by words of the references (jiwer)", **_CASE),
    _metric(
        "cer", "error_rates:CharacterErrorRate", "character errors by characters of the references (jiwer)", **_CASE
    ),
    _metric("per", "error_rates:PhonemeErrorRate", "phoneme errors by phonemes of the references (jiwer)"),
    _metric(
        "retrieval", "retrieval:Retrieval", "share of rows whose reference is ranked first among candidates",
        candidates="candidates",
    ),
    _metric("perplexity", "perplexity:Perplexity", "of the references, from log-probabilities of their tokens"),
)  # fmt: skip
