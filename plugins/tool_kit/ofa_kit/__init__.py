"""The kit with which authors prove their plugins: suites to subclass, and fixtures that pytest finds by itself.

A suite is a class of checks. Subclass it in a test file, say what is tested, and run pytest::

    from ofa_kit import ModalityConformance

    class TestTouch(ModalityConformance):
        plugin = "ofa_modality_touch.manifest:MANIFEST"

Every check is a test of its own whose message says what to do. A check that a plugin cannot pass yet is overridden
with the same name and marked ``@pytest.mark.xfail(reason=...)``; none should be deleted.

Settings (class attributes; all but those marked * may be left out):

==================== ======================================================================================
All suites
``plugin`` *         ``"package.manifest:MANIFEST"``, the name of an entry point, or a manifest.
``requires``         Further plugins that take part: ``("ofa_modality_x.manifest:MANIFEST",)``. Default: none.
PluginConformance    (no further settings: what every plugin passes, commands and row transforms too)
ModalityConformance  (AdapterConformance and GeneratorConformance understand these too)
``slot``             Slot type under test. Default: the first of the manifest.
``values``           Values to encode, best of different lengths. Default: the manifest's sample value.
``bad_values``       Values that must be refused with a `RowError`. Default: an `object`.
``tolerance``        Largest difference of a number after encode and decode, in the caller's units. Default: 1e-3.
``attributes``       Attributes written in the slot: ``"max_length=20"``. Default: none.
``context``          What stands before the slot in an instruction: ``"[OTHER:x]"``, for slots bound to others.
``row``              Values of the other columns: ``{"x": 1}``.
``model``            Keys of the model section: ``{"preprocessors": {"touch": {"size": 8}}}``.
AdapterConformance
``adapter`` *        Name of the adapter component. ``options``: in place of its declared ones.
BackboneConformance
``backbone`` *       Name of the backbone component. ``options``: in place of its declared ones.
``model``            Keys of the model section; ``tolerance``: largest difference of a state, default 1e-4.
CriterionConformance
``criterion`` *      Name of the criterion component. ``options``: in place of its declared ones.
``head``             Head component that makes predictions. Default: none, the prediction is the states.
``labels(...)`` *    Method: labels of one item. ``lengths``: positions of the items tried, default (3, 1, 4).
``width``            Size of the states, default 32. ``empty_items``: an item may have no positions, default True.
GeneratorConformance
``generator`` *      Name of the generator component; ``slot`` is a slot type that can be its target.
``generation``       Generation options of which each is tried: ``({"strategy": "sample"},)``.
``depends_on_rows``  True: numbers are drawn for all rows together, which are not compared then. Default: False.
TaskConformance
``rows``             Preset -> sample rows; columns left out are made of the sample values of the slot types.
``untrained``        Preset -> why it is not trained here. Default: all are.
``model``            As above.
MetricConformance
``metric`` *         Name of the metric component. ``options``: in place of its declared ones.
``predictions`` *    At least four decoded values. ``references`` *: as many. ``rows``: as many rows, default: empty.
``perfect``          Predictions without fault. Default: the references. ``bounds``: limits of the score, default none.
PositionsConformance
``positions`` *      Name of the positions component. ``options``: in place of its declared ones. ``heads``: default 2.
ScheduleConformance
``schedule`` *       Name of the schedule component. ``options``: in place of its declared ones.
``tasks``            Task -> (rows, weight). ``samples``: of a step. ``shares``: expected shares over many steps.
AggregatorConformance
``aggregator`` *     Name of the aggregator component. ``options``: in place of its declared ones.
RouterConformance
``router`` *         Name of the router component. ``options``: in place of its declared ones. ``k``: default 1 and 2.
TrackerConformance
``tracker`` *        Name of the tracker component. ``options``: in place of its declared ones.
==================== ======================================================================================

Besides, ``compare(given, decoded)``, ``hypothesis(segments)`` and ``prediction(states, ctx)`` can be overridden where a
value is of a type of your own. Fixtures: ``registry``, ``tmp_plugin``, ``fake_distribution``, ``run_distributed``; see
`ofa_kit.pytest_plugin`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ofa_kit.adapter import AdapterConformance
    from ofa_kit.aggregator import AggregatorConformance
    from ofa_kit.backbone import BackboneConformance
    from ofa_kit.criterion import CriterionConformance
    from ofa_kit.declaration import PluginConformance
    from ofa_kit.generator import GeneratorConformance
    from ofa_kit.metric import MetricConformance
    from ofa_kit.modality import ModalityConformance
    from ofa_kit.positions import PositionsConformance
    from ofa_kit.ranks import RankError
    from ofa_kit.registry import ClosedRegistry
    from ofa_kit.router import RouterConformance
    from ofa_kit.schedule import ScheduleConformance
    from ofa_kit.task import TaskConformance
    from ofa_kit.tracker import TrackerConformance

__all__ = [
    "AdapterConformance",
    "AggregatorConformance",
    "BackboneConformance",
    "ClosedRegistry",
    "CriterionConformance",
    "GeneratorConformance",
    "MetricConformance",
    "ModalityConformance",
    "PluginConformance",
    "PositionsConformance",
    "RankError",
    "RouterConformance",
    "ScheduleConformance",
    "TaskConformance",
    "TrackerConformance",
]

_HOMES = {
    "AdapterConformance": "adapter",
    "AggregatorConformance": "aggregator",
    "BackboneConformance": "backbone",
    "ClosedRegistry": "registry",
    "CriterionConformance": "criterion",
    "GeneratorConformance": "generator",
    "MetricConformance": "metric",
    "ModalityConformance": "modality",
    "PluginConformance": "declaration",
    "PositionsConformance": "positions",
    "RankError": "ranks",
    "RouterConformance": "router",
    "ScheduleConformance": "schedule",
    "TaskConformance": "task",
    "TrackerConformance": "tracker",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ofa_kit' has no attribute '{name}'")
    return getattr(import_module(f"ofa_kit.{_HOMES[name]}"), name)
