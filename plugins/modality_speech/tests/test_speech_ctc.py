"""CTC against torch's own loss and against all alignments, one by one."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
import torch

from ofa_modality_speech.ctc import CtcCriterion, CtcPrediction, ctc_losses
from ofa_modality_speech.ctc_generators import Heard
from ofa_modality_speech.ctc_search import BLANK, best_path, prefix_beam
from ofacore.protocols import UNK, CriterionContext


def table(positions, columns, seed):
    scores = torch.randn(positions, columns, generator=torch.Generator().manual_seed(seed))
    return scores.log_softmax(1)


def collapsed(path):
    return tuple(column for column, _ in itertools.groupby(path) if column != BLANK)


def all_sequences(log_probs):
    """Sequence -> log-probability, summed over every alignment there is."""
    found = defaultdict(float)
    positions, columns = log_probs.shape
    for path in itertools.product(range(columns), repeat=positions):
        found[collapsed(path)] += np.exp(sum(log_probs[t, c] for t, c in enumerate(path)))
    return {sequence: np.log(share) for sequence, share in found.items()}


@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_finds_the_likeliest_sequences(seed):
    log_probs = table(5, 3, seed).numpy()
    right = all_sequences(log_probs)
    found = prefix_beam(log_probs, beam=len(right))
    best = sorted(right, key=lambda sequence: -right[sequence])[:5]
    assert [one.columns for one in found[:5]] == best
    assert [one.log_prob for one in found[:5]] == pytest.approx([right[s] for s in best], abs=1e-5)


def test_a_narrow_beam_keeps_the_likeliest_prefixes():
    log_probs = table(12, 6, 3).numpy()
    narrow, wide = prefix_beam(log_probs, 4), prefix_beam(log_probs, 200)
    assert len(narrow) == 4
    assert narrow[0].log_prob <= wide[0].log_prob + 1e-9


def test_a_beam_wider_than_there_are_sequences_gives_each_of_them_once():
    log_probs = table(2, 3, 0).numpy()
    found = {one.columns: one.log_prob for one in prefix_beam(log_probs, beam=20)}
    assert found == pytest.approx(all_sequences(log_probs), abs=1e-5)


def test_a_value_with_a_token_that_cannot_be_heard_is_impossible():
    heard = Heard(table(5, 4, 0), np.array([6, 7, 8]))
    values = [np.array(ids) for ids in ([6, 8], [UNK], [6, UNK], [9])]
    right, *others = heard.scores(values)
    assert right == pytest.approx(all_sequences(heard.log_probs.numpy())[1, 3], abs=1e-4)
    assert others == [-np.inf] * 3


def test_the_likeliest_path_drops_repeats_and_blanks():
    path = [0, 1, 1, 0, 1, 2, 2, 0]
    log_probs = np.full((len(path), 3), -9.0)
    log_probs[np.arange(len(path)), path] = -0.1
    found = best_path(log_probs)
    assert found.columns == (1, 1, 2)
    assert found.log_prob == pytest.approx(-0.8)


def test_losses_are_those_of_torch_and_of_all_alignments():
    first, second = table(4, 3, 0), table(6, 3, 1)
    labels = [torch.tensor([1, 2]), torch.tensor([2, 2, 1])]
    found = ctc_losses(torch.cat([first, second]), torch.cat(labels), (4, 6), (2, 3))
    for log_probs, own, loss in zip((first, second), labels, found, strict=True):
        right = torch.nn.CTCLoss(reduction="sum")(
            log_probs, own, torch.tensor(len(log_probs)), torch.tensor(len(own))
        )
        assert float(loss) == pytest.approx(float(right), abs=1e-5)
        sequences = all_sequences(log_probs.numpy())
        assert float(loss) == pytest.approx(-sequences[tuple(own.tolist())], abs=1e-4)


def test_an_item_too_short_for_its_labels_is_told_and_leaves_no_trace():
    logits = torch.randn(3, 4, requires_grad=True)
    labels = torch.tensor([6, 6, 7])  # two equal ones need a blank between them: four positions
    prediction = CtcPrediction(logits, torch.tensor([6, 7, 8]))
    ctx = CriterionContext((3,), {"ids": (3,)})
    loss = CtcCriterion({})(prediction, {"ids": labels}, ctx)
    loss.values.sum().backward()
    assert loss.values.tolist() == [0.0] and loss.parts["too_short"].tolist() == [1.0]
    assert not logits.grad.any()


def test_an_item_with_a_label_that_is_never_heard_is_told_and_leaves_no_trace():
    logits = torch.randn(6, 4, requires_grad=True)
    prediction = CtcPrediction(logits, torch.tensor([6, 7, 8]))
    labels = {"ids": torch.tensor([6, UNK, 7, 8])}
    loss = CtcCriterion({})(prediction, labels, CriterionContext((3, 3), {"ids": (2, 2)}))
    loss.values.sum().backward()
    assert loss.parts["not_heard"].tolist() == [1.0, 0.0]
    assert loss.parts["too_short"].tolist() == [0.0, 0.0]
    assert loss.values[0] == 0.0 and loss.values[1] > 0.0
    assert not logits.grad[:3].any() and logits.grad[3:].any()
