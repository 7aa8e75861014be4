"""Kinds of components are open: one plugin declares a kind, others bring components of it."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest

from ofacore.plugin import (
    CONTRACT,
    Component,
    ComponentManifest,
    ConflictError,
    Kind,
    PluginError,
    Registry,
    UnknownNameError,
)
from ofacore.plugin.kinds import CORE_KINDS
from ofacore.plugin.plugin_rows import import_target

MERGER = Kind("merger", "fractions:Fraction", "Makes one of many.")
DECLARES = ComponentManifest("mergers", CONTRACT, (), kinds=(MERGER,))
BRINGS = ComponentManifest(
    "means", CONTRACT, (Component("merger", "mean", "statistics:mean", options={"a": 1}),)
)

DECLARING = """
from ofacore.plugin import CONTRACT, Component, ComponentManifest, Kind
MANIFEST = ComponentManifest(
    "mergers", CONTRACT, (Component("merger", "first", "mergers:First", "The first."),),
    kinds=(Kind("merger", "mergers:Merger", "Makes one of many."),),
)
"""
CODE = """
from typing import Protocol
class Merger(Protocol):
    def combine(self, values): ...
class First:
    def combine(self, values):
        return values[0]
class Other(Protocol):
    pass
"""
BRINGING = """
from ofacore.plugin import CONTRACT, Component, ComponentManifest
MANIFEST = ComponentManifest("last", CONTRACT, (Component("{}", "last", "last:Last", "The last."),))
"""
LAST = "class Last:\n    def combine(self, values):\n        return values[-1]\n"


def add(site, name, manifest, code="", distribution=""):
    module = f"{distribution or name}_manifest".replace("-", "_")
    points = f"[ofa.component]\n{name} = {module}:MANIFEST\n"
    site.install(
        distribution or f"dist-{name}", points, {module: manifest, **({name: code} if code else {})}
    )


def test_components_of_a_declared_kind_are_found_like_all_others():
    registry = Registry.of(BRINGS, DECLARES)
    assert registry.names("merger") == ("mean",)
    assert registry.component("merger", "mean") is BRINGS.components[0]
    assert registry.load("merger", "mean")([1, 3]) == 2
    assert registry.owner("merger", "mean") == "means"
    assert registry.pinned({("merger", "mean"): {"a": 2}}).component("merger", "mean").options == {
        "a": 2
    }
    assert registry.kind("merger") is registry.kinds()["merger"] is MERGER
    assert pickle.loads(pickle.dumps(registry)).kind("merger") == MERGER


def test_installed_distributions_share_a_kind_and_pages_show_it(site):
    add(site, "mergers", DECLARING, CODE)
    add(site, "last", BRINGING.format("merger"), LAST)
    code = """
