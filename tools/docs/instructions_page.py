"""The generated part of the instruction reference: slot types, task presets, options of generators and components.

``python -m tools.docs.instructions_page docs/instructions.md`` writes it anew, behind the marker line of the
page; without a page it is printed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ofacore.ground.json_text import json_text
from ofacore.plan.attributes import CORE_ATTRIBUTES
from ofacore.plan.generation import CORE_OPTIONS
from ofacore.plugin import Attribute, Component, Option, Registry, SlotType, TaskPreset
from ofacore.plugin.options import option_type, options_table

MARKER = "<!-- generated: python -m tools.docs.instructions_page docs/instructions.md -->\n"
_PRESETS = """## Task presets

A preset is used by name: `Task("mine", preset="caption", train=...)`, or `tasks: {mine: {preset: caption}}` in a
configuration. A number before a template is its weight.
"""
_OPTIONS = """## Options of components

They are set by the table `options` of a configuration, `options: {tracker/wandb: {project: mine}}`, and where a
component is named in place: losses, metrics, the schedule.
"""
_GENERATORS = """## Options of generation

Options are given with a call (`model.infer(..., beam=3)`, `ofa infer --set beam=3`), with a task or for the whole run
(`generation: {beam: 3}`). Each goes to the target slots whose generators have it. These are understood whatever the
generators are.
"""
_SERVICES = ("adapter", "head", "criterion", "generator", "corruption")


def reference_markdown(registry: Registry) -> str:
    """Slot types and presets of a registry as Markdown, sorted by name: the same registry, the same text."""
    slots = [registry.slots()[name] for name in sorted(registry.slots())]
    presets = [registry.presets()[name] for name in sorted(registry.presets())]
    generators = [registry.component("generator", name) for name in registry.names("generator")]
    parts = [
        "## Attributes of every slot\n\nThese are understood by slots of all types.\n",
        _attributes(CORE_ATTRIBUTES),
        "## Slot types\n",
        *(_slot(slot, registry) for slot in slots),
        _GENERATORS,
        _options(CORE_OPTIONS),
        *(_generator(component, registry) for component in generators),
        _PRESETS,
        *(_preset(preset, registry) for preset in presets),
        _OPTIONS,
        options_table(_others(registry)),
    ]
    return "\n".join(parts)


def _others(registry: Registry) -> Iterator[Component]:
    """Components of all kinds but generators, whose options have a part of their own."""
    for kind in registry.kinds():
        if kind != "generator":
            yield from (registry.component(kind, name) for name in registry.names(kind))


def page(current: str, registry: Registry) -> str:
    """A page whose part behind the marker is current.

    Raises:
        ValueError: The page has no marker line, or several.
    """
    if current.count(MARKER) != 1:
        raise ValueError(
            f"the page needs the line {MARKER.strip()!r} once, in front of the generated part"
        )
    return current.split(MARKER)[0] + MARKER + "\n" + reference_markdown(registry)


def _slot(slot: SlotType, registry: Registry) -> str:
    component = registry.component("preprocessor", slot.preprocessor)
    served = [f"{kind} `{component.uses[kind]}`" for kind in _SERVICES if kind in component.uses]
    facts = [
        f"{slot.doc} From `{registry.owner('slot', slot.name)}`.",
        "",
        f"- Values: {slot.values}.",
        f"- By default: preprocessor `{slot.preprocessor}`{''.join(', ' + text for text in served)}.",
        f"- Preprocessors: {_preprocessors(slot, registry)}.",
        *(
            [f"- Read from an output as {_codes([f'out.{view}' for view in slot.views])}."]
            if slot.views
            else []
        ),
        *(
            [f"- A value belongs to another slot, which attribute `{slot.bound_to}` names."]
            if slot.bound_to
            else []
        ),
        *(["- Encodes the plain text of instructions."] if slot.serves_plain_text else []),
    ]
    core = {attribute.name for attribute in CORE_ATTRIBUTES}
    own = [attribute for attribute in slot.attributes if attribute.name not in core]
    table = _attributes(own) if own else "It has no attributes of its own.\n"
    return "\n".join([f"### `{slot.name}`\n", *facts, "", table])


def _preprocessors(slot: SlotType, registry: Registry) -> str:
    """Those of the distribution that brings the slot type."""
    owner = registry.owner("slot", slot.name)
    names = [
        name
        for name in registry.names("preprocessor")
        if registry.owner("preprocessor", name) == owner
    ]
    found: list[Component] = [registry.component("preprocessor", name) for name in names]
    return "; ".join(f"`{component.name}` ({component.doc.rstrip('.')})" for component in found)


def _attributes(attributes: Sequence[Attribute]) -> str:
    rows = [
        _row(attribute) for attribute in sorted(attributes, key=lambda attribute: attribute.name)
    ]
    return "\n".join(
        ["| Attribute | Value | Default | Side | Meaning |", "|---|---|---|---|---|", *rows, ""]
    )


def _row(attribute: Attribute) -> str:
    default = (
        "" if attribute.default is None or attribute.type == "flag" else f"`{attribute.default}`"
    )
    side = "both" if len(attribute.sides) == 2 else attribute.sides[0]
    cells = [f"`{attribute.name}`", _values(attribute), default, side, _sentence(attribute.doc)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _values(attribute: Attribute) -> str:
    if attribute.type == "flag":
        return "flag"
    if attribute.type == "slot":
        return (
            f"name of a slot{f' of type {_codes(attribute.choices)}' if attribute.choices else ''}"
        )
    if attribute.choices:
        return _codes(attribute.choices)
    return ", ".join([{"str": "text"}.get(attribute.type, attribute.type), *_limits(attribute)])


def _limits(declared: Attribute | Option) -> list[str]:
    ends = (("≥", declared.minimum), ("≤", declared.maximum))
    return [f"{sign} {limit:g}" for sign, limit in ends if limit is not None]


def _generator(component: Component, registry: Registry) -> str:
    intro = f"{_sentence(component.doc)} From `{registry.owner('generator', component.name)}`."
    table = _options(component.declared) if component.declared else "It has no options.\n"
    return "\n".join([f"### Generator `{component.name}`\n", intro, "", table])


def _options(declared: Mapping[str, Option]) -> str:
    rows = [_option(name, option) for name, option in declared.items()]
    return "\n".join(["| Option | Value | Default | Meaning |", "|---|---|---|---|", *rows, ""])


def _option(name: str, option: Option) -> str:
    kind = option.type or option_type(option.default)
    words = {"str": "text", "flag": "true or false"}.get(kind, kind)
    value = _codes(option.choices) if option.choices else ", ".join([words, *_limits(option)])
    default = option.default if isinstance(option.default, str) else json_text(option.default)
    cells = [f"`{name}`", value, f"`{default}`", _sentence(option.doc)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _preset(preset: TaskPreset, registry: Registry) -> str:
    templates = [entry if isinstance(entry, str) else entry[0] for entry in preset.instructions]
    weights = [1.0 if isinstance(entry, str) else entry[1] for entry in preset.instructions]
    shown = [
        t if len(set(weights)) == 1 else f"{w:g} x  {t}"
        for t, w in zip(templates, weights, strict=True)
    ]
    facts = [f"- `{name}`: {text}" for name, text in preset.columns.items()]
    facts += (
        [f"- Metrics: {_codes([f'{use.metric}' for use in preset.metrics])}."]
        if preset.metrics
        else []
    )
    facts += [f"- Transforms: {_transforms(preset)}."] if preset.transforms else []
    facts += (
        [f"- Row transforms: {_codes([*preset.row_transforms])}."] if preset.row_transforms else []
    )
    facts += [f"- Starter data, with the baseline '{preset.baseline_doc}'."] if preset.data else []
    intro = f"{_sentence(preset.doc)} From `{registry.owner('preset', preset.name)}`."
    return "\n".join(
        [f"### `{preset.name}`\n", intro, "", "```text", *shown, "```", "", *facts, ""]
    )


def _transforms(preset: TaskPreset) -> str:
    return "; ".join(f"{column}: {_codes(names)}" for column, names in preset.transforms.items())


def _codes(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names))


def _sentence(text: str) -> str:
    text = text.strip()
    first = text if "_" in text.split(" ")[0] else text[:1].upper() + text[1:]
    return first and first + ("" if first.endswith((".", "!", "?")) else ".")


def main(arguments: Sequence[str]) -> None:
    """Print the generated part, or bring a page up to date."""
    registry = Registry.discover()
    if not arguments:
        print(reference_markdown(registry), end="")
        return
    path = Path(arguments[0])
    path.write_text(page(path.read_text(encoding="utf-8"), registry), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
