"""A choice among the members of a closed set, against enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofacore.ground.vocabulary import EOS, UNK
from tests.components.markov import MarkovSession, request, tables
from tests.components.test_token_generator import generate

SEEDS = st.integers(0, 10_000)
EVERY_OPTION = [
    {"strategy": "sample", "temperature": 0.2, "top_k": 1, "top_p": 0.1},
    {"strategy": "greedy", "min_length": 3, "max_length": 3},
    {"strategy": "beam", "beam": 60, "min_length": 2, "length_penalty": 2.0, "no_repeat_ngram": 1},
    {"strategy": "diverse_beam", "beam": 60, "groups": 4, "diversity": 50.0, "unk_penalty": 9.0},
    {"strategy": "greedy", "temperature": 7.0},
]


def members_of(values: object) -> tuple[np.ndarray, ...]:
    return tuple(np.array(value, np.int64) for value in values)  # type: ignore[attr-defined]


def log_prob_among(value: list[int], values: list[list[int]], table: torch.Tensor) -> float:
    """Product of each token's probability among the tokens that may stand there."""
    total, context = 0.0, [0, 0]
    for place, token in enumerate([*value, EOS]):
        allowed = sorted({([*v, EOS])[place] for v in values if v[:place] == value[:place]})
        logs = torch.log_softmax(table[context[-2], context[-1]][allowed], -1)
        total += float(logs[allowed.index(token)])
        context.append(token)
    return total


@settings(max_examples=25, deadline=None)
@given(
    SEEDS,
    st.lists(st.lists(st.integers(6, 9), max_size=3), min_size=1, max_size=8, unique_by=tuple),
)
def test_every_member_has_its_exact_probability(seed: int, values: list[list[int]]) -> None:
    closed = members_of(values)
    requests = [request(closed_set=closed), request(closed_set=closed)]
    found = generate(MarkovSession(tables(2, seed)), requests, n_best=len(values))
    for row, table in zip(found, tables(2, seed), strict=True):
        assert len(row) == len(values)
        assert sum(np.exp([h.log_prob for h in row])) == pytest.approx(1.0, abs=1e-4)
        for hypothesis in row:
            expected = log_prob_among(hypothesis.value.tolist(), values, table)
            assert hypothesis.score == hypothesis.log_prob == pytest.approx(expected, abs=1e-4)
            assert hypothesis.tokens == len(hypothesis.value) + 1
            assert len(hypothesis.log_probs) == len(hypothesis.value)
            assert np.isfinite(hypothesis.log_probs).all()


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(1, 5))
def test_the_best_few_are_those_of_all(seed: int, wanted: int) -> None:
    values = [list(value) for value in product(range(6, 10), repeat=2)]
    closed, table = members_of(values), tables(1, seed)
    (all_of_them,) = generate(MarkovSession(table), [request(closed_set=closed)], n_best=16)
    (few,) = generate(MarkovSession(table), [request(closed_set=closed)], n_best=wanted)
    assert [h.value.tolist() for h in few] == [h.value.tolist() for h in all_of_them[:wanted]]


@pytest.mark.parametrize("limit", [1000, 2])
@pytest.mark.parametrize("options", EVERY_OPTION, ids=str)
def test_options_of_search_have_no_say_below_and_above_the_limit(
    limit: int, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = members_of(([6, 7], [6, 8], [9], [7, 7, 7], [UNK, 6]))
    (plain,) = generate(
        MarkovSession(tables(1, 3)), [request(closed_set=closed)], n_best=5, beam=60
    )
    monkeypatch.setattr("ofacore.components.tokens.closed_set_choice.EXACT_LIMIT", limit)
    given = {"n_best": 5, "beam": 60, **options}
    (found,) = generate(MarkovSession(tables(1, 3)), [request(closed_set=closed)], **given)
    assert [(h.value.tolist(), h.score) for h in found] == [
        (h.value.tolist(), h.score) for h in plain
    ]


def test_a_large_set_keeps_its_likeliest_beginnings_and_true_probabilities(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ofacore.components.tokens.closed_set_choice.EXACT_LIMIT", 2)
    values = [list(value) for value in product(range(6, 10), repeat=3)]
    for seed in range(5):
        table = tables(1, seed)
        (found,) = generate(
            MarkovSession(table), [request(closed_set=members_of(values))], beam=2, n_best=3
        )
        assert len({tuple(h.value) for h in found}) == 3
        for hypothesis in found:
            expected = log_prob_among(hypothesis.value.tolist(), values, table[0])
            assert hypothesis.log_prob == pytest.approx(expected, abs=1e-4)


def test_rows_may_have_sets_of_their_own() -> None:
    deep = [[6], *([7, a, b] for a, b in product((6, 8), (7, 9)))]
    sets = [members_of(values) for values in ([[6, 7], [8]], [[9]], deep)]
    session = MarkovSession(tables(3, 4))
    together = generate(session, [request(closed_set=closed) for closed in sets], n_best=9)
    for row, closed in enumerate(sets):
        (alone,) = generate(
            MarkovSession(tables(3, 4)[row : row + 1]), [request(closed_set=closed)], n_best=9
        )
        assert [h.value.tolist() for h in alone] == [h.value.tolist() for h in together[row]]
        assert len(alone) == len(closed)


def test_an_empty_member_and_a_member_that_begins_another() -> None:
    closed = members_of(([], [6], [6, 7]))
    (found,) = generate(MarkovSession(tables(1, 2)), [request(closed_set=closed)], n_best=3)
    assert sorted(h.value.tolist() for h in found) == [[], [6], [6, 7]]
    assert sum(np.exp([h.log_prob for h in found])) == pytest.approx(1.0, abs=1e-4)


def test_fifty_thousand_members() -> None:
    values = [list(value) for value in product(range(6, 10), repeat=7)] + [
        [6] * n for n in range(8, 34_000, 1000)
    ]
    values += [[7] * 8 + list(value) for value in product(range(6, 10), repeat=7)]
    values += [[8] * 8 + list(value) for value in product(range(6, 10), repeat=7)]
    assert len(values) > 49_000
    (found,) = generate(
        MarkovSession(tables(1, 2)), [request(closed_set=members_of(values))], n_best=2
    )
    assert len(found) == 2 and found[0].log_prob >= found[1].log_prob
