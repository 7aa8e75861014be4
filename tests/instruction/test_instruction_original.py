"""Instructions of OFASys v0.1.0 parse to the slots, names and attributes that it finds in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ofacore.instruction import InstructionError, Node, Plain, Slot, format, parse

CASES: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("original_instructions.json").read_text()
)
SILENT_MISTAKES = CASES.pop()


def _item(side: str, node: Node) -> dict[str, object]:
    if isinstance(node, Plain):
        return {"side": side, "plain": node.text}
    assert isinstance(node, Slot)
    attributes = [a.key if a.value is None else f"{a.key}={a.value}" for a in node.attributes]
    return {"side": side, "type": node.type, "name": node.name, "attributes": attributes}


@pytest.mark.parametrize("case", CASES, ids=[case["text"] for case in CASES])
def test_finds_what_the_original_finds(case: dict[str, Any]) -> None:
    instruction = parse(case["text"])
    sides = {"source": instruction.source, "target": instruction.target}
    assert [_item(side, node) for side, nodes in sides.items() for node in nodes] == case["items"]
    positions = [node.position for node in instruction.walk() if isinstance(node, Plain | Slot)]
    assert positions == list(range(len(case["items"])))


@pytest.mark.parametrize("case", CASES, ids=[case["text"] for case in CASES])
def test_formatting_keeps_what_the_original_finds(case: dict[str, Any]) -> None:
    instruction = parse(case["text"])
    assert parse(format(instruction)) == instruction


def test_a_mistake_that_the_original_reads_as_text_is_an_error() -> None:
    with pytest.raises(InstructionError) as caught:
        parse(SILENT_MISTAKES["text"])
    assert SILENT_MISTAKES["text"][caught.value.position :].startswith("text:x]")
    assert (
        SILENT_MISTAKES["items"][0]["plain"]
        == "not a slot: [text:x] [TEXT: x] [UNKNOWN:y] [TEXT:a-b]"
    )


@pytest.mark.parametrize("text", ["no arrow here [TEXT:x]", "[TEXT:a] -> [TEXT:b] -> [TEXT:c]", ""])
def test_rejects_what_the_original_rejects(text: str) -> None:
    with pytest.raises(InstructionError):
        parse(text)
