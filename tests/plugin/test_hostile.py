"""Manifests that do not end, end the process or print: the others go on, and the plugin is named."""

from __future__ import annotations

import json

SLEEPS = "import time\ntime.sleep(600)"
EXITS = "import os\nos._exit(7)"
LIST = "from ofa_cli.main import main; main(['plugins', 'list', '--json'])"


def test_a_manifest_that_sleeps_and_one_that_ends_the_process_are_rows_with_a_reason(site):
    site.install_modality("good", "GOOD")
    site.install_modality("sleeps", "SLEEPS", extra=SLEEPS)
    site.install_modality("exits", "EXITS", extra=EXITS)
    site.install_modality("sound", "SOUND")
    rows = site.rows(OFA_PLUGIN_TIMEOUT="4")
    assert rows["dist-good"]["status"] == rows["dist-sound"]["status"] == "ok"
    assert rows["dist-sleeps"]["status"] == rows["dist-exits"]["status"] == "broken"
    assert "does not end within 4 s" in rows["dist-sleeps"]["problem"]
    assert "ends the whole process" in rows["dist-exits"]["problem"]
    assert "OFA_PLUGINS" in rows["dist-exits"]["problem"]


def test_a_manifest_that_prints_leaves_json_alone(site):
    site.install_modality("prints", "PRINTS", extra="print('hello')")
    for _ in range(2):  # new, and known from the cache
        done = site.run(
            "from ofa_cli.main import main; main(['plugins', 'check', 'prints', '--json'])",
            check=False,
        )
        assert json.loads(done.stdout)["plugins"] == [["prints", "dist-prints"]]


def test_plugins_that_were_seen_before_are_listed_without_another_process(site):
    site.install_modality("good", "GOOD")
    site.run(LIST)
    code = "import subprocess\nsubprocess.Popen = None\n"
    assert "dist-good" in site.run(code + LIST, check=False).stdout
