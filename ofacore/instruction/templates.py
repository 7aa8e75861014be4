"""Lists of templates written in one text."""

from __future__ import annotations

from ofacore.instruction.lexing import tokenize
from ofacore.instruction.syntax_error import InstructionError


def split_templates(text: str) -> list[str]:
    r"""Split ``A ||| B`` at the bars outside brackets; ``\|||`` is no separator and stays as written.

    The templates are stripped, not parsed.

    Raises:
        InstructionError: A template is empty.
    """
    bars = [token for token in tokenize(text) if token.kind == "|||"]
    starts = [0, *(bar.end for bar in bars)]
    ends = [*(bar.start for bar in bars), len(text)]
    templates = [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]
    if "" in templates:
        hint = r"A -> B ||| C -> D; bars in the text are written \|||" if bars else None
        raise InstructionError("a template is empty", text, starts[templates.index("")], hint)
    return templates
