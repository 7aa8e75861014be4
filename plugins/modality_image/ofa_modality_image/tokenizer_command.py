"""``ofa train-tokenizer``: a codec of pictures, trained on a folder of them or on the data of a task."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from ofa_modality_image.codec.folder import PictureCodec, save_codec
from ofa_modality_image.codec.network import FSQ, QUANTISERS, CodecShape, ConvCodec
from ofa_modality_image.codec.training import CodecTraining, train_codec
from ofa_modality_image.codec.use import codes_used
from ofa_modality_image.loading import load_image
from ofa_modality_image.metrics import Psnr, Ssim
from ofacore.plugin import Registry, UserError, suggest
from ofacore.protocols import RowError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_HELD_OUT = 0.05
_MOST_HELD_OUT = 256
_EVERY = 2.0
"""Seconds from one line of progress to the next."""


def train_tokenizer(
    data: Annotated[
        str, typer.Argument(help="A folder of pictures, or a task with data of its own.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the codec to.")],
    column: Annotated[str, typer.Option(help="Column of the task's pictures.")] = "img",
    size: Annotated[int, typer.Option(help="Pixels on a side of a picture.", min=2)] = 32,
    factor: Annotated[int, typer.Option(help="Pixels on a side of a code's cell.", min=2)] = 4,
    quantiser: Annotated[
        str, typer.Option(help="What codes are: fsq, finite scalars; vq, a learned codebook.")
    ] = FSQ,
    levels: Annotated[str, typer.Option(help="fsq: levels of each number of a code.")] = "8,5,5,5",
    codebook: Annotated[int, typer.Option(help="vq: vectors of the codebook.", min=2)] = 1024,
    commitment: Annotated[
        float, typer.Option(help="vq: how strongly latents are held near their vectors.", min=0)
    ] = 0.25,
    width: Annotated[int, typer.Option(help="Channels of its layers.", min=8)] = 64,
    steps: Annotated[int, typer.Option(help="Steps of training.", min=1)] = 1500,
    batch: Annotated[int, typer.Option(help="Pictures of a step.", min=1)] = 16,
    seed: Annotated[int, typer.Option(help="Of what is drawn at random.")] = 0,
) -> None:
    """Train a codec of pictures for the preprocessor image_vqgan."""
    if quantiser not in QUANTISERS:
        hint = suggest(quantiser, QUANTISERS)
        raise UserError(f"--quantiser {quantiser}: it is none of {', '.join(QUANTISERS)}. {hint}")
    shape = CodecShape(
        factor,
        _levels(levels),
        width,
        quantiser=quantiser,
        codebook=codebook,
        commitment=commitment,
    )
    if (out / "config.json").exists():
        raise UserError(f"{out}: there is a codec already; name another folder, or remove it")
    pixels, bad = _pictures(_values(data, column), size)
    if len(pixels) < 2:
        raise UserError(f"{data}: {len(pixels)} pictures can be read; a codec needs two or more")
    for line in bad[:3]:
        print(f"left out: {line}")
    if len(bad) > 3:
        print(f"left out: {len(bad) - 3} more")
    order = np.random.default_rng(seed).permutation(len(pixels))
    held = max(1, min(_MOST_HELD_OUT, round(_HELD_OUT * len(pixels))))
    train, test = pixels[order[held:]], pixels[order[:held]]
    cells = (size // factor) ** 2
    print(f"{len(train)} pictures, {held} held out; {cells} codes each, of {shape.codes}")
    codec = train_codec(train, shape, CodecTraining(steps, batch, seed), _Told(steps))
    scores = reconstruction(codec, test)
    use = codes_used(codec, train)
    save_codec(codec, out, {"size": size, **scores, **use})
    told = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
    print(f"held-out pictures, coded and decoded: {told}")
    even = use["code_perplexity"]
    print(f"codes in use: {use['codes_in_use']:.1%}, as many as {even:.0f} that are used evenly")
    print(f"wrote {out}; use it by options: preprocessor/image_vqgan: {{path: {out}}}")


def reconstruction(codec: ConvCodec, pixels: np.ndarray) -> dict[str, float]:
    """PSNR and SSIM of uint8 pictures [N, Y, X, 3] that were coded and decoded."""
    coded = PictureCodec(codec, codec.shape.codes, codec.shape.factor)
    back = [Image.fromarray(picture) for picture in coded.decode(coded.encode(pixels))]
    clean = [Image.fromarray(picture) for picture in pixels]
    found: dict[str, float] = {}
    for metric in (Psnr({}), Ssim({})):
        metric.update(back, clean, [{}] * len(back))
        found.update(metric.compute())
    return found


class _Told:
    """A line of progress every few seconds."""

    def __init__(self, steps: int) -> None:
        self._steps, self._last = steps, time.monotonic()

    def __call__(self, step: int, error: float) -> None:
        if time.monotonic() - self._last >= _EVERY or step == self._steps:
            self._last = time.monotonic()
            print(f"step {step}/{self._steps}  error {error:.4f}", flush=True)


def _levels(written: str) -> tuple[int, ...]:
    parts = [part.strip() for part in written.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"--levels {written}: write numbers with commas, such as 8,5,5,5")
    return tuple(int(part) for part in parts)


def _values(data: str, column: str) -> Iterator[Any]:
    """Pictures of a folder, or of the training data of a task.

    Raises:
        UserError: There is neither.
    """
    folder = Path(data)
    if folder.is_dir():
        return _of_folder(folder)
    registry = Registry.discover()
    names = registry.names("preset")
    if data not in names:
        hint = suggest(data, names) or "`ofa tasks list` shows the tasks"
        raise UserError(
            f"{data}: it is neither a folder of pictures nor the name of a task; {hint}"
        )
    preset = registry.preset(data)
    if not preset.data:
        raise UserError(f"{data}: this task has no data of its own; give a folder of pictures")
    rows = registry.resolve(preset.data)()["train"]
    if rows and column not in rows[0]:
        known = ", ".join(rows[0])
        raise UserError(f"--column {column}: the data of '{data}' have the columns {known}")
    return (row[column] for row in rows)


def _of_folder(folder: Path) -> Iterator[Path]:
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    return iter(sorted(paths))


def _pictures(values: Iterator[Any], size: int) -> tuple[np.ndarray, list[str]]:
    """uint8 [N, size, size, 3], and what is wrong with the others."""
    found, bad = [], []
    for value in values:
        try:
            image = load_image(value, "picture").resize((size, size), Image.Resampling.BICUBIC)
            found.append(np.array(image))
        except RowError as error:
            bad.append(str(error))
    return np.stack(found) if found else np.zeros((0, size, size, 3), np.uint8), bad