from ofacore.plugin import Registry
r = Registry.discover()
print(r.names("merger"), [r.load("merger", n)().combine([1, 2]) for n in r.names("merger")])
print(r.kind("merger").protocol, {row.status for row in r.rows})
"""
    wanted = "('first', 'last') [1, 2]\nmergers:Merger {'ok'}\n"
    assert [site.run(code).stdout for _ in ("new", "from the cache")] == [wanted, wanted]
    main = "from ofa_cli.main import main; main({!r})"
    shown = site.run(main.format(["plugins", "show", "mergers"])).stdout
    assert "kind merger  Makes one of many." in shown and "protocol mergers:Merger" in shown
    assert (
        "0 problems" in site.run(main.format(["plugins", "check", "mergers"]), check=False).stdout
    )
    listed = site.run("from tools.docs.plugins_page import main; main(['--kinds'])").stdout
    assert "| `merger` | `mergers:Merger` | Makes one of many. |" in listed
    assert "| `metric` | `ofacore.protocols:Metric` |" in listed


def test_an_unknown_kind_is_a_broken_row_and_stops_no_other(site):
    add(site, "mergers", DECLARING, CODE)
    add(site, "last", BRINGING.format("mergger"), LAST)
    rows = site.rows()
    assert (rows["dist-last"]["status"], rows["dist-mergers"]["status"]) == ("broken", "ok")
    problem = rows["dist-last"]["problem"]
    assert "its component 'mergger/last': unknown kind of component 'mergger'" in problem
    assert (
        "did you mean 'merger'?" in problem
        and "there are: adapter, aggregator, backbone" in problem
    )
    without = site.rows(OFA_PLUGINS="last")["dist-last"]
    assert (
        without["status"] == "broken"
        and "install or enable the plugin that declares it" in without["problem"]
    )
    check = "from ofa_cli.main import main; main(['plugins', 'check', 'last', '--json'])"
    done = site.run(check, check=False)
    assert (
        done.returncode == 1
        and "unknown kind of component" in json.loads(done.stdout)["findings"][0]["message"]
    )


def test_what_is_broken_declares_nothing():
    lost = replace(DECLARES, components=(Component("nothing", "x", "a:b"),))
    registry = _rows(lost, BRINGS)
    assert registry["mergers"].status == registry["means"].status == "broken"
    assert "'mergers', which declares it, is broken" in registry["means"].problem


def test_one_kind_declared_in_two_ways_is_a_conflict_and_a_setting_decides():
    other = ComponentManifest(
        "others", CONTRACT, (), kinds=(replace(MERGER, protocol="decimal:Decimal"),)
    )
    registry = Registry.of(DECLARES, other, BRINGS)
    assert {row.name: row.status for row in registry.rows} == {
        "mergers": "conflict",
        "others": "conflict",
        "means": "ok",
    }
    with pytest.raises(
        ConflictError, match="kind of component 'merger' is announced by .* and 'others'"
    ):
        registry.kind("merger")
    assert "merger" not in registry.kinds() and registry.load("merger", "mean")
    decided = Registry.of(DECLARES, other, BRINGS, prefer={"kind/merger": "others"})
    assert decided.kind("merger").protocol == "decimal:Decimal"
    assert {row.status for row in decided.rows} == {"ok"}


def test_the_same_declaration_twice_is_one():
    registry = Registry.of(DECLARES, replace(DECLARES, name="copy"))
    assert {row.status for row in registry.rows} == {"ok"} and registry.kind("merger") == MERGER


def test_what_is_asked_for_by_an_unknown_kind_is_told():
    registry = Registry.of(DECLARES, BRINGS)
    for ask in (registry.component, registry.load, registry.owner):
        with pytest.raises(
            UnknownNameError, match="unknown kind of component 'mergger'; did you mean 'merger'"
        ):
            ask("mergger", "mean")
    with pytest.raises(UnknownNameError, match="unknown merger 'meen'; did you mean 'mean'"):
        registry.component("merger", "meen")
    with pytest.raises(UnknownNameError, match="did you mean 'metric'"):
        registry.kind("metrik")
    assert registry.names("mergger") == ()


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        ((Kind("metric", "a:b"),), "'metric' is a word of the core's own"),
        ((Kind("slot", "a:b"),), "'slot' is a word of the core's own"),
        ((Kind("Upper", "a:b"),), "no name in small letters"),
        ((Kind("two/parts", "a:b"),), "no name in small letters"),
        ((Kind(None, "a:b"),), "no name in small letters"),
        ((Kind("fine", "a"),), "not 'package.module:Protocol'"),
        ((MERGER, MERGER), "gives kind of component 'merger' twice"),
        (("merger",), "'merger', which is no Kind"),
        (MERGER, "is no tuple"),
    ],
)
def test_a_malformed_kind_is_refused(kinds, reason):
    with pytest.raises(PluginError, match=reason):
        Registry.of(replace(DECLARES, kinds=kinds))


def test_protocols_of_the_core_are_there():
    assert all(import_target(kind.protocol) for kind in CORE_KINDS.values() if kind.protocol)


def _rows(*manifests):
    from ofacore.plugin.plugin_rows import Announcement, plugin_of

    plugins = [plugin_of(Announcement("", m.name, "", m.name, "0"), m) for m in manifests]
    return {row.name: row for row in Registry(plugins).rows}
