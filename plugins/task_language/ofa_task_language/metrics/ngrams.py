"""Metrics on n-grams: BLEU, chrF, ROUGE."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from ofa_task_language.metrics.pairs import PairMetric, mean
from ofacore.protocols import Options

_ROUGE = ("rouge1", "rouge2", "rougeL")
TOKENIZERS = (
    "13a",
    "none",
    "intl",
    "char",
    "zh",
    "ja-mecab",
    "ko-mecab",
    "spm",
    "flores101",
    "flores200",
    "spBLEU-1K",
)
"""Names that sacrebleu knows."""
_SENTENCE_PIECES = ("sentencepiece", "sentencepiece")
_PACKAGES = {
    "ja": ("MeCab", "'sacrebleu[ja]'"),
    "ko": ("mecab_ko", "'sacrebleu[ko]'"),
    "spm": _SENTENCE_PIECES,
    "flores": _SENTENCE_PIECES,
    "spBLEU": _SENTENCE_PIECES,
}
"""What a tokenizer needs beside sacrebleu: its module, and how it is installed."""
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of Thai, Lao, Burmese, Khmer, Japanese and Chinese, which are written without blanks."""
_LATIN = re.compile(r"[a-z0-9]", re.IGNORECASE | re.ASCII)
_LETTER = re.compile(r"[^\W_]")


class _CorpusMetric(PairMetric):
    """A metric of sacrebleu over all samples; 0 to 1."""

    def scorer(self) -> Any:
        """The sacrebleu metric."""
        raise NotImplementedError

    def compute(self) -> dict[str, float]:
        """The score under the metric's name; nan where nothing was added, or all references are empty.

        Raises:
            ValueError: No answer to these references scores more than 0.
        """
        if not self.pairs:
            return {self.name: math.nan}
        score = self._score([prediction for prediction, _ in self.pairs])
        if score == 0 and self._score([references[0] for _, references in self.pairs]) == 0:
            self.undefined()
            return {self.name: math.nan}
        return {self.name: score}

    def undefined(self) -> None:
        """Called where a faultless answer would score 0 as well; may raise a ValueError that says why."""

    def _score(self, predictions: Sequence[str]) -> float:
        most = max(len(references) for _, references in self.pairs)
        streams = []
        for place in range(most):
            streams.append([refs[place] if place < len(refs) else None for _, refs in self.pairs])
        return min(1.0, float(self.scorer().corpus_score(predictions, streams).score) / 100)


class Bleu(_CorpusMetric):
    """``bleu``: corpus BLEU (Papineni et al. 2002), as sacrebleu computes it.

    Options ``tokenize`` (sacrebleu's name, ``none`` for texts that are tokenized already) and ``uncased``.
    """

    name = "bleu"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        tokenize = str(options.get("tokenize", "13a"))
        if tokenize not in TOKENIZERS:
            raise ValueError(
                f"bleu: option tokenize is '{tokenize}'; expected one of {', '.join(TOKENIZERS)}"
            )
        package = _PACKAGES.get(tokenize.partition("-")[0].rstrip("0123456789"))
        if package is not None and find_spec(package[0]) is None:
            raise ValueError(
                f"bleu: option tokenize={tokenize} needs a package; pip install {package[1]}"
            )

    def undefined(self) -> None:
        """BLEU counts runs of four words; where the references have none, it tells nothing."""
        if any(reference.strip() for _, references in self.pairs for reference in references):
            problem = "no reference has four words, so that even a faultless answer scores 0"
            without_blanks = "for texts without blanks set tokenize: zh, ja-mecab, ko-mecab or char"
            raise ValueError(f"bleu: {problem}; take chrf or token_f1, or {without_blanks}")

    def scorer(self) -> Any:
        """sacrebleu's BLEU."""
        from sacrebleu.metrics import BLEU

        return BLEU(
            tokenize=str(self.options.get("tokenize", "13a")),
            lowercase=bool(self.options.get("uncased")),
        )


