"""What sizes a layout may have, and what it derives from them."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofacore.parallel import process_groups as groups
from ofacore.parallel.process_grid import LayoutError, ProcessGrid
from ofacore.parallel.sharding import part_of

SIZES = st.integers(1, 4)


@given(SIZES, SIZES, SIZES, SIZES)
def test_the_world_is_the_product_of_its_groups(tensor, pipeline, expert, copies):
    layout = ProcessGrid(tensor * pipeline * expert * copies, tensor, pipeline, expert)
    assert layout.data == expert * copies
    assert layout.expert_data == copies
    assert layout.single == (layout.world == 1)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (
            {"world": 6, "tensor": 4},
            "6 processes cannot be divided into .* --tp 4 x --pp 1; start --nproc 4 or 8",
        ),
        (
            {"world": 8, "tensor": 2, "expert": 3},
            "--ep 3 does not divide the 4 data ranks .* that does: --ep 2",
        ),
        ({"world": 2, "tensor": 0}, "--tp 0: at least 1"),
        ({"world": 2, "pipeline": 2, "fsdp": True}, "--fsdp works with --pp 1 only, not --pp 2"),
        ({"world": 2, "zero": True, "fsdp": True}, "leave --zero 1 out"),
        ({"world": 2, "expert": 2, "fsdp": True}, "set --ep 1 instead"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_a_way_out(sizes, said):
    with pytest.raises(LayoutError, match=said):
        ProcessGrid(**sizes)


def test_a_layout_needs_no_torch():
    code = "import sys, ofacore.parallel.process_grid; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_several_processes_need_a_launcher(monkeypatch):
    groups.stop()
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(LayoutError, match="torchrun"):
        groups.start(ProcessGrid(2))
    assert groups.layout() == ProcessGrid()


def test_a_running_layout_is_not_changed():
    groups.start()
    with pytest.raises(LayoutError, match="without `stop`"):
        groups.start(ProcessGrid(2, tensor=2))


@given(st.integers(0, 40), st.integers(1, 7))
def test_shares_cover_everything_once(size, ranks):
    parts = [range(size)[part_of(size, ranks, rank)] for rank in range(ranks)]
    assert [row for part in parts for row in part] == list(range(size))
    assert max(map(len, parts)) == -(-size // ranks)
