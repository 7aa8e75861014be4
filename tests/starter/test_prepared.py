"""Prepared splits come back as they were stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ofa_starter import PackageSource, load_splits, prepared, save_splits

PLAIN = st.one_of(
    st.text(),
    st.integers(-(2**53), 2**53),
    st.lists(st.floats(allow_nan=False, allow_infinity=False)),
)
ARRAY = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=4))
ROWS = st.lists(st.fixed_dictionaries({"value": PLAIN, "motion": ARRAY}), max_size=5)


@given(rows=ROWS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_of_any_shape_survive(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("splits")
    save_splits(folder, {"train": rows, "valid": [], "test": rows[:1]})
    found = load_splits(folder)
    assert list(found) == ["train", "valid", "test"] and found["valid"] == []
    for old, new in zip(rows, found["train"], strict=True):
        assert new["value"] == old["value"] and list(new) == list(old)
        assert new["motion"].dtype == np.float32
        np.testing.assert_array_equal(new["motion"], old["motion"])


def test_a_changed_row_does_not_reach_the_file(tmp_path):
    save_splits(tmp_path, {"train": [{"img": np.zeros((2, 2, 3), np.uint8)}]})
    load_splits(tmp_path)["train"][0]["img"][:] = 7
    assert load_splits(tmp_path)["train"][0]["img"].max() == 0


def test_a_column_of_two_array_types_is_refused(tmp_path):
    rows = [{"x": np.zeros(2, np.float32)}, {"x": np.zeros(2, np.uint8)}]
    with pytest.raises(TypeError, match="x"):
        save_splits(tmp_path, {"train": rows})


def test_data_are_built_once_for_each_version_seed_and_source(tmp_path):
    calls = []

    def build():
        calls.append(1)
        return {"train": [{"n": len(calls)}], "valid": [], "test": []}

    source = PackageSource("some", "1.0", "0" * 64, ("*",))
    assert prepared("x", build, cache=tmp_path) == prepared("x", build, cache=tmp_path)
    assert len(calls) == 1
    prepared("x", build, cache=tmp_path, version=2)
    prepared("x", build, cache=tmp_path, seed=1)
    prepared("x", build, cache=tmp_path, sources=[source])
    assert len(calls) == 4


LOST = [("train.jsonl", None), ("valid.jsonl", None), ("train.jsonl", b"")]
BROKEN = [
    ("train.jsonl", b'{"n": 1, "x": {"sha'),
    ("train.x.npy", b""),
    ("train.x.npy", b"\x93NUMPY"),
    ("train.x.npy", 140),
]


@pytest.mark.parametrize(
    ("name", "content", "earlier"),
    [(*case, False) for case in LOST + BROKEN] + [(*case, True) for case in BROKEN],
)
def test_damaged_data_are_made_anew(tmp_path, name, content, earlier):
    calls = []

    def build():
        calls.append(1)
        rows = [{"n": n, "x": np.arange(5) + n} for n in range(3)]
        return {"train": rows, "valid": rows[:1], "test": []}

    prepared("x", build, cache=tmp_path)
    (file,) = tmp_path.rglob(name)
    if earlier:  # an earlier version did not note sizes
        (file.parent / ".complete").write_text("")
    if content is None:
        file.unlink()
    else:
        whole = file.read_bytes()
        file.write_bytes(whole[:content] if isinstance(content, int) else content)
    found = prepared("x", build, cache=tmp_path)
    assert len(calls) == 2 and prepared("x", build, cache=tmp_path).keys() == found.keys()
    assert [row["x"].tolist() for row in found["train"]] == [
        [n, n + 1, n + 2, n + 3, n + 4] for n in range(3)
    ]
    assert len(found["valid"]) == 1 and len(calls) == 2


def test_a_failed_build_leaves_nothing_behind(tmp_path):
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        prepared("x", fail, cache=tmp_path)
    assert (
        prepared("x", lambda: {"train": [], "valid": [], "test": []}, cache=tmp_path)["train"] == []
    )
