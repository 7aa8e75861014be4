"""``ofa plugins check`` finds every fault of a plugin, each with its place and the way out."""

from __future__ import annotations

import json
import re

import pytest

PLAIN = """
from ofacore.plugin import Component, ComponentManifest
MANIFEST = ComponentManifest("{name}", (2, 0), (Component("metric", "{name}", "{name}_code:Thing", "a metric"),), "doc")
"""
STATIC = {
    "untyped": (
        "Attribute('size', 'number', doc='d')",
        "is of type 'number', which does not exist",
    ),
    "mistyped": (
        "Attribute('size', 'int', 'big', 'd')",
        "has default 'big'; give a value of type int",
    ),
    "outside": ("Attribute('size', 'int', 0, 'd', minimum=1)", "within minimum and maximum"),
    "chosen": ("Attribute('size', 'choice', 'c', 'd', choices=('a', 'b'))", "choose one of: a, b"),
    "core-attribute": ("Attribute('no_loss', 'flag', doc='d')", "is one that every slot type has"),
    "sideless": (
        "Attribute('size', 'int', doc='d', sides=('left',))",
        "give 'source', 'target' or both",
    ),
    "required-anyway": (
        "Attribute('size', 'int', 8, 'd', required=True)",
        "has a default and is required; leave out required",
    ),
}
SLOT = """
from ofacore.plugin import Attribute, Component, ModalityManifest, SlotType
def is_element(value):
    return True
MANIFEST = ModalityManifest("{name}", (2, 0), (
    SlotType("{slot}", "doc", "{name}", "anything", is_element, ({attribute},), sample="json:loads"),
), (Component("preprocessor", "{name}", "json:JSONDecoder", "doc", {{"adapter": "token"}}),))
"""


