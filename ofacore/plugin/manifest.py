"""What a plugin says about itself: frozen data, read without importing what it describes.

A manifest imports this module and nothing heavy. Implementations are named as ``"package.module:Object"`` strings and
are imported at first use. Every manifest class carries the version of the contract that it was written against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

CONTRACT: tuple[int, int] = (2, 0)
"""Version (major, minor) of the plugin contract that this core offers."""

AttributeType = Literal["flag", "int", "float", "str", "choice", "slot"]
OptionType = Literal["flag", "int", "float", "str", "list", "section", "any"]
Side = Literal["source", "target"]
Division = Literal["tensor", "sequence", "pipeline", "expert", "fsdp"]
Widget = Literal["text", "number", "file"]


@dataclass(frozen=True)
class Attribute:
    """One attribute that a slot type understands, as in ``[TEXT:t,max_length=20]``.

    A ``flag`` is written without a value; a ``slot`` names another slot of the instruction.
    """

    name: str
    type: AttributeType = "flag"
    default: Any = None
    """None: where the attribute is not written, `ofacore.protocols.SlotPlan.attributes` is without it."""
    doc: str = ""
    sides: tuple[Side, ...] = ("source", "target")
    choices: tuple[str, ...] = ()
    """Of a ``choice`` its values. Of a ``slot`` the types of slot that it may name: where it is not written, the
    nearest of them that stands before is meant. Without them it may name any; not written, it then means none."""
    minimum: float | None = None
    maximum: float | None = None
    required: bool = False
    """A slot on one of ``sides`` that does not write it is refused, where there is no default and, of a ``slot``, none
    that could be meant stands before."""


@dataclass(frozen=True)
class Option:
    """What a component says of one of its options, as `Attribute` does of an attribute."""

    default: Any = None
    doc: str = ""
    """One sentence, for the reference and for error messages."""
    type: OptionType | None = None
    """None: that of the default; ``any`` where there is no default, or none that a configuration could hold."""
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    shared: bool = False
    """For an option of a preprocessor: the components that serve its slots take its value for their option of the same
    name, so that a configuration sets it once. What the configuration sets for one of them alone goes before."""


@dataclass(frozen=True)
class Component:
    """A named implementation: ``kind`` and ``name`` together are unique in a registry."""

    kind: str
    """One of the core's kinds, or one that an installed plugin declares with `Kind`."""
    name: str
    target: str
    """``"package.module:Object"``, imported at first use."""
    doc: str = ""
    uses: Mapping[str, str] = field(default_factory=dict)
    """For a preprocessor: the components that serve its segments unless the slot says otherwise; keys ``adapter``,
    ``head``, ``criterion``, ``generator``, ``corruption``. One whose values are read alone names an adapter and
    nothing else."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Every option the implementation takes: name -> `Option`, or its default alone. A configuration may set these and
    no others. Read, it is name -> default; ``declared`` holds the rest."""
    collective: bool = False
    """For an adapter: its forward takes part in collective communication, so no rank may skip it."""
    batch_coupled: bool = False
    """The result for one sample depends on the other samples of the batch."""
    check: str = ""
    """For a generator: ``"package.module:function"``, called as ``function(options, slot)`` for every target slot that
    it serves, with all its options, before any work. It raises ValueError where options contradict each other or the
    slot. It must not import heavy libraries."""
    declared: Mapping[str, Option] = field(default_factory=dict, repr=False)
    """Filled in from ``options``: each with its type, bounds and sentence."""
    divides: tuple[Division, ...] = ()
    """For a backbone: ways in which its own layers can be divided among processes. Data ranks need none of them."""
    builds_on: tuple[str, ...] = ()
    """For a preprocessor: names of the preprocessors whose tokens it uses. They are fitted, stored and loaded with it,
    whether a slot uses them or not; see `ofacore.protocols.BuiltOnOthers`."""
    aliases: tuple[str, ...] = ()
    """Names that it had in older versions: configurations, instructions and checkpoints may go on using them."""
    settings: str = ""
    """For a backbone that stands for a finished model: ``"package.module:function"``, called as ``function(options)``
    before a new model is planned. It gives what the configuration shall be unless it says otherwise: ``{"model": {key:
    value}, "options": {"kind/name": {option: value}}}``. An import reads two more: ``"instruction"``, what such a model
    is asked, and ``"slots"``, type -> attributes of slots. It raises `PluginError` where the options mean no model."""

    def __post_init__(self) -> None:
        declared: dict[str, Option] = {}
        for name, given in self.options.items():
            known = self.declared.get(name, Option())
            declared[name] = given if isinstance(given, Option) else replace(known, default=given)
        object.__setattr__(self, "declared", declared)
        object.__setattr__(
            self, "options", {name: option.default for name, option in declared.items()}
        )


@dataclass(frozen=True)
class Kind:
    """A kind of component that a plugin declares, so that other plugins can announce components of it."""

    name: str
    """In small letters, such as ``ensemble``; unlike the core's kinds."""
    protocol: str
    """``"package.module:Protocol"`` of what a component of this kind offers."""
    doc: str = ""
    """What such a component does, in a few words."""


