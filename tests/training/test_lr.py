"""Learning-rate curves."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofacore.config.train_section import LrConfig
from ofacore.training.optim.lr import lr_factor, warmup_steps

NAMES = ("cosine", "polynomial", "wsd", "constant")


@given(
    st.sampled_from(NAMES),
    st.integers(1, 300),
    st.floats(0, 0.9) | st.integers(1, 50),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_rises_then_never_rises_again_and_stays_within_bounds(name, steps, warmup, decay, end):
    config = LrConfig(name=name, warmup=warmup, decay=decay, end=end)
    curve = [lr_factor(config, step, steps) for step in range(steps + 5)]
    rise = warmup_steps(config, steps)
    assert all(0 <= value <= 1 for value in curve)
    assert all(a < b for a, b in zip(curve[:rise], curve[1:rise], strict=False))
    assert all(a >= b - 1e-12 for a, b in zip(curve[rise:], curve[rise + 1 :], strict=False))
    if name != "constant" and steps > rise and (name != "wsd" or round(decay * steps) > 0):
        assert curve[-1] == pytest.approx(end)


def test_known_points():
    def at(step, **options):
        return lr_factor(LrConfig(**{"warmup": 10, **options}), step, 110)

    assert at(0, name="wsd") == pytest.approx(0.1)
    assert at(60, name="cosine") == pytest.approx(0.5)
    assert at(35, name="cosine") == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert at(60, name="polynomial", power=2) == pytest.approx(0.25)
    assert at(60, name="polynomial", end=0.2) == pytest.approx(0.6)
    assert at(81, name="wsd", decay=0.25) == 1.0
    assert at(96, name="wsd", decay=0.25) == pytest.approx(0.5, abs=0.01)
    assert at(109, name="constant") == 1.0


def test_warmup_as_share_or_steps():
    assert warmup_steps(LrConfig(warmup=0.05), 1000) == 50
    assert warmup_steps(LrConfig(warmup=7), 1000) == 7
