"""CIDEr-D over the whole corpus."""

from __future__ import annotations

from collections.abc import Sequence

from ofa_task_language.metrics.pairs import PairMetric, mean, normalised

_FORM = {"uncased": True, "no_punctuation": True}


class Cider(PairMetric):
    """``cider``: CIDEr-D (Vedantam et al. 2015), as pycocoevalcap computes it, 0 to 10.

    Document frequencies come from the references of all samples, so the value does not depend on batches; of a single
    sample it is 0. Words are lower-cased and lose ASCII punctuation, which stands in for the Java tokenizer of the COCO
    evaluation.
    """

    name = "cider"

    def compute(self) -> dict[str, float]:
        """``cider``; nan where nothing was added."""
        return {self.name: mean(self.items())}

    def items(self) -> Sequence[float]:
        """The similarity of each sample to its references, under the document frequencies of all samples."""
        from pycocoevalcap.cider.cider_scorer import CiderScorer

        scorer, words = CiderScorer(), 0
        for prediction, references in self.pairs:
            texts = [normalised(reference, _FORM) for reference in references]
            words += sum(len(text) for text in texts)
            scorer += (normalised(prediction, _FORM), texts)
        if not words:
            return [0.0] * len(self.pairs)
        _, scores = scorer.compute_score()
        return [float(score) for score in scores]
