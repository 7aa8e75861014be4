"""The fixtures: what they give, and that they leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

import ofa_kit
from ofa_kit import ClosedRegistry, ModalityConformance, RankError
from ofacore.ground.errors import UserError
from ofacore.plugin import PluginError, Registry, UnknownNameError
from tests.kit.faulty.touch import MANIFEST

SOURCE = """
    from ofacore.plugin import CONTRACT, Component, ModalityManifest, SlotType
    def is_taste(value):
        return isinstance(value, str)
    MANIFEST = ModalityManifest(
        "taste", CONTRACT, (SlotType("TASTE", "doc", "taste", "texts", is_taste),),
        (Component("preprocessor", "taste", "tmp_taste.code:Thing"),),
    )
"""
CODE = "class Thing:\n    sweet = True\n"


PATH = os.pathsep.join(filter(None, sys.path))


def rank_and_sum(number):
    import torch
    from torch import distributed

    total = torch.tensor([number + distributed.get_rank()])
    distributed.all_reduce(total)
    return distributed.get_rank(), int(total)


def tensor_size():
    from ofacore.parallel import process_groups as groups

    groups.start()
    return groups.tensor_size(), groups.tensor_rank()


def process_number():
    return os.getpid()


def fails_on_one(rank):
    from torch import distributed

    if distributed.get_rank() == rank:
        raise KeyError("lost key")


def leaves_one_waiting():
    from torch import distributed

    if distributed.get_rank() == 0:
        time.sleep(60)


def test_the_registry_holds_what_was_registered(registry):
    assert registry.names("slot") == ()
    assert registry.register(MANIFEST) is registry
    assert registry.names("slot") == ("TOUCH",) and "cross_entropy" in registry.names("criterion")
    assert registry.register(MANIFEST).names("slot") == ("TOUCH",)


def test_discovery_is_refused_while_the_registry_is_in_use(registry):
    for kind in (Registry, ClosedRegistry):
        with pytest.raises(PluginError, match="registry.register"):
            kind.discover()


def test_discovery_works_again_afterwards():
    assert Registry.discover().names("criterion")


def test_an_unknown_plugin_is_named(registry):
    with pytest.raises(UnknownNameError, match=r"unknown plugin 'txt'.*pip install -e"):
        registry.register("txt")


def test_a_written_plugin_can_be_registered_and_loaded(registry, tmp_plugin):
    written = tmp_plugin("tmp_taste", manifest=SOURCE, code=CODE)
    assert written.target == "tmp_taste.manifest:MANIFEST" and written.manifest.name == "taste"
    assert registry.register(written.target).load("preprocessor", "taste").sweet


def test_a_written_plugin_is_gone_afterwards():
    assert not [name for name in sys.modules if name.startswith("tmp_taste")]
    with pytest.raises(ImportError):
        __import__("tmp_taste")


def test_a_fake_distribution_is_discovered(fake_distribution, tmp_plugin):
    tmp_plugin("tmp_taste", manifest=SOURCE, code=CODE)
    points = {"ofa.modality": {"taste": "tmp_taste.manifest:MANIFEST"}}
    folder = fake_distribution("ofa-taste", points, version="2.5", requires=["numpy>=2"])
    row = next(row for row in Registry.discover().rows if row.name == "taste")
    assert (row.status, row.distribution, row.version, row.slots) == (
        "ok",
        "ofa-taste",
        "2.5",
        ("TASTE",),
    )
    assert "Requires-Dist: numpy>=2" in (folder / "METADATA").read_text()


def test_a_fake_distribution_is_gone_afterwards():
    assert "taste" not in {row.name for row in Registry.discover().rows}


def test_the_entry_point_check_passes_for_an_installed_plugin(fake_distribution, tmp_plugin):
    written = tmp_plugin("tmp_taste", manifest=SOURCE, code=CODE)
    suite = type("Taste", (ModalityConformance,), {"plugin": written.target})()
    fake_distribution("ofa-taste", {"ofa.modality": {"taste": written.target}})
    suite.test_found_through_its_entry_point()
    suite.test_manifest_is_light()


def test_an_entry_point_in_the_wrong_group_is_found(fake_distribution, tmp_plugin):
    written = tmp_plugin("tmp_taste", manifest=SOURCE, code=CODE)
    suite = type("Taste", (ModalityConformance,), {"plugin": written.target})()
    fake_distribution("ofa-taste", {"ofa.task": {"taste": written.target}})
    with pytest.raises(
        AssertionError, match=r"group ofa.task.*announce it in the group ofa.modality"
    ):
        suite.test_found_through_its_entry_point()


def test_an_older_or_newer_contract_is_found(fake_distribution, tmp_plugin):
    written = tmp_plugin(
        "tmp_taste", manifest=SOURCE.replace("CONTRACT, (", "(9, 0), ("), code=CODE
    )
    suite = type("Taste", (ModalityConformance,), {"plugin": written.target})()
    fake_distribution("ofa-taste", {"ofa.modality": {"taste": written.target}})
    with pytest.raises(AssertionError, match="written for contract 9.0"):
        suite.test_found_through_its_entry_point()


def test_a_heavy_manifest_is_found(tmp_plugin):
    written = tmp_plugin("tmp_taste", manifest="    import numpy" + SOURCE, code=CODE)
    suite = type("Taste", (ModalityConformance,), {"plugin": written.target})()
    with pytest.raises(
        AssertionError, match="imports numpy: name implementations as 'module:Object'"
    ):
        suite.test_manifest_is_light()


def test_a_missing_setting_is_named():
    with pytest.raises(
        pytest.fail.Exception, match="set plugin = 'your_package.manifest:MANIFEST'"
    ):
        ModalityConformance().manifest()
    suite = type("Taste", (ModalityConformance,), {"plugin": MANIFEST, "slot": "TOCH"})()
    with pytest.raises(pytest.fail.Exception, match="set slot = one of TOUCH"):
        suite.slot_type()


@pytest.mark.dist
def test_ranks_form_a_group_and_stay(run_distributed):
    assert run_distributed(rank_and_sum, 2, 5) == [(0, 11), (1, 11)]
    first = run_distributed(process_number)
    assert first == run_distributed(process_number) and len(set(first)) == 2
    assert run_distributed(tensor_size, tensor=2) == [(2, 0), (2, 1)]
    assert run_distributed(tensor_size) == [(1, 0), (1, 0)]


@pytest.mark.dist
def test_an_error_names_its_rank_and_keeps_the_pool(run_distributed):
    before = run_distributed(process_number)
    with pytest.raises(
        RankError, match=r"(?s)rank 1: KeyError: 'lost key'.*Traceback.*fails_on_one"
    ) as caught:
        run_distributed(fails_on_one, 2, 1)
    assert caught.value.rank == 1 and run_distributed(process_number) == before


def test_what_cannot_be_sent_is_refused_by_name(run_distributed):
    with pytest.raises(UserError, match="top level of a module, not inside a test"):
        run_distributed(lambda: 1)
    with pytest.raises(UserError, match=r"'fails_on_one' cannot be sent .*plain data"):
        run_distributed(fails_on_one, 2, lambda: 1)
    with pytest.raises(UserError, match="9 ranks"):
        run_distributed(process_number, 9)


@pytest.mark.dist
@pytest.mark.slow
def test_a_rank_that_hangs_is_named(run_distributed):
    with pytest.raises(RankError, match=r"rank 0: no answer within [1-4].* s .*collective"):
        run_distributed(leaves_one_waiting, timeout=1.0)
    assert len(run_distributed(process_number)) == 2


HEAVY = ("torch", "numpy", "megatron", "ofacore.plan")
LIGHT = f"import sys; import {{module}}; print([m for m in {HEAVY} if m in sys.modules])"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("ofa_kit.pytest_plugin", False), ("ofa_kit", False), ("ofacore.protocols", True)],
)
def test_the_pytest_plugin_is_light(module, heavy):
    """The last case shows that the check can fail."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(module=module)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.strip() != "[]") is heavy


PLAIN_TEST = """
import sys

def test_light(registry, tmp_plugin, fake_distribution):
    assert "probe" not in registry.names("preprocessor")
    heavy = [name for name in ("torch", "numpy", "megatron") if name in sys.modules]
    assert not heavy, heavy
"""


def test_a_session_that_needs_no_torch_imports_none(tmp_path):
    (tmp_path / "test_light.py").write_text(PLAIN_TEST)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(tmp_path),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PATH},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_public_names_exist_and_are_documented():
    assert list(ofa_kit.__all__) == sorted(ofa_kit.__all__)
    for name in ofa_kit.__all__:
        found = getattr(ofa_kit, name)
        assert found.__doc__ and found.__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Modality'"):
        _ = ofa_kit.Modality
