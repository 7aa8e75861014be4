"""What the import of a component changes for everybody is put back, and its plugin is named."""

from __future__ import annotations

CHANGES = """
import os, random, signal, warnings
import numpy, torch
os.chdir("/")
random.seed(0)
numpy.random.seed(0)
torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
torch.use_deterministic_algorithms(True)
torch.set_grad_enabled(False)
torch.set_num_threads(torch.get_num_threads() + 1)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message="of one library")
class Thing: pass
"""

READ = """
import logging, os, random, signal, warnings
import numpy, torch
from ofacore.plugin import Registry
logging.basicConfig()
def state():
    return [os.getcwd(), random.getstate(), repr(numpy.random.get_state()), torch.get_rng_state().tolist(),
            torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(),
            torch.get_default_device(), torch.are_deterministic_algorithms_enabled(),
            signal.getsignal(signal.SIGTERM), ("error", None, Warning, None, 0) in warnings.filters]
registry = Registry.discover()
before = state()
registry.load("preprocessor", "rude")
assert state() == before
assert any(found[1] is not None and found[1].pattern == "of one library" for found in warnings.filters)
"""


def test_an_import_leaves_the_process_as_it_was_and_its_plugin_is_named(site):
    site.install_modality("rude", "RUDE")
    site.write("rude_code", CHANGES)
    told = site.run(READ).stderr
    assert "importing 'rude_code:Thing' of plugin 'rude' (dist-rude) changed" in told
    put_back = (
        "dtype",
        "working directory",
        "seed of numpy",
        "SIGTERM",
        "filters",
        "threads",
        "gradients",
        "device",
    )
    for state in (*put_back, "deterministic"):
        assert state in told


def test_a_dtype_that_is_changed_by_the_first_import_of_torch_is_put_back(site):
    site.install_modality("rude", "RUDE")
    site.write(
        "rude_code", "import torch\ntorch.set_default_dtype(torch.float64)\nclass Thing: pass\n"
    )
    code = "from ofacore.plugin import Registry\nRegistry.discover().load('preprocessor', 'rude')\nimport torch\n"
    site.run(code + "assert torch.get_default_dtype() == torch.float32")
