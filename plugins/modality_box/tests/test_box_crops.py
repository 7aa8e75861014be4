"""A row with a box is bad only where its data are, never for a crop that was drawn."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ofacore import Generalist, Task
from ofacore.parts import PlaneView
from ofacore.sources.data_errors import EncodeError

SIZES = {"hidden": 16, "ffn": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
PICTURE = Image.fromarray(np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3))
ROW = {
    "img": PICTURE,
    "corner": [57, 37, 60, 40],
    "list": [[0, 0, 2, 2], [0, 36, 3, 40]],
    "names": ["dot", "dots"],
    "groups": [[[57, 37, 60, 40]], [[0, 0, 2, 2], [0, 36, 3, 40]]],
    "t": "x",
}
LINES = {
    "learned": "[IMAGE:img,size=16] where? -> [BOX:corner]",
    "mirrored": "[IMAGE:img,size=16,augment=flip] where? -> [BOX:corner]",
    "far smaller": "[IMAGE:img,size=16,preprocess=imagenet] where? -> [BOX:corner]",
    "given": "[IMAGE:img,size=16] what is in [BOX:corner]? -> [TEXT:t]",
    "several": "[IMAGE:img,size=16] where? -> ([BOX:list])*",
    "grouped": "[IMAGE:img,size=16] what is where? -> ([TEXT:names] [BOX:groups,many])*",
}


@pytest.fixture(scope="module")
def encoders():
    tasks = [Task(name, line, train=[ROW]) for name, line in LINES.items()]
    return Generalist.create(tasks, **SIZES).assembly.encoders


def encoded(encoder, seed, row=ROW):
    rng = np.random.default_rng(seed)
    return encoder.encode(row, split="train", rng=rng, row_id="0", keep_context=True)


@pytest.mark.parametrize("name", sorted(LINES.keys() - {"grouped"}))
def test_a_crop_keeps_a_box_at_the_edge_in_view(encoders, name):
    column = "list" if name == "several" else "corner"
    crops = set()
    for seed in range(60):
        example = encoded(encoders[name], seed)
        view = example.context.published.one("img", PlaneView)
        crops.add(view.affine.tobytes())
        boxes = example.context.row[column] if name == "several" else [ROW["corner"]]
        assert boxes
        for x0, y0, x1, y1 in boxes:
            corners = view.affine @ np.array([[x0, x1], [y0, y1], [1, 1]])
            seen = corners.clip(0, 16)
            share = np.prod(np.abs(np.diff(seen))) / np.prod(np.abs(np.diff(corners)))
            assert share >= 0.2
    assert len(crops) > 30, "pictures are still cropped at random"


def test_groups_of_boxes_lose_what_a_crop_leaves_out(encoders):
    rows = [encoded(encoders["grouped"], seed).context.row for seed in range(40)]
    assert all(len(row["names"]) == len(row["groups"]) > 0 for row in rows)
    assert {len(row["names"]) for row in rows} == {1, 2}


def test_a_box_outside_of_its_picture_is_still_a_bad_row(encoders):
    with pytest.raises(EncodeError, match="column 'corner'.*does not overlap"):
        encoded(encoders["learned"], 0, {**ROW, "corner": [80, 50, 90, 60]})
