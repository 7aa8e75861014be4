"""Hooks of installed plugins are called; a broken one is logged and left out."""

from __future__ import annotations

HOOKS = """
from ofacore.plugin.hooks import hookimpl

class Watcher:
    @hookimpl
    def ofa_step_end(self, step):
        print("step", step)

    @hookimpl
    def ofa_checkpoint_saved(self, path):
        print("saved", path)
"""

RUN = """
from ofacore.plugin import Registry
from ofacore.plugin.hooks import hook_manager
hooks = hook_manager(Registry.discover()).hook
hooks.ofa_step_end(step=3, metrics={})
hooks.ofa_checkpoint_saved(path="run/latest")
hooks.ofa_run_end()
"""


def test_hooks_are_called_with_the_arguments_they_ask_for(site):
    site.install("watch", "[ofa.hooks]\nwatcher = watch_hooks:Watcher\n", {"watch_hooks": HOOKS})
    assert site.rows()["watch"]["kind"] == "hooks"
    assert site.run(RUN).stdout == "step 3\nsaved run/latest\n"


def test_a_broken_hook_stops_no_other(site):
    site.install("watch", "[ofa.hooks]\nwatcher = watch_hooks:Watcher\n", {"watch_hooks": HOOKS})
    site.install(
        "bad", "[ofa.hooks]\nbad = bad_hooks:Missing\n", {"bad_hooks": "raise SystemExit(3)"}
    )
    wrong = HOOKS.replace("step", "pace").replace("ofa_pace", "ofa_step")
    site.install("wrong", "[ofa.hooks]\nwrong = wrong_hooks:Watcher\n", {"wrong_hooks": wrong})
    done = site.run(RUN)
    assert done.stdout.startswith("step 3\n")
    assert (
        "distribution 'bad'" in done.stderr
        and "distribution 'wrong'" in done.stderr
        and "pace" in done.stderr
    )


def test_strict_refuses_a_broken_hook(site):
    site.install("bad", "[ofa.hooks]\nbad = bad_hooks:Missing\n", {"bad_hooks": ""})
    done = site.run(RUN, check=False, OFA_PLUGINS="bad", OFA_STRICT_PLUGINS="1")
    assert "LoadError" in done.stderr


def test_disabled_hooks_are_not_called(site):
    site.install("watch", "[ofa.hooks]\nwatcher = watch_hooks:Watcher\n", {"watch_hooks": HOOKS})
    assert site.run(RUN, OFA_PLUGINS="").stdout == ""


def test_hooks_without_a_module_are_a_broken_row(site):
    site.install("gone", "[ofa.hooks]\ngone = gone_hooks.inner:Watcher\n", {})
    assert site.rows()["gone"]["status"] == "broken"
    assert "gone" not in site.run(RUN).stderr
