"""Classification by the encoder alone, on pixel patches with a class token and learned positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ofacore.generalist.facade import Generalist
from ofacore.setup.task import Task

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def test_patches_are_fine_tuned_and_the_class_token_answers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for name, colour in list(COLOURS.items()) * 4:
        noise = rng.integers(-40, 40, (16, 16, 3))
        rows.append(
            {"img": np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8), "kind": name}
        )
    slot = "[IMAGE:img,size=16,augment=none,adapter=image_patch_embed]"
    task = Task(
        "kinds",
        f"{slot} -> [TEXT:kind,preprocess=category,head=pooling,generator=pooling]",
        train=rows,
        losses=[{"criterion": "pooled_cross_entropy", "hidden": "img", "labels": "kind"}],
    )
    model = Generalist.create(
        [task],
        "tiny",
        hidden=32,
        ffn=32,
        heads=2,
        encoder_layers=1,
        decoder_layers=1,
        dropout=0.0,
        positions="untied",
        entangle_positions=True,
        adapters={"image_patch_embed": {"patch": 8, "class_token": True, "grid": 2, "bare": True}},
        heads_options={"pooling": {"norm_after": True}},
    )
    model.fit(40, out=tmp_path / "run", samples=6, workers=0, optimizer={"lr": 3e-3})
    outputs = model.infer("kinds", [{"img": row["img"]} for row in rows])
    assert [output.text for output in outputs] == [row["kind"] for row in rows]
