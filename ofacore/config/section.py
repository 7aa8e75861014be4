"""What all sections of a run's configuration are made of: their base, and kinds of values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from ofacore.config.closed_values import closed_values


def _compiles(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from None
    return text


def _decodes(name: str) -> str:
    try:
        "".encode(name or "utf-8")
    except (LookupError, ValueError):
        raise ValueError(
            "an encoding of text that Python knows, such as cp1252 or shift_jis"
        ) from None
    return name


def _unescaped(text: Any) -> Any:
    """A shell passes a tab on as it is written in YAML."""
    return "\t" if text == "\\t" else text


def _number(value: Any) -> Any:
    """To Python a truth value is a number; to whoever writes a configuration it is not."""
    if isinstance(value, bool):
        raise ValueError("a number")
    return value


def _is_number(annotation: Any) -> bool:
    """Whether a field holds numbers, and nothing else but None and words from a list."""
    members = set(_members(annotation))
    words = {member for member in members if get_origin(member) is Literal}
    return bool(members & {int, float}) and members - words <= {int, float, type(None)}


def _members(annotation: Any) -> Iterator[Any]:
    """The types that a field may have."""
    if get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    elif get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    else:
        yield annotation


Pattern = Annotated[str, AfterValidator(_compiles)]
"""A regular expression."""
Character = Annotated[
    str, BeforeValidator(_unescaped), Field(max_length=1, pattern=r"^[\x00-\x7f]?$")
]
Encoding = Annotated[str, AfterValidator(_decodes)]
Empty = Literal["text", "absent"]
Share = Annotated[float, BeforeValidator(_number), Field(ge=0, lt=1)]


def _without_numpy(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.tolist() if hasattr(value, "tolist") else value
        for name, value in values.items()
    }


GenerationValues = Annotated[dict[str, Any], AfterValidator(_without_numpy)]
"""Option of generation -> value; which there are say the generators."""
Factor = Annotated[float, BeforeValidator(_number), Field(ge=0)]
Epochs = Annotated[float, Field(gt=0, le=10**9)]
ClassWeights = Literal["balanced"] | dict[str, Factor]
"""``balanced``: each class in inverse proportion to its rows; or value -> factor."""
ClosedValues = Annotated[Any, BeforeValidator(closed_values)]
"""A list of plain values, a file with one a line, or {column: name}."""


class Section(BaseModel):
    """Base of every section: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        return _number(value) if _is_number(annotation) else value