class Chrf(_CorpusMetric):
    """``chrf``: F-score of character n-grams over the corpus (Popovic 2015), as sacrebleu computes it.

    Options ``char_order``, ``word_order`` (2 for chrF++), ``beta`` and ``uncased``.
    """

    name = "chrf"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        for name, default, least in _CHRF_OPTIONS:
            value = options.get(name, default)
            if not isinstance(value, int | float) or value != int(value) or value < least:
                raise ValueError(
                    f"chrf: option {name} is {value!r}; expected a whole number, at least {least}"
                )

    def scorer(self) -> Any:
        """sacrebleu's chrF."""
        from sacrebleu.metrics import CHRF

        orders: dict[str, Any] = {
            key: int(self.options.get(key, default)) for key, default, _ in _CHRF_OPTIONS
        }
        return CHRF(**orders, lowercase=bool(self.options.get("uncased")))


_CHRF_OPTIONS = (("char_order", 6, 1), ("word_order", 0, 0), ("beta", 2, 1))
"""Name, default and least value."""


class UnicodeWords:
    """Words of any script for rouge-score; those of texts of a-z and digits are its own."""

    def __init__(self, stemmer: bool) -> None:
        from nltk.stem.porter import PorterStemmer

        self._stemmer = PorterStemmer() if stemmer else None

    def tokenize(self, text: str) -> list[str]:
        """The words in lower case; those of more than three letters stemmed, where that was asked for."""
        letters = (
            letter if unicodedata.category(letter)[0] in "LMN" else " "
            for letter in unicodedata.normalize("NFC", text.lower())
        )
        words = _UNSPACED.sub(r" \g<0> ", "".join(letters)).split()
        if self._stemmer is None:
            return words
        return [self._stemmer.stem(word) if len(word) > 3 else word for word in words]


class Rouge(PairMetric):
    """``rouge1``, ``rouge2``, ``rougeL``: mean F1 of words, pairs of words, longest common subsequence (Lin 2004).

    Of several references the best counts. Option ``stemmer``. Option ``tokenize``: ``rouge`` takes the letters a-z and
    digits for words, as rouge-score does; ``unicode`` the letters and digits of any script, each letter of a script
    without blanks (Chinese, Japanese, Thai and the like) for a word.
    """

    name = "rouge"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._scores: list[tuple[float, ...]] = []
        self._tokenize = str(options.get("tokenize", "rouge"))
        if self._tokenize not in ("rouge", "unicode"):
            raise ValueError(
                f"rouge: option tokenize is '{self._tokenize}'; expected rouge or unicode"
            )

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add predictions, each with its reference or list of references; a missing prediction is the empty text.

        Raises:
            ValueError: As for other metrics, or no reference has a word that is one to rouge-score.
        """
        before = len(self.pairs)
        super().update(predictions, references, rows)
        if self._tokenize != "rouge":
            return
        for number, (_, texts) in enumerate(self.pairs[before:]):
            if not any(map(_LATIN.search, texts)) and any(map(_LETTER.search, texts)):
                del self.pairs[before:]
                raise ValueError(
                    f"rouge, sample {number}: no word of a-z or 0-9 in a reference; set tokenize: unicode"
                )

    def compute(self) -> dict[str, float]:
        """The three means; nan where nothing was added."""
        scores = self._all()
        means = {}
        for place, name in enumerate(_ROUGE):
            means[name] = mean(sample[place] for sample in scores)
        return means

    def items(self) -> Sequence[float]:
        """ROUGE-1 of each sample."""
        return [sample[0] for sample in self._all()]

    def _all(self) -> list[tuple[float, ...]]:
        """Scores of all pairs; those of earlier calls are kept."""
        if len(self._scores) < len(self.pairs):
            from rouge_score.rouge_scorer import RougeScorer

            tokenizer = (
                UnicodeWords(bool(self.options.get("stemmer")))
                if self._tokenize == "unicode"
                else None
            )
            scorer = RougeScorer(
                list(_ROUGE), use_stemmer=bool(self.options.get("stemmer")), tokenizer=tokenizer
            )
            for prediction, references in self.pairs[len(self._scores) :]:
                found = scorer.score_multi(references, prediction)
                self._scores.append(tuple(found[name].fmeasure for name in _ROUGE))
        return self._scores
