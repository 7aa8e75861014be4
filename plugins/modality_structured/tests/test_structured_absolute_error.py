"""The metric of numbers, against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error

from ofacore.plugin import Registry


def test_it_is_the_mean_absolute_error_and_what_is_no_number_counts_as_zero():
    rng = np.random.default_rng(0)
    given, right = rng.normal(size=50), rng.normal(size=50)
    metric = Registry.discover().make("metric", "absolute_error")
    metric.update([str(number) for number in given], list(right), [{}] * 50)
    assert metric.compute()["absolute_error"] == pytest.approx(mean_absolute_error(right, given))
    again = Registry.discover().make("metric", "absolute_error")
    again.update(["none", "inf", True, "12"], [3, [4, 1], -2, [10, "13"]], [{}] * 4)
    assert again.items() == [3.0, 1.0, 2.0, 1.0]


def test_a_reference_that_is_no_number_is_refused():
    metric = Registry.discover().make("metric", "absolute_error")
    with pytest.raises(
        ValueError, match="the reference .'much'. is no finite number; write 1234.5"
    ):
        metric.update(["1"], ["much"], [{}])
