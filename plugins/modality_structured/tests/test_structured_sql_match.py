"""SQL by its clauses."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ofa_modality_structured.metrics.sql_match import SqlMatch
from ofa_modality_structured.metrics.sql_words import SqlError, clauses


def score(prediction, reference):
    metric = SqlMatch({})
    metric.update([prediction], [reference], [{}])
    return metric.compute()["sql_match"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select a , b from t", "SELECT B,\n a FROM T;"),
        ("SELECT a FROM t WHERE a = 1 AND b = 'X y'", "SELECT a FROM t WHERE b='X y' AND a=1"),
        ("SELECT a FROM t WHERE a=1 OR b=2 AND c=3", "SELECT a FROM t WHERE c=3 AND b=2 OR a=1"),
        (
            "SELECT a FROM t WHERE a BETWEEN 1 AND 2 AND b=1",
            "SELECT a FROM t WHERE b=1 AND a BETWEEN 1 AND 2",
        ),
        ("SELECT a FROM t WHERE a <> 1", 'SELECT "a" FROM `t` WHERE [a] != 1'),
        (
            "SELECT T1.a FROM t AS T1 JOIN u AS T2 ON T1.i = T2.i",
            "SELECT t.a FROM u JOIN t ON u.i = t.i",
        ),
        ("SELECT a FROM t LEFT OUTER JOIN u ON a = b", "SELECT a FROM t LEFT JOIN u ON b = a"),
        ("SELECT a FROM t WHERE b='x and y' AND c=1", "SELECT a FROM t WHERE c=1 AND b='x and y'"),
        ("SELECT a FROM t CROSS JOIN u", "SELECT a FROM u, t"),
        ("SELECT x.a FROM t x, u", "SELECT t.a FROM u, t"),
        ("SELECT a FROM t ORDER BY a ASC LIMIT 3", "select a from t order by a limit 3"),
        (
            "SELECT count(*), a FROM t GROUP BY b, a HAVING count(*) > 1",
            "SELECT a, COUNT(*) FROM t GROUP BY a, b HAVING COUNT(*) > 1",
        ),
        ("SELECT a FROM t UNION SELECT b FROM u", "select a from t union select b from u"),
        ("SELECT a -- the letter\n FROM t /* of\nall */", "SELECT a FROM t"),
    ],
)
def test_what_says_the_same_matches(one, other):
    assert score(one, other) == score(other, one) == 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT a FROM t", "SELECT b FROM t"),
        ("SELECT a FROM t", "SELECT DISTINCT a FROM t"),
        ("SELECT a FROM t", "SELECT a FROM u"),
        ("SELECT a FROM t WHERE b = 'X'", "SELECT a FROM t WHERE b = 'x'"),
        ("SELECT a FROM t WHERE a=1 AND b=2", "SELECT a FROM t WHERE a=1 OR b=2"),
        ("SELECT a FROM t ORDER BY a, b", "SELECT a FROM t ORDER BY b, a"),
        ("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a DESC"),
        ("SELECT a FROM t LIMIT 1", "SELECT a FROM t LIMIT 2"),
        ("SELECT a FROM t GROUP BY a", "SELECT a FROM t"),
        ("SELECT a FROM t UNION SELECT b FROM u", "SELECT a FROM t EXCEPT SELECT b FROM u"),
        ("SELECT a FROM t UNION SELECT b FROM u", "SELECT a FROM t UNION ALL SELECT b FROM u"),
        ("SELECT a FROM t WHERE b = '-- x'", "SELECT a FROM t WHERE b = '-- y'"),
        (
            "SELECT a FROM t WHERE a IN (SELECT b FROM u)",
            "SELECT a FROM t WHERE a IN (SELECT c FROM u)",
        ),
        ("SELECT a FROM t WHERE b='x and y'", "SELECT a FROM t WHERE b='y and x'"),
        ("SELECT a FROM t JOIN u ON t.i = u.i", "SELECT a FROM t JOIN u ON t.i = u.j"),
        ("SELECT a FROM t LEFT JOIN u ON t.i = u.i", "SELECT a FROM t JOIN u ON t.i = u.i"),
    ],
)
def test_what_says_something_else_does_not(one, other):
    assert score(one, other) == score(other, one) == 0.0


@pytest.mark.parametrize(
    "prediction", ["", "no query", "SELECT (a FROM t", "SELECT a) FROM t", None, 5]
)
def test_a_prediction_that_is_no_query_is_wrong(prediction):
    assert score(prediction, "SELECT a FROM t") == 0.0


def test_any_of_several_references_will_do():
    assert score("SELECT b FROM t", ["SELECT a FROM t", "select B from T"]) == 1.0


@pytest.mark.parametrize("reference", ["DELETE FROM t", "SELECT (a", 5, None, []])
def test_a_reference_that_is_no_query_is_told(reference):
    with pytest.raises(ValueError, match="sql_match: (the reference .*|there is no reference)"):
        score("SELECT a FROM t", reference)


SENTENCE = (
    "select from where group order by limit and or between on left join union all as t u a "
    ", ( ) . = 'x' \" ;"
)
WORDS = st.sampled_from(SENTENCE.split())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(words=st.lists(WORDS, max_size=14))
def test_any_text_is_read_or_refused(words):
    try:
        found = clauses(" ".join(["select", *words]))
    except SqlError:
        return
    assert found
