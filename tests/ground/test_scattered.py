"""Numbers that are looked at in place of many."""

from hypothesis import given
from hypothesis import strategies as st

from ofacore.ground.scattered import scattered


@given(st.integers(0, 3000), st.integers(1, 400))
def test_numbers_are_evenly_spread(size, most):
    found = list(scattered(size, most))
    assert len(found) == min(size, most) and found == sorted(set(found))
    assert all(0 <= number < size for number in found)
    assert found == list(scattered(size, most))
    if size > most:
        stretch = size / most
        assert all(abs(n - (k + 0.5) * stretch) <= stretch + 1 for k, n in enumerate(found))


def test_what_takes_turns_is_met_alike():
    for kinds in (2, 3, 10):
        met = [sum(n % kinds == k for n in scattered(100_000, 1000)) for k in range(kinds)]
        assert min(met) > 0.6 * max(met)
