"""The instruction language: one line declares a task.

``parse`` reads an instruction into a syntax tree, ``format`` writes the tree back, ``split_templates`` takes a
list of templates apart. A mistake raises ``InstructionError``, which shows the place and a way out; ``caret``
draws the same picture for callers that find something wrong with a slot later on.
"""

from ofacore.instruction.formatter import format
from ofacore.instruction.parser import MAX_DEPTH, parse
from ofacore.instruction.syntax_error import InstructionError, caret
from ofacore.instruction.templates import split_templates
from ofacore.instruction.tree import (
    Contrast,
    Instruction,
    Node,
    OptionalGroup,
    Plain,
    Repeat,
    Slot,
    WrittenAttribute,
)

__all__ = [
    "MAX_DEPTH",
    "WrittenAttribute",
    "Contrast",
    "Instruction",
    "InstructionError",
    "Node",
    "OptionalGroup",
    "Plain",
    "Repeat",
    "Slot",
    "caret",
    "format",
    "parse",
    "split_templates",
]
