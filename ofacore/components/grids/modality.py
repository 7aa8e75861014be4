"""A whole modality of grids of numbers from what only its author knows: the manifest, in one call.

Nothing here imports torch or numpy, so the file that calls `grid_modality` may be the manifest's own module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ofacore.plugin.manifest import (
    CONTRACT,
    Attribute,
    Component,
    ModalityManifest,
    Option,
    SlotType,
)
from ofacore.plugin.plugin_errors import PluginError
from ofacore.plugin.plugin_rows import import_target

MOST_POSITIONS = 4096
"""Positions that one grid may take in a sequence, unless the author says otherwise."""
_HOME = "ofacore.parts"


def grid_modality(
    name: str,
    slot: str = "",
    *,
    shape: Sequence[int | None],
    patch: Sequence[int] = (),
    attributes: Sequence[Attribute] = (),
    read: Callable[..., Any] | None = None,
    to_base: Callable[..., Any] | None = None,
    from_base: Callable[..., Any] | None = None,
    score: Callable[..., Any] | None = None,
    sample: Callable[[], Any] | None = None,
    is_element: Callable[[Any], bool] | None = None,
    doc: str = "",
    values: str = "",
    most_positions: int = MOST_POSITIONS,
) -> ModalityManifest:
    """Manifest of a modality of grids of numbers, read and written in one pass, with an error as its metric.

    Functions are kept by name, so each is a ``def`` at the top of an importable module. A ``ValueError`` or
    ``TypeError`` that ``read``, ``to_base`` or ``from_base`` raises makes the row bad; its text is the reason.

    Args:
        name: Name of the modality, its preprocessor, adapter and head; the metric is ``<name>_error``.
        slot: Name of the slot type, as written in instructions; by default the name in capitals.
        shape: Numbers along each axis, such as ``(4, 6)``; None for an axis of any length. An answer is then as large
            as the attribute ``size=4x6`` says, else as the row's own value, else as most training values are.
        patch: Numbers along each axis that become one position; by default 1 each. Borders are padded.
        attributes: What a slot may say of its value, such as its unit.
        read: ``read(value)`` gives nested lists or an array; by default numbers are taken as they are, and from JSON.
        to_base: ``to_base(grid, attributes)``, float64 in the slot's unit -> the unit that all slots are learned and
            scored in.
        from_base: ``from_base(grid, attributes)`` undoes it: float32 in that unit -> the answer.
        score: ``score(answer, reference)``, both arrays in the base unit, gives the error of a pair, lower is better;
            by default the mean absolute difference.
        sample: ``sample()`` gives one valid value, for checks and documentation.
        is_element: Tells one value from a list of values; by default nesting tells, and all else is one value.
        doc: What a value is, in a few words.
        values: The Python values accepted, in words.
        most_positions: A grid of more positions than this is refused.

    Raises:
        PluginError: An argument cannot be used.
    """
    axes, cells = checked_axes(f"grid_modality '{name}'", shape, patch)
    if (to_base is None) != (from_base is None):
        raise PluginError(
            f"grid_modality '{name}': to_base and from_base undo each other; give both, or neither"
        )
    given = {
        "read": read,
        "to_base": to_base,
        "from_base": from_base,
        "score": score,
        "sample": sample,
    }
    named = {what: _named(name, what, function) for what, function in given.items()}
    wanted = (*attributes, *_size(axes))
    title = doc or f"A grid of {_written(axes)} numbers."
    accepted = (
        values or f"a grid of {_written(axes)} numbers: an array, nested lists, or these as JSON"
    )
    slot_type = SlotType(
        slot or name.upper(),
        title,
        name,
        accepted,
        is_element or IsGrid(len(axes)),
        wanted,
        sample=named["sample"] or None,
        default_metrics={"": f"{name}_error"},
    )
    components = _components(
        name,
        named,
        {
            "shape": list(axes),
            "patch": list(cells),
            "most_positions": most_positions,
            "attributes": {attribute.name: attribute.default for attribute in attributes},
        },
    )
    return ModalityManifest(name, CONTRACT, (slot_type,), components, title)


@dataclass(frozen=True)
class IsGrid:
    """Tells one grid from a list of grids by how deep it is nested. What is no list or array is one value."""

    rank: int

    def __call__(self, value: Any) -> bool:
        """True for one value."""
        if value is None:
            return False
        nested = isinstance(value, list | tuple) or hasattr(value, "ndim")
        return not nested or _depth(value, self.rank + 1) == self.rank


def author_function(what: str, target: str) -> Callable[..., Any]:
    """The function that an option of a grid's component names as ``"module:function"``.

    Raises:
        PluginError: It is not there; a model stores the name that the function had when it was made.
    """
    try:
        return cast("Callable[..., Any]", import_target(target))
    except (ImportError, AttributeError) as error:
        raise PluginError(
            f"the function '{target}' that a grid's option {what} names cannot be imported ({error}); "
            "a function keeps its module and name as long as models that were trained with it are in use"
        ) from error


_MEANINGS: Mapping[str, str] = {
    "shape": "Numbers along each axis; null: any.",
    "patch": "Numbers along each axis that become one position.",
    "most_positions": "A grid of more positions is refused.",
    "attributes": "Attribute -> default.",
    "read": "Function value -> grid; empty: numbers as they are.",
    "to_base": "Function from the slot's unit to that of the model; empty: none.",
    "from_base": "Function that undoes `to_base`; empty: none.",
}
"""Option of the preprocessor -> its sentence."""


def _components(
    name: str, named: Mapping[str, str], options: Mapping[str, Any]
) -> tuple[Component, ...]:
    """Shape and patch are options of the preprocessor alone; adapter and head find them in what it stores."""
    uses = {"adapter": name, "head": name, "criterion": "squared_error", "generator": "one_shot"}
    functions = {what: named[what] for what in ("read", "to_base", "from_base")}
    own = {what: Option(value, _MEANINGS[what]) for what, value in {**options, **functions}.items()}
    follows = {"preprocessor": Option(name, "Whose shape and patches it follows.")}
    metric = {
        "name": Option(f"{name}_error", "Name of the score."),
        "score": Option(
            named["score"],
            "Function (answer, reference) -> error; empty: the mean absolute difference.",
        ),
    }
    return (
        Component(
            "preprocessor",
            name,
            f"{_HOME}:GridPreprocessor",
            "Patches of a grid of numbers.",
            uses,
            own,
        ),
        Component(
            "adapter", name, f"{_HOME}:GridAdapter", "One position a patch.", options=follows
        ),
        Component("head", name, f"{_HOME}:GridHead", "The numbers of each patch.", options=follows),
        Component(
            "metric", f"{name}_error", f"{_HOME}:GridError", "Mean error of a grid.", options=metric
        ),
    )


def checked_axes(
    who: str, shape: Sequence[int | None], patch: Sequence[int]
) -> tuple[tuple[int | None, ...], tuple[int, ...]]:
    """Shape and patch of equal rank; without a patch, 1 along each axis.

    Raises:
        PluginError: They are no such tuples; ``who`` is named.
    """
    try:
        axes, cells = tuple(shape), tuple(patch) or (1,) * len(tuple(shape))
    except TypeError:
        raise PluginError(f"{who}: shape and patch are tuples such as (4, 6)") from None
    if not axes or len(axes) != len(cells):
        raise PluginError(f"{who}: shape {axes} and patch {cells} need as many axes, one or more")
    sizes = [*(axis for axis in axes if axis is not None), *cells]
    if any(type(size) is not int or size < 1 for size in sizes):
        raise PluginError(
            f"{who}: shape {axes} and patch {cells} hold numbers from 1, or None for an open axis"
        )
    return axes, cells


def _named(name: str, what: str, function: Callable[..., Any] | None) -> str:
    """``"module:function"``, by which other processes and stored models find it."""
    if function is None:
        return ""
    module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if not module or not path or "<" in path:
        raise PluginError(
            f"grid_modality '{name}': {what} must be a function at the top of its module, no lambda"
        )
    return f"{module}:{path}"


def _size(axes: tuple[int | None, ...]) -> tuple[Attribute, ...]:
    """The attribute that says how large an answer becomes, where that is not fixed."""
    if None not in axes:
        return ()
    example = "x".join(str(axis or 4) for axis in axes)
    return (
        Attribute(
            "size", "str", doc=f"how large the answer becomes, as {example}", sides=("target",)
        ),
    )


def _written(axes: tuple[int | None, ...]) -> str:
    return " x ".join(str(axis or "any") for axis in axes)


def _depth(value: Any, most: int) -> float:
    """How deep lists and arrays are nested, judged by the first of each; infinite from ``most`` on."""
    if most < 0:
        return math.inf
    axes = getattr(value, "ndim", None)
    if isinstance(axes, int) and getattr(getattr(value, "dtype", None), "kind", "") != "O":
        return axes
    if isinstance(value, list | tuple) or isinstance(axes, int):
        return 1 + (_depth(value[0], most - 1) if len(value) else 0)
    return 0
