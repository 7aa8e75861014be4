"""Errors of planning, shown like errors of the language: with line, column and a caret."""

from __future__ import annotations

from ofacore.instruction import InstructionError


class PlanError(InstructionError):
    """The instruction is well-formed, but what it asks for does not exist or does not fit."""