@dataclass(frozen=True)
class SlotType:
    """A kind of value that an instruction can hold, such as ``TEXT``."""

    name: str
    doc: str
    preprocessor: str
    """Default preprocessor; ``[TYPE:x,preprocess=other]`` chooses another."""
    values: str
    """The Python values accepted, in words, for error messages and the reference."""
    is_element: Callable[[Any], bool]
    """True for one value of this type, False for a list of values or anything else. A function of its module, no
    lambda: worker processes import it. Must not import heavy libraries."""
    attributes: tuple[Attribute, ...] = ()
    views: tuple[str, ...] = ()
    """Names under which an output of this type can be read, as ``out.text``."""
    sample: Any = None
    """``"package.module:function"`` that returns one valid value, for checks and documentation."""
    row_transform: str | None = None
    """``"package.module:Object"`` of a `RowTransform` that may change several columns of a row together."""
    serves_plain_text: bool = False
    """This type encodes the plain text of instructions. One type in the whole registry."""
    bound_to: str = ""
    """Name of the ``slot`` attribute that binds a value to another slot (a box to its image); else empty."""
    takes_files: bool = False
    """A value may be the path of a file, or its bytes. Relative paths are looked for in the working directory and
    beside the table that names them, in the spelling of any system; ``{bytes, path}`` becomes bytes or path."""
    aliases: tuple[str, ...] = ()
    """Names that it had in older versions."""
    widget: Widget = "text"
    """How a person enters a value, on a page or elsewhere; where a slot has a closed set, by choice."""
    parse: str = ""
    """``"package.module:function"`` from what was entered to the value: text, a number, or of ``file`` the path of a
    file or its bytes. A ``ValueError`` says what is wrong. Empty: what was entered is the value."""
    target_preprocessor: str = ""
    """Default preprocessor of slots that are learned, where what is read takes another form than what is written;
    empty: ``preprocessor``."""
    default_metrics: Mapping[str, str] = field(default_factory=dict)
    """Attribute of a target slot -> the metric that it is scored by where ``ofa train`` gets an instruction in place
    of a configuration, which names its metrics itself; the empty key is for slots that have none of the attributes. Two
    keys are facts of the data: ``numbers``, all values of the training rows are numbers, and ``repeat``, the slot
    stands in a repeat, where no other key counts. A metric that is not installed is passed over."""
    saved_as: str = ""
    """Ending of the files that generated values are kept in, such as ``.png``, where a table of answers cannot hold
    them; its preprocessors write such files (`ofacore.protocols.FileWriting`). Empty: values are plain."""
    needs_column: bool = True
    """False: rows need no column for a slot of this type, as its ``row_transform`` gives them a value."""


@dataclass(frozen=True)
class ModalityManifest:
    """Slot types and the components that serve them."""

    name: str
    contract: tuple[int, int]
    slots: tuple[SlotType, ...]
    components: tuple[Component, ...] = ()
    doc: str = ""


@dataclass(frozen=True)
class MetricUse:
    """A metric on one target slot of a task."""

    metric: str
    slot: str
    options: Mapping[str, Any] = field(default_factory=dict)
    references: str = ""
    """Column that holds the references; empty means the slot's own column."""


@dataclass(frozen=True)
class LossUse:
    """One loss term: a criterion on the hidden states of a slot. Without any, each target slot has its default."""

    criterion: str
    hidden: str
    labels: str = ""
    weight: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    head: str = ""
    """Head between the two; empty: that of the slot that gives the labels."""


@dataclass(frozen=True)
class TaskPreset:
    """A task that can be used by name; the user gives the data, or the preset's starter data are fetched."""

    name: str
    instructions: tuple[str | tuple[str, float], ...]
    doc: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column name -> what it holds, in words."""
    transforms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column -> names of ``transform`` components, applied in order, at training and at inference alike."""
    metrics: tuple[MetricUse, ...] = ()
    """The first one is the task's score."""
    losses: tuple[LossUse, ...] = ()
    closed_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Slot name -> its allowed values; where empty, the values seen in the training data."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    data: str = ""
    """``"package.module:function"`` returning the splits of the starter data, or empty."""
    baseline: str = ""
    """``"package.module:function"`` taking the splits and returning one predicted row for each test row."""
    baseline_doc: str = ""
    """What the baseline does, in a few words: ``majority``, ``copy``."""
    weight: float = 1.0
    """Share of samples relative to other tasks."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Task options: ``decoder_plain_with_loss``, ``prompt_slot``, ``drop_prompt``."""
    starter: bool = False
    """Part of the default generalist that ``ofa train starter`` trains."""
    row_transforms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``row_transform`` component -> its options; applied in order, behind the transforms of columns."""
    aliases: tuple[str, ...] = ()
    """Names that it had in older versions."""


@dataclass(frozen=True)
class TaskManifest:
    """A family of task presets."""

    name: str
    contract: tuple[int, int]
    presets: tuple[TaskPreset, ...]
    components: tuple[Component, ...] = ()
    doc: str = ""


@dataclass(frozen=True)
class ComponentManifest:
    """Named parts that belong to no modality: criteria, metrics, schedules, routers, backbones ..."""

    name: str
    contract: tuple[int, int]
    components: tuple[Component, ...]
    doc: str = ""
    kinds: tuple[Kind, ...] = ()
    """Kinds of components beside those of the core; their components may stand here or in other plugins."""


@dataclass(frozen=True)
class CommandManifest:
    """A command that ``ofa`` gets from a plugin; its entry point stands in the group ``ofa.command``."""

    name: str
    """What is typed behind ``ofa``, in small letters with hyphens; the name of the entry point too. Two words stand
    for a command below one of ``ofa`` itself: ``plugins new``."""
    contract: tuple[int, int]
    target: str
    """``"package.module:app"``, a Typer application or a function, imported when the command is called."""
    doc: str
    """One line for ``ofa --help``, which does not import the target."""

    @property
    def components(self) -> tuple[Component, ...]:
        """None: a command is no part of a model."""
        return ()


Manifest = ModalityManifest | TaskManifest | ComponentManifest | CommandManifest
