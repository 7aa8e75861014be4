"""Search against enumeration of every sequence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofacore.parts.token_generator import TokenGenerator
from ofacore.protocols import GenerationOptions, Produced, RowRequest
from ofacore.vocabulary import EOS, SEP
from tests.parts.markov import MarkovSession, enumerate_values, request, tables

SEEDS = st.integers(0, 10_000)


def generate(session: MarkovSession, requests: list[RowRequest], seed: int = 0, **options: object) -> list[Produced]:
    settings_ = GenerationOptions(**{"max_length": 3, "length_penalty": 0.0, **options})  # type: ignore[arg-type]
    return TokenGenerator()(session, requests, settings_, torch.Generator().manual_seed(seed))


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_a_wide_beam_finds_the_best_of_all_sequences(seed: int) -> None:
    session = MarkovSession(tables(2, seed))
    every = [enumerate_values(table, 2, EOS) for table in session.tables]
    found = generate(session, [request(), request()], strategy="beam", beam=60, max_length=2)
    for row, values in zip(found, every, strict=True):
        best = max(values, key=lambda v: values[v])
        assert tuple(row[0].value) == best
        assert row[0].score == pytest.approx(values[best], abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_fixed_length_values_need_no_end(seed: int) -> None:
    session = MarkovSession(tables(1, seed))
    values = enumerate_values(session.tables[0], 2, None)
    found = generate(session, [request(open=False, length=2)], strategy="beam", beam=40, n_best=3)
    best = sorted(values, key=lambda v: -values[v])[:3]
    assert [tuple(h.value) for h in found[0]] == best


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_greedy_takes_the_likeliest_token_each_time(seed: int) -> None:
    table = tables(1, seed)
    value = generate(MarkovSession(table), [request()], max_length=5)[0][0]
    context, expected = [0, 0], []
    while len(expected) < 5:
        logits = table[0, context[-2], context[-1]].clone()
        logits[[0, 1, SEP, 5]] = -1e9
        token = int(logits.argmax())
        if token == EOS:
            break
        expected.append(token)
        context.append(token)
    assert value.value.tolist() == expected


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.lists(st.lists(st.integers(6, 9), max_size=3), min_size=1, max_size=8, unique_by=tuple))
def test_closed_sets_are_scored_exactly(seed: int, values: list[list[int]]) -> None:
    session = MarkovSession(tables(2, seed))
    closed = tuple(np.array(v, np.int64) for v in values)
    found = generate(session, [request(closed_set=closed), request(closed_set=closed)], n_best=len(values))
    for row, table in zip(found, tables(2, seed), strict=True):
        scores = {tuple(h.value): h.score for h in row}
        assert len(scores) == len(values)
        assert sum(np.exp(list(scores.values()))) == pytest.approx(1.0, abs=1e-4)
        for value in values:
            assert scores[tuple(value)] == pytest.approx(_among(value, values, table), abs=1e-4)


def _among(value: list[int], values: list[list[int]], table: torch.Tensor) -> float:
    """Product of each token's probability among the tokens that may stand there."""
    total, context = 0.0, [0, 0]
    for place, token in enumerate([*value, EOS]):
        allowed = sorted({([*v, EOS])[place] for v in values if v[:place] == value[:place]})
        logs = torch.log_softmax(table[context[-2], context[-1]][allowed], -1)
        total += float(logs[allowed.index(token)])
        context.append(token)
    return total


def test_a_large_closed_set_is_searched_within_its_trie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ofacore.parts.token_generator.EXACT_LIMIT", 2)
    closed = tuple(np.array(v, np.int64) for v in ([6, 7], [6, 8], [9], [7, 7, 7]))
    for strategy in ("greedy", "beam"):
        found = generate(MarkovSession(tables(3, 1)), [request(closed_set=closed)] * 3, strategy=strategy, max_length=5)
        assert all(row[0].value.tolist() in [c.tolist() for c in closed] for row in found)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_no_ngram_repeats(seed: int) -> None:
    for strategy in ("greedy", "beam", "sample"):
        found = generate(
            MarkovSession(tables(1, seed)), [request()], strategy=strategy, no_repeat_ngram=2, max_length=12
        )
        grams = list(zip(found[0][0].value, found[0][0].value[1:], strict=False))
        assert len(grams) == len(set(grams))


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.sampled_from(["greedy", "beam", "sample", "diverse_beam", "diverse_siblings"]))
def test_length_limits_hold(seed: int, strategy: str) -> None:
    session = MarkovSession(tables(2, seed))
    found = generate(
        session, [request({"min_length": 2, "max_length": 4})] * 2, strategy=strategy, max_length=9, beam=4, groups=2
    )
    assert all(2 <= len(h.value) <= 4 for row in found for h in row)


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.sampled_from(["greedy", "beam"]))
def test_required_phrases_occur(seed: int, strategy: str) -> None:
    wanted = replace(request(), required=(np.array([6, 6]), np.array([8])))
    found = generate(MarkovSession(tables(1, seed)), [wanted], strategy=strategy, max_length=6)
    value = found[0][0].value.tolist()
    assert 8 in value and any(value[i : i + 2] == [6, 6] for i in range(len(value)))


def test_sampling_follows_the_distribution_and_the_seed() -> None:
    table = tables(1, 3)
    draws = [
        tuple(generate(MarkovSession(table), [request(open=False, length=1)], s, strategy="sample")[0][0].value)
        for s in range(400)
    ]
    again = generate(MarkovSession(table), [request(open=False, length=1)], 7, strategy="sample")[0][0].value
    assert tuple(again) == draws[7]
    logits = table[0, 0, 0].clone()
    logits[[0, 1, 2, 4, 5]] = -1e9
    for token, share in enumerate(torch.softmax(logits, -1).tolist()):
        assert draws.count((token,)) / 400 == pytest.approx(share, abs=0.09)


def test_top_k_of_one_is_greedy() -> None:
    greedy = generate(MarkovSession(tables(2, 5)), [request()] * 2)
    drawn = generate(MarkovSession(tables(2, 5)), [request()] * 2, strategy="sample", top_k=1)
    assert [r[0].value.tolist() for r in greedy] == [r[0].value.tolist() for r in drawn]


@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample"])
def test_what_follows_sees_the_best_candidate(strategy: str) -> None:
    session = MarkovSession(tables(2, 9))
    found = generate(session, [request(last=False, final=False)] * 2, strategy=strategy)
    assert session.pending is not None and session.pending.tolist() == [SEP, SEP]
    fed = [([0, 0, 0, *row[0].value.tolist()])[-2:] for row in found]
    assert session.history == fed
    assert session.rows == 2


def test_rows_do_not_influence_each_other() -> None:
    together = generate(MarkovSession(tables(4, 11)), [request()] * 4, strategy="beam")
    for row in range(4):
        alone = generate(MarkovSession(tables(4, 11)[row : row + 1]), [request()], strategy="beam")
        assert [h.value.tolist() for h in alone[0]] == [h.value.tolist() for h in together[row]]


def test_groups_of_unequal_size_are_refused() -> None:
    with pytest.raises(ValueError, match="beam=5 cannot be cut into groups=2"):
        generate(MarkovSession(tables(1, 0)), [request()], strategy="diverse_beam", beam=5, groups=2)