def _identifier(name):
    return name.replace("-", "_")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """(folder, environment) of one plugin for every wrong attribute, and one without fault."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "sound_manifest.py").write_text(PLAIN.format(name="sound"))
    (folder / "sound_code.py").write_text(
        "raise RuntimeError('executed')\nclass Thing:\n    pass\n"
    )
    for name, (attribute, _) in STATIC.items():
        module = _identifier(name)
        source = SLOT.format(name=module, slot=module.upper(), attribute=attribute)
        (folder / f"{module}_manifest.py").write_text(source)
    names = [_identifier(name) for name in (*STATIC, "sound")]
    return folder, {
        "PYTHONPATH": str(folder),
        "OFA_PLUGIN_DEV": ",".join(f"{name}={name}_manifest:MANIFEST" for name in names),
        "OFA_PLUGINS": ",".join(names),
        "OFA_CACHE": str(folder / "cache"),
    }


@pytest.fixture(scope="module")
def run(faulty):
    import os
    import subprocess
    import sys

    def call(*arguments, **environment):
        folder, variables = faulty
        paths = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "ofa_cli.main", "plugins", "check", *arguments]
        done = {**os.environ, **variables, "PYTHONPATH": paths, **environment}
        return subprocess.run(command, env=done, capture_output=True, text=True, check=False)

    return call


@pytest.fixture(scope="module")
def static(run):
    done = run()
    assert done.returncode == 1, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", STATIC)
def test_a_wrong_attribute_is_told_on_one_line(static, name):
    told = [line for line in static if line.startswith(f"problem: {_identifier(name)}: ")]
    assert (
        len(told) == 1
        and STATIC[name][1] in told[0]
        and f"{_identifier(name)}_manifest.py:" in told[0]
    )


def test_the_static_check_runs_no_code_of_a_component(static):
    assert not any("executed" in line for line in static)
    assert static[-1].endswith(f" checked, {len(STATIC)} problems, 0 warnings")


def test_a_plugin_is_named_by_did_you_mean(run):
    done = run("soundd")
    assert done.returncode == 2 and "did you mean 'sound'?" in done.stderr


def test_a_sound_plugin_passes_and_exits_with_zero(run):
    done = run("sound", "--strict")
    assert (done.returncode, done.stdout) == (0, "1 checked, 0 problems, 0 warnings\n")
    assert json.loads(run("sound", "--json").stdout) == {
        "plugins": [["sound", "dev:sound"]],
        "ok": True,
        "findings": [],
    }


def test_several_plugins_are_checked_by_their_names(run):
    done = run("sound", "untyped", "--json")
    assert {name for name, _ in json.loads(done.stdout)["plugins"]} == {"sound", "untyped"}, (
        done.stderr
    )


def test_a_lambda_that_workers_need_is_a_problem(run, faulty):
    source = SLOT.format(name="local", slot="LOCAL", attribute="").replace(
        "is_element, (,)", "lambda value: True, ()"
    )
    (faulty[0] / "local_manifest.py").write_text(source)
    done = run("local", OFA_PLUGIN_DEV="local=local_manifest:MANIFEST", OFA_PLUGINS="local")
    assert done.returncode == 1 and "is_element is a lambda" in done.stdout


def test_a_warning_is_a_problem_with_strict(run, faulty):
    (faulty[0] / "warned_manifest.py").write_text(
        PLAIN.format(name="warned").replace('"a metric"', '""')
    )
    (faulty[0] / "warned_code.py").write_text("class Thing:\n    pass\n")
    settings = {"OFA_PLUGIN_DEV": "warned=warned_manifest:MANIFEST", "OFA_PLUGINS": "warned"}
    mild, strict = run("warned", **settings), run("warned", "--strict", **settings)
    assert (mild.returncode, strict.returncode) == (0, 1)
    assert "has no doc" in mild.stdout and mild.stdout == strict.stdout


BROKEN = {
    "missing-object": ('"broken_code:Nothing"', "'broken_code' has no 'Nothing'"),
    "missing-module": ('"nowhere.code:Thing"', "there is no module 'nowhere'"),
    "bad-syntax": ('"broken_syntax:Thing"', "cannot be read"),
    "heavy": ('"broken_code:Thing"', "the manifest imports 'torch'"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_a_manifest_names_must_be_there(run, faulty, fault):
    folder, module = faulty[0], f"broken_{_identifier(fault)}"
    source = PLAIN.format(name=module).replace(f'"{module}_code:Thing"', BROKEN[fault][0])
    source += (
        "\ndef later():\n    import transformers\n\nif fault:\n    import torch\n"
        if fault == "heavy"
        else ""
    )
    (folder / f"{module}_manifest.py").write_text("fault = False\n" + source)
    (folder / "broken_code.py").write_text(
        "raise RuntimeError('executed')\nclass Thing:\n    pass\n"
    )
    (folder / "broken_syntax.py").write_text("class Thing(:\n")
    done = run(module, OFA_PLUGIN_DEV=f"{module}={module}_manifest:MANIFEST", OFA_PLUGINS=module)
    assert (
        done.returncode == 1 and BROKEN[fault][1] in done.stdout and "executed" not in done.stdout
    )
    assert "transformers" not in done.stdout


def test_a_manifest_that_hangs_is_found_and_stops_no_other(run, static, faulty):
    """All others are known since the check before, and are not imported again."""
    (faulty[0] / "stuck_manifest.py").write_text("import time\ntime.sleep(1000)\n")
    settings = {
        "OFA_PLUGIN_DEV": "stuck=stuck_manifest:MANIFEST,sound=sound_manifest:MANIFEST",
        "OFA_PLUGINS": "stuck,sound",
    }
    done = run("stuck", "sound", "--imports", "--timeout", "3", "--json", **settings)
    told = {
        finding["plugin"]: finding["message"] for finding in json.loads(done.stdout)["findings"]
    }
    assert (
        done.returncode == 1
        and "does not end within 3 s" in told["stuck"]
        and "executed" in told["sound"]
    )


def test_a_slow_manifest_is_named_when_it_is_first_imported(run, faulty):
    (faulty[0] / "slow_manifest.py").write_text(
        "import time\ntime.sleep(1.1)\n" + PLAIN.format(name="sound")
    )
    settings = {"OFA_PLUGIN_DEV": "slow=slow_manifest:MANIFEST", "OFA_PLUGINS": "slow"}
    assert re.search(r"plugin slow \(dev:slow\) took \d+\.\d s", run("slow", **settings).stderr)
