"""Metrics on n-grams: BLEU, chrF, ROUGE."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ofa_task_language.metrics.pairs import PairMetric, mean
from ofacore.protocols import Options

_ROUGE = ("rouge1", "rouge2", "rougeL")


class _CorpusMetric(PairMetric):
    """A metric of sacrebleu over all samples; 0 to 1."""

    def scorer(self) -> Any:
        """The sacrebleu metric."""
        raise NotImplementedError

    def compute(self) -> dict[str, float]:
        """The score under the metric's name; nan where nothing was added."""
        if not self.pairs:
            return {self.name: math.nan}
        predictions = [prediction for prediction, _ in self.pairs]
        most = max(len(references) for _, references in self.pairs)
        streams = [[refs[i] if i < len(refs) else None for _, refs in self.pairs] for i in range(most)]
        return {self.name: self.scorer().corpus_score(predictions, streams).score / 100}


class Bleu(_CorpusMetric):
    """``bleu``: corpus BLEU (Papineni et al. 2002), as sacrebleu computes it.

    Options ``tokenize`` (sacrebleu's name, ``none`` for texts that are tokenized already) and ``uncased``.
    """

    name = "bleu"

    def scorer(self) -> Any:
        """sacrebleu's BLEU."""
        from sacrebleu.metrics import BLEU

        return BLEU(tokenize=str(self.options.get("tokenize", "13a")), lowercase=bool(self.options.get("uncased")))


class Chrf(_CorpusMetric):
    """``chrf``: F-score of character n-grams over the corpus (Popovic 2015), as sacrebleu computes it.

    Options ``char_order``, ``word_order`` (2 for chrF++), ``beta`` and ``uncased``.
    """

    name = "chrf"

    def scorer(self) -> Any:
        """sacrebleu's chrF."""
        from sacrebleu.metrics import CHRF

        orders = {key: int(self.options.get(key, default)) for key, default in _CHRF_DEFAULTS}
        return CHRF(**orders, lowercase=bool(self.options.get("uncased")))


_CHRF_DEFAULTS = (("char_order", 6), ("word_order", 0), ("beta", 2))


class Rouge(PairMetric):
    """``rouge1``, ``rouge2``, ``rougeL``: mean F1 of words, pairs of words, longest common subsequence (Lin 2004).

    Of several references the best counts. rouge-score knows the letters a-z and digits only. Option ``stemmer``.
    """

    name = "rouge"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._scores: list[tuple[float, ...]] = []

    def compute(self) -> dict[str, float]:
        """The three means; nan where nothing was added."""
        scores = self._all()
        return {name: mean(sample[i] for sample in scores) for i, name in enumerate(_ROUGE)}

    def items(self) -> Sequence[float]:
        """ROUGE-1 of each sample."""
        return [sample[0] for sample in self._all()]

    def _all(self) -> list[tuple[float, ...]]:
        """Scores of all pairs; those of earlier calls are kept."""
        if len(self._scores) < len(self.pairs):
            from rouge_score.rouge_scorer import RougeScorer

            scorer = RougeScorer(list(_ROUGE), use_stemmer=bool(self.options.get("stemmer")))
            for prediction, references in self.pairs[len(self._scores) :]:
                found = scorer.score_multi(references, prediction)
                self._scores.append(tuple(found[name].fmeasure for name in _ROUGE))
        return self._scores
