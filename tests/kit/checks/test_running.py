"""What an import does to the process is found by importing it in a process of its own."""

from __future__ import annotations

import pytest

from ofa_kit.checks.findings import Subject
from ofa_kit.checks.running import check_imports, check_manifest_import
from ofacore.plugin import CONTRACT, Component, ComponentManifest

FAULTY = {
    "raises": ("raise RuntimeError('boom')", "fails: RuntimeError: boom"),
    "hangs": ("import time\ntime.sleep(1000)", "does not end within 2 s"),
    "prints": ("print('hello')", "prints to standard output: 'hello'"),
    "writes": ("import os\nos.write(1, b'raw')", "prints to standard output: 'raw'"),
    "ends": ("import os\nos._exit(3)", "ends the whole process"),
    "threads": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()",
        "threads that keep",
    ),
    "dawdles": ("import time\ntime.sleep(1.1)", " takes "),
    "seeds": ("import random\nrandom.seed(0)", "changes the seed of random"),
    "seeds-numpy": ("import numpy\nnumpy.random.seed(0)", "changes the seed of numpy"),
    "logs": (
        "import logging\nlogging.basicConfig(level=10)",
        "changes the configuration of logging",
    ),
    "silences": (
        "import warnings\nwarnings.simplefilter('ignore')",
        "changes the filters of warnings",
    ),
    "moves": ("import os\nos.chdir('/')", "changes the working directory"),
    "exports": (
        "import os\nos.environ['SETTING'] = '1'",
        "changes the environment variable SETTING",
    ),
    "paths": ("import sys\nsys.path.append('x')", "changes sys.path"),
    "signals": (
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "changes the handlers of signals",
    ),
}
SUBJECT = Subject("plugin", "dist-plugin", "")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """``module("name", code)`` makes a module that this process and those it starts can import."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")

    def make(name, code):
        (tmp_path / f"{name}.py").write_text(f"{code}\nclass Thing:\n    pass\n")
        return f"{name}:Thing"

    return make


@pytest.fixture
def unhurried(monkeypatch):
    """No import is slow, however busy the machine."""
    monkeypatch.setattr("ofa_kit.checks.running.SLOW", 60.0)


@pytest.mark.parametrize("name", FAULTY)
def test_what_an_import_does_is_found_with_its_file(module, tmp_path, monkeypatch, name):
    code, told = FAULTY[name]
    if name != "dawdles":
        monkeypatch.setattr("ofa_kit.checks.running.SLOW", 60.0)
    target = module(f"faulty_{name.replace('-', '_')}", code)
    found = check_imports(SUBJECT, target, None, timeout=2.0 if name == "hangs" else 60.0)
    matching = [finding for finding in found if told in finding.message]
    assert len(found) == len(matching) == 1, found
    assert (
        matching[0].severity == "problem" and matching[0].remedy and matching[0].plugin == "plugin"
    )
    assert matching[0].place.startswith(str(tmp_path / f"faulty_{name.replace('-', '_')}.py:"))


@pytest.mark.usefixtures("unhurried")
def test_what_leaves_everything_alone_has_no_finding(module):
    assert (
        check_imports(
            SUBJECT, module("quiet", "import logging\nlogging.getLogger(__name__)"), None, 60.0
        )
        == []
    )


def test_a_library_is_not_held_against_the_plugin_that_imports_it(module, tmp_path):
    (tmp_path / "loud_library.py").write_text(
        "import random, time\nrandom.seed(0)\ntime.sleep(1.1)\n"
    )
    assert check_imports(SUBJECT, module("user_of_it", "import loud_library"), None, 60.0) == []


@pytest.mark.usefixtures("unhurried")
def test_modules_that_come_with_a_manifest_are_the_plugin_too(module, tmp_path):
    metadata = tmp_path / "two_parts-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: two-parts\nVersion: 1.0\n")
    (metadata / "top_level.txt").write_text("two_manifest\ntwo_parts\n")
    module("two_manifest", "")
    metric = Component("metric", "m", module("two_parts", "print('hello')"))
    manifest = ComponentManifest("two", CONTRACT, (metric,))
    (found,) = check_imports(SUBJECT, "two_manifest:Thing", manifest, 60.0)
    assert "prints to standard output: 'hello'" in found.message


@pytest.mark.usefixtures("unhurried")
def test_what_a_manifest_brings_along_is_named(module):
    (found,) = check_manifest_import(
        SUBJECT, module("heavy_manifest", "import sys\nsys.modules['torch'] = sys"), 60.0
    )
    assert found.check == "lightness" and "imports torch" in found.message
