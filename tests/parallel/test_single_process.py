"""One process needs nothing from outside; megatron's layers and ours compute the same."""

import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from ofacore.ground.errors import UserError
from ofacore.parallel import cpu
from ofacore.parallel import process_groups as groups
from ofacore.parallel.megatron import MEGATRON_VERSION, MegatronVersionError, megatron
from ofacore.parallel.norms import SplitNorm
from ofacore.parallel.process import bf16_units, described_bf16, fast_bf16, tune_process
from ofacore.parallel.split_layers import ColumnLinear, RowLinear

START = """
import os, sys
for name in list(os.environ):
    if name.startswith(("MASTER", "RANK", "WORLD", "LOCAL", "GLOO")): del os.environ[name]
from ofacore.parallel import process_groups as groups
assert "megatron.core" not in sys.modules
groups.start(); groups.start()
from ofacore.parallel.split_layers import RowLinear
assert groups.tensor_size() == 1 and groups.tensor_rank() == 0
threads = "/proc/self/task"  # of Linux
assert not os.path.isdir(threads) or len(os.listdir(threads)) < 12, "groups have threads of their own"
groups.stop(); groups.stop()
"""


@pytest.mark.slow
def test_start_is_quiet_and_needs_no_launcher() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", START], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_starting_imports_no_compiler() -> None:
    """Where there is no CUDA device; it costs over a second."""
    code = "import sys, ofacore.runs.train_run; print('torch._inductor.compile_fx' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == f"{torch.cuda.is_available()}\n"


def test_the_stand_in_finds_every_name_it_replaces() -> None:
    assert cpu.install() != torch.cuda.is_available()
    for name in cpu.MODULES:
        assert hasattr(megatron(name), "torch"), name
    random = megatron("tensor_parallel.random")
    assert all(hasattr(random, name) for name in cpu.RANDOM_NAMES)
    assert issubclass(type(random._CUDA_RNG_STATE_TRACKER), random.CudaRNGStatesTracker)
    from importlib.metadata import version

    assert version("megatron-core") == MEGATRON_VERSION


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ofacore.parallel.megatron.version", lambda _: "0.99.0")
    with pytest.raises(MegatronVersionError, match="pip install megatron-core=="):
        megatron.__wrapped__("utils")


@pytest.mark.parametrize("kind", [ColumnLinear, RowLinear])
def test_the_fast_way_equals_megatron(kind: type) -> None:
    layer = kind(8, 12)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(5, 8)
    fast = layer(x)
    layer.single = False
    torch.testing.assert_close(fast, layer(x))
    torch.testing.assert_close(fast, functional.linear(x, layer.weight, layer.bias))


def test_split_norm_over_processes_equals_layer_norm() -> None:
    groups.start()
    layer, x = SplitNorm(16), torch.randn(3, 16)
    expected = functional.layer_norm(x, (16,))
    torch.testing.assert_close(layer(x), expected)
    wide, centred = x, x - x.mean(-1, keepdim=True)
    torch.testing.assert_close(
        centred * torch.rsqrt((centred**2).mean(-1, keepdim=True) + layer.eps), layer(wide)
    )


def test_random_states_fork_and_come_back() -> None:
    cpu.install()
    tracker = megatron("tensor_parallel.random")._CUDA_RNG_STATE_TRACKER
    if torch.cuda.is_available():
        pytest.skip("the stand-in is not used where CUDA is")
    tracker.reset()
    tracker.add("test", 7)
    torch.manual_seed(1)
    outside = torch.rand(2)
    torch.manual_seed(1)
    with tracker.fork("test"):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), outside) and not torch.equal(inside, outside)


def test_tuning_sets_threads_and_flushes_denormals() -> None:
    before = torch.get_num_threads()
    try:
        tune_process(before)
        tiny = torch.tensor([1e-40])
        assert float((tiny * 0.5).item()) == 0.0 and torch.get_num_threads() == before
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("features", "units"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, ("amx_bf16", "avx512_bf16")),
        ({"amx_bf16": False, "avx2": True}, ()),
    ],
)
def test_a_processor_is_fast_in_bf16_by_its_units_unless_the_environment_says_otherwise(
    features: dict[str, bool], units: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    device = torch.device("cpu")
    assert bf16_units(device) == units
    monkeypatch.delenv("OFA_BF16", raising=False)
    assert fast_bf16(device) == bool(units)
    assert described_bf16(device) == f"units: {', '.join(units) or 'none'}"
    for setting in ("on", "off"):
        monkeypatch.setenv("OFA_BF16", setting)
        assert fast_bf16(device) == (setting == "on")
        assert described_bf16(device) == f"OFA_BF16={setting}; units: {', '.join(units) or 'none'}"
    monkeypatch.setenv("OFA_BF16", "sometimes")
    with pytest.raises(
        UserError, match="environment variable OFA_BF16='sometimes': expected on or off"
    ):
        fast_bf16(device)
    assert bf16_units(torch.device("meta")) == ()
