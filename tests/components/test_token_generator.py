"""Search against enumeration of every sequence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofacore.components.tokens.token_generator import TokenGenerator
from ofacore.ground.errors import UserError
from ofacore.ground.vocabulary import EOS, SEP
from ofacore.protocols import Produced, RowRequest
from tests.components.markov import MarkovSession, enumerate_values, request, tables

SEEDS = st.integers(0, 10_000)


def generate(
    session: MarkovSession, requests: list[RowRequest], seed: int = 0, **options: object
) -> list[Produced]:
    given = {"max_length": 3, "length_penalty": 0.0, **options}
    asked = [seeded(request, seed, row) for row, request in enumerate(requests)]
    return TokenGenerator(given)(session, asked, torch.Generator())


def seeded(request: RowRequest, seed: int, row: int) -> RowRequest:
    rng = np.random.default_rng([seed, row])
    return replace(request, ctx=replace(request.ctx, rng=rng))


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


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_no_ngram_repeats(seed: int) -> None:
    for strategy in ("greedy", "beam", "sample"):
        found = generate(
            MarkovSession(tables(1, seed)),
            [request()],
            strategy=strategy,
            no_repeat_ngram=2,
            max_length=12,
        )
        grams = list(zip(found[0][0].value, found[0][0].value[1:], strict=False))
        assert len(grams) == len(set(grams))


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.sampled_from(["greedy", "beam", "sample", "diverse_beam", "diverse_siblings"]))
def test_length_limits_hold(seed: int, strategy: str) -> None:
    session = MarkovSession(tables(2, seed))
    found = generate(
        session,
        [request({"min_length": 2, "max_length": 4})] * 2,
        strategy=strategy,
        max_length=9,
        beam=4,
        groups=2,
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
        tuple(
            generate(MarkovSession(table), [request(open=False, length=1)], s, strategy="sample")[
                0
            ][0].value
        )
        for s in range(400)
    ]
    again = generate(MarkovSession(table), [request(open=False, length=1)], 7, strategy="sample")[
        0
    ][0].value
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


def test_what_is_drawn_for_a_row_depends_on_no_other_row() -> None:
    table = tables(1, 11).expand(4, -1, -1, -1)
    options = {"strategy": "sample", "n_best": 2, "max_length": 6}
    together = generate(MarkovSession(table), [request()] * 4, 3, **options)
    values = [[h.value.tolist() for h in row] for row in together]
    alone = [
        TokenGenerator({"length_penalty": 0.0, **options})(
            MarkovSession(table[:1]), [seeded(request(), 3, row)], torch.Generator()
        )
        for row in range(4)
    ]
    assert values == [[h.value.tolist() for h in row] for (row,) in alone]
    assert len({str(row) for row in values}) > 1


def test_rows_do_not_influence_each_other() -> None:
    together = generate(MarkovSession(tables(4, 11)), [request()] * 4, strategy="beam")
    for row in range(4):
        alone = generate(MarkovSession(tables(4, 11)[row : row + 1]), [request()], strategy="beam")
        assert [h.value.tolist() for h in alone[0]] == [h.value.tolist() for h in together[row]]


def test_groups_of_unequal_size_are_refused() -> None:
    with pytest.raises(ValueError, match="beam=5 cannot be cut into groups=2"):
        generate(
            MarkovSession(tables(1, 0)), [request()], strategy="diverse_beam", beam=5, groups=2
        )


@settings(max_examples=15, deadline=None)
@given(
    SEEDS,
    st.sampled_from(["greedy", "beam", "sample", "diverse_beam", "diverse_siblings"]),
    st.floats(-1, 2),
)
def test_the_log_probability_is_the_sum_and_the_score_is_divided(
    seed: int, strategy: str, penalty: float
) -> None:
    table = tables(1, seed)
    options = {"length_penalty": penalty, "temperature": 0.5, "beam": 4, "groups": 2, "n_best": 4}
    (found,) = generate(MarkovSession(table), [request()], strategy=strategy, **options)
    for hypothesis in found:
        logs, context = [], [0, 0]
        for token in [*hypothesis.value.tolist(), EOS][: hypothesis.tokens]:
            logs.append(float(torch.log_softmax(table[0, context[-2], context[-1]], -1)[token]))
            context.append(token)
        assert hypothesis.log_prob == pytest.approx(sum(logs), abs=1e-4)
        assert hypothesis.score == pytest.approx(sum(logs) / len(logs) ** penalty, abs=1e-4)
        assert hypothesis.log_probs.tolist() == pytest.approx(
            logs[: len(hypothesis.value)], abs=1e-4
        )
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_two_groups_do_not_return_the_same_value(seed: int) -> None:
    options = {"strategy": "diverse_beam", "beam": 6, "groups": 3, "diversity": 0.01, "n_best": 6}
    (found,) = generate(MarkovSession(tables(1, seed)), [request()], **options)
    values = [tuple(h.value) for h in found]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample", "diverse_beam"])
def test_more_tokens_than_there_are_without_a_repetition_are_refused(strategy: str) -> None:
    # four tokens of the block and `<unk>`
    options = {"strategy": strategy, "beam": 4, "groups": 2, "max_length": 40, "no_repeat_ngram": 1}
    with pytest.raises(
        UserError, match="slot 'x': no_repeat_ngram=1 leaves room for 5 tokens.*needs at least 6"
    ):
        generate(MarkovSession(tables(1, 0)), [request()], min_length=6, **options)
    with pytest.raises(UserError, match="needs at least 9"):
        generate(MarkovSession(tables(1, 0)), [request(open=False, length=9)], **options)
    (found,) = generate(MarkovSession(tables(1, 0)), [request()], min_length=5, **options)
    assert sorted(found[0].value.tolist()) == [3, 6, 7, 8, 9] and np.isfinite(found[0].score)


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.sampled_from(["greedy", "beam", "sample"]))
def test_a_search_that_is_stuck_ends_the_value_and_stays_finite(seed: int, strategy: str) -> None:
    # of 26 tokens that two-grams leave room for, chance soon runs into a corner
    options = {"strategy": strategy, "max_length": 26, "no_repeat_ngram": 2, "beam": 2}
    (found,) = generate(MarkovSession(tables(1, seed)), [request()], min_length=26, **options)
    assert found and all(np.isfinite(h.score) and np.isfinite(h.log_probs).all() for h in found)
    assert not {0, 1, 4, 5} & set(found[0].value.tolist())


@pytest.mark.parametrize("strategy", ["greedy", "sample"])
@pytest.mark.parametrize("penalty", [0.2, 3.0])
def test_a_penalty_on_repetitions_changes_no_log_probability(strategy: str, penalty: float) -> None:
    session = MarkovSession(tables(1, 4))
    options = {"strategy": strategy, "min_length": 4, "max_length": 4}
    ((best,),) = generate(session, [request()], repetition_penalty=penalty, **options)
    own = enumerate_values(tables(1, 4)[0], 4, None)
    assert best.log_prob == pytest.approx(own[tuple(best.value.tolist())], abs=1e-4)
