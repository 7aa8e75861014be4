"""The page of metrics: what each says, of which slots, with which options, and the package that brings it.

``python -m tools.docs.metrics_page docs/metrics.md`` writes the page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ofacore.plan import compile_instruction
from ofacore.plugin import Registry, TaskPreset
from ofacore.plugin.options import options_table

_HEAD = """# Metrics

A task names its metrics, the first is its score:

```yaml
tasks:
  kind:
    instruction: "[IMAGE:img] which kind? -> [TEXT:kind,closed_set]"
    metrics: [{metric: accuracy, slot: kind}, {metric: f1, slot: kind, options: {average: macro}}]
```

`references` names another column that holds what is right; a list in it is several references, of which any will do.
A run [from one line](training.md#from-one-line) takes the default of the target slot's type: `numbers` is for a
slot all of whose training values are numbers, `repeat` for one inside of a repeat. What a score compares, and
how its interval is found, is told in [inference](inference.md#evaluate); how a package brings a metric of its own, in
[components](plugins/components.md).

A metric takes any slot whose values it understands. The column *slots* says where it is the default or a preset uses
it.
*Needs* says what is computed besides answers: log-probabilities of references, of candidates, or vectors.
This page is generated from the installed metrics.
"""
_NEEDS = {
    "log_probs": "log-probabilities",
    "candidates": "candidates",
    "embeddings": "vectors",
}


def reference_markdown(registry: Registry) -> str:
    """The page, sorted by name: the same registry, the same text."""
    used = _used(registry)
    lines = [
        _HEAD,
        "## Defaults\n",
        "| Slot | With | Metric |",
        "|---|---|---|",
        *_defaults(registry),
        "",
        "## All metrics\n",
        "| Metric | Says | Better | Slots | Needs | Package |",
        "|---|---|---|---|---|---|",
        *(_row(name, registry, used.get(name, set())) for name in sorted(registry.names("metric"))),
        "",
        "## Options\n",
        options_table(registry.component("metric", name) for name in registry.names("metric")),
    ]
    return "\n".join(lines)


def _defaults(registry: Registry) -> Iterator[str]:
    for name, slot in sorted(registry.slots().items()):
        for attribute, metric in slot.default_metrics.items():
            yield f"| {name} | {f'`{attribute}`' if attribute else ''} | `{metric}` |"


def _used(registry: Registry) -> dict[str, set[str]]:
    """Metric -> slot types that it is the default of, or that presets use it on."""
    found: dict[str, set[str]] = {}
    for name, slot in registry.slots().items():
        for metric in slot.default_metrics.values():
            found.setdefault(metric, set()).add(name)
    for preset in registry.presets().values():
        types = _types(preset, registry)
        for use in preset.metrics:
            if use.slot in types:
                found.setdefault(use.metric, set()).add(types[use.slot])
    return found


def _types(preset: TaskPreset, registry: Registry) -> dict[str, str]:
    first = preset.instructions[0]
    template = compile_instruction(first if isinstance(first, str) else first[0], registry)
    slots = [slot for slot in template.slots.values() if slot.plain is None]
    return {slot.name: slot.type for slot in slots}


def _row(name: str, registry: Registry, types: set[str]) -> str:
    component, metric = registry.component("metric", name), registry.load("metric", name)
    doc = component.doc.replace("|", "\\|").rstrip(".")
    better = "higher" if metric.higher_is_better else "lower"
    needs = _NEEDS.get(getattr(metric, "needs", ""), "")
    package = registry.plugin_of("metric", name).distribution
    return f"| `{name}` | {doc} | {better} | {', '.join(sorted(types))} | {needs} | `{package}` |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference_markdown(Registry.discover()), encoding="utf-8")
