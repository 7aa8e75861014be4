"""Pictures of what each modality does, from a trained run.

``python -m tools.docs.pictures docs/pictures RUN CODEC`` writes one for each modality. RUN is the folder of a run, or
of its evaluation, with its predictions and samples; CODEC one of ``ofa train-tokenizer``. Test rows are those of the
tasks' own data. Where answers are right or wrong, right ones stand first and one that is wrong is last.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageSequence

from ofa_modality_box.drawing import draw
from ofa_modality_image.codec.folder import artifact_in, load_codec
from ofa_modality_speech.picture import player
from ofa_modality_video.preview import moving_picture
from ofacore.plugin import Registry

_PAPER, _INK, _FAINT, _LINE = (255, 255, 255), (30, 40, 60), (110, 116, 128), (208, 212, 220)
_FONT = 13
_LINE_HEIGHT = _FONT + 4
_GAP, _SIDE, _FRAME = 12, 112, 88
_COLOURS = 128
_DATA = re.compile(r'src="data:image/[a-z]+;base64,([^"]+)"')

Cards = Sequence[Image.Image]


@dataclass(frozen=True)
class Answered:
    """A test row with what a run answered."""

    row: Mapping[str, Any]
    value: Any
    reference: Any
    right: bool


def answered(run: Path, task: str, slot: str) -> list[Answered]:
    """All rows that a run predicted, in their order.

    Raises:
        SystemExit: The run has no predictions of the task.
    """
    file = run / "predictions" / f"{task}.jsonl"
    if not file.is_file():
        raise SystemExit(f"{run}: no predictions of '{task}'; name the folder of `ofa eval`")
    registry = Registry.discover()
    rows = registry.resolve(registry.preset(task).data)()["test"]
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        number = int(one["row"].rpartition("[")[2].rstrip("]"))
        right = next(iter(one["scores"].values())) == 1
        found.append(Answered(rows[number], one["values"][slot], one["references"][slot], right))
    return found


def picked(found: Sequence[Answered], right: int, wrong: int = 1) -> list[Answered]:
    """The first that are right, of different references, and the first that are wrong."""
    good: dict[str, Answered] = {}
    for one in found:
        if one.right:
            good.setdefault(str(one.reference), one)
    return [*list(good.values())[:right], *[one for one in found if not one.right][:wrong]]


def card(pictures: Cards, said: str, reference: str = "") -> Image.Image:
    """Pictures side by side over a line of text and a faint one."""
    font = ImageFont.load_default(_FONT)
    lines = [(said, _INK), (reference, _FAINT)] if reference else [(said, _INK)]
    across = sum(each.width for each in pictures) + 4 * (len(pictures) - 1)
    width = max(across, *(round(font.getlength(line)) for line, _ in lines))
    top = max(each.height for each in pictures) + 6
    found = Image.new("RGB", (width, top + _LINE_HEIGHT * len(lines)), _PAPER)
    left = 0
    for each in pictures:
        found.paste(each, (left, 0))
        left += each.width + 4
    pen = ImageDraw.Draw(found)
    for number, (line, colour) in enumerate(lines):
        pen.text((0, top + _LINE_HEIGHT * number), line, fill=colour, font=font)
    return found


def sheet(*rows: Cards) -> Image.Image:
    """Rows of cards, from the left."""
    widths = [sum(each.width + _GAP for each in row) for row in rows]
    heights = [max(each.height for each in row) + _GAP for row in rows]
    found = Image.new("RGB", (max(widths) + _GAP, sum(heights) + _GAP), _PAPER)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        left = _GAP
        for each in row:
            found.paste(each, (left, top))
            left += each.width + _GAP
        top += height
    return found


def scaled(picture: Image.Image, side: int) -> Image.Image:
    """In a thin frame; small pictures show their pixels."""
    factor = side / max(picture.size)
    size = (round(picture.width * factor), round(picture.height * factor))
    how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
    shown = picture.convert("RGB").resize(size, how)
    ImageDraw.Draw(shown).rectangle((0, 0, size[0] - 1, size[1] - 1), outline=_LINE)
    return shown


def drawn(fragment: str) -> Image.Image:
    """The first picture in a fragment of a report."""
    found = _DATA.search(fragment)
    assert found is not None, fragment[:80]
    return Image.open(io.BytesIO(base64.b64decode(found[1])))


def frames(moving: Image.Image, most: int) -> list[Image.Image]:
    """Frames of an animation, evenly spread."""
    found = [scaled(frame.copy(), _FRAME) for frame in ImageSequence.Iterator(moving)]
    places = np.linspace(0, len(found) - 1, most).round().astype(int)
    return [found[place] for place in places]


def image(run: Path, codec: Path) -> Image.Image:
    """Above, pictures that are read; below, pictures and what their codes hold."""
    seen = []
    for one in picked(answered(run, "emoji_category", "category"), 4):
        shown = [scaled(Image.fromarray(one.row["img"]), _SIDE)]
        seen.append(card(shown, one.value, f"reference: {one.reference}"))
    coder = load_codec(artifact_in(codec))
    pairs = []
    for one in answered(run, "emoji_category", "category")[3:12:3]:
        pixels = one.row["img"]
        back = coder.decode(coder.encode(pixels[None]))[0]
        pair = [scaled(Image.fromarray(each), _SIDE) for each in (pixels, back)]
        pairs.append(card(pair, "picture | decoded from 64 codes"))
    return sheet(seen, pairs)


def box(run: Path, codec: Path) -> Image.Image:
    """Answers beside references."""
    cards = []
    for one in picked(answered(run, "grounding", "box"), 3):
        scene = Image.fromarray(one.row["img"])
        pair = [scaled(draw(scene, [each]), _SIDE + 16) for each in (one.value, one.reference)]
        cards.append(card(pair, f'where is "{one.row["cap"]}"?', "answer | reference"))
    return sheet(cards[:2], cards[2:])


def motion(run: Path, codec: Path) -> Image.Image:
    """Movements that are written, over those that were recorded, as the report draws them."""
    file = run / "samples" / "text_to_motion.jsonl"
    samples = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()[:2]]
    rows = []
    for one in samples:
        text = re.findall(r">([^<]+)</span>", one["inputs"])[0]
        rows.append([card(frames(drawn(one["answer"]), 7), text, "written")])
        rows.append([card(frames(drawn(one["reference"]), 7), text, "recorded")])
    return sheet(*rows)


def speech(run: Path, codec: Path) -> Image.Image:
    """Frequencies over time; a second is as wide in all of them."""
    cards = []
    for one in picked(answered(run, "spoken_words", "word"), 5):
        spectrum = drawn(player(one.row["wav"])).convert("RGB")
        size = (3 * spectrum.width, _SIDE)
        shown = spectrum.resize(size, Image.Resampling.BICUBIC)
        cards.append(card([shown], f"word: {one.value}", f"reference: {one.reference}"))
    return sheet(cards[:3], cards[3:])


def structured(run: Path, codec: Path) -> Image.Image:
    """Rows of one table, upright: a column each."""
    found = answered(run, "row_classification", "class")
    names = list(found[0].row["row"])
    alike = [one for one in found if list(one.row["row"]) == names]
    columns = [[*names, "class, answer", "class, reference"]]
    for one in picked(alike, 3):
        numbers = [f"{number:g}" for number in one.row["row"].values()]
        columns.append([*numbers, one.value, one.reference])
    font = ImageFont.load_default(_FONT)
    widths = [max(round(font.getlength(cell)) for cell in column) + 2 * _GAP for column in columns]
    last = len(names)
    size = (sum(widths), (_LINE_HEIGHT + 2) * (last + 2) + 2 * _GAP)
    page = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(page)
    left = _GAP
    for column, width in zip(columns, widths, strict=True):
        for number, cell in enumerate(column):
            colour = _FAINT if number > last or column is columns[0] else _INK
            pen.text((left, _GAP + (_LINE_HEIGHT + 2) * number), cell, fill=colour, font=font)
        left += width
    line = _GAP + (_LINE_HEIGHT + 2) * last - 1
    pen.line((_GAP, line, size[0] - _GAP, line), fill=_LINE)
    return page


def video(run: Path, codec: Path) -> Image.Image:
    """Frames of clips."""
    rows = []
    for one in picked(answered(run, "moving_direction", "direction"), 3, wrong=1):
        shown = frames(drawn(moving_picture(one.row["video"])), 6)
        said = f"which way does it move? {one.value}"
        rows.append([card(shown, said, f"reference: {one.reference}")])
    return sheet(*rows)


PICTURES: Mapping[str, Callable[[Path, Path], Image.Image]] = {
    "box": box,
    "image": image,
    "motion": motion,
    "speech": speech,
    "structured": structured,
    "video": video,
}


def main(folder: Path, run: Path, codec: Path) -> None:
    """Write all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in PICTURES.items():
        made(run, codec).quantize(_COLOURS).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
