"""An instruction without quotes, which a shell takes apart before the command sees it."""

from __future__ import annotations

from collections.abc import Sequence

from ofacore.ground.errors import UserError

_USES = {
    "train": "ofa train 'SOURCE -> TARGET' rows.csv",
    "explain": "ofa explain 'SOURCE -> TARGET'",
    "infer": "ofa infer RUN 'SOURCE -> TARGET'",
    "predict": "ofa predict RUN 'SOURCE -> TARGET' rows.csv",
}


def check_quotes(given: Sequence[str]) -> None:
    """Refuse the pieces of an instruction: an arrow for itself, or a dash whose ``>`` the shell has taken.

    Raises:
        UserError: The words of a command are such pieces.
    """
    command = next((word for word in given if not word.startswith("-")), "")
    if command not in _USES:
        return
    words = given[given.index(command) + 1 :]
    if any(word.strip() == "->" for word in words):
        raise UserError(f"the instruction is in pieces; put it into quotes: {_USES[command]}")
    if any(_is_left_of_an_arrow(command, words, place) for place in range(len(words))):
        lost = (
            "the shell took the '>' of its arrow, and made the file that is named behind it empty"
        )
        raise UserError(f"the instruction has no quotes: {lost}; write {_USES[command]}")


def _is_left_of_an_arrow(command: str, words: Sequence[str], place: int) -> bool:
    """Whether a word ends in the dash of an arrow; where rows may come from stdin, a dash alone may be meant."""
    word, behind = words[place], words[place + 1 : place + 2]
    if word != "-":
        return word.endswith("]-")
    return command != "predict" or any(not after.startswith("-") for after in behind)
