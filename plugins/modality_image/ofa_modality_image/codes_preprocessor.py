"""Pictures as grids of codes: tokens with two coordinates, and pictures of them again."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ofa_modality_image.canvas import Canvas, cells_of, hidden_cells
from ofa_modality_image.codec.codec_error import CodecError
from ofa_modality_image.codec.folder import (
    PictureCodec,
    artifact_in,
    artifact_of,
    described,
    load_codec,
)
from ofa_modality_image.codec.gathering import pictures_to_fit
from ofa_modality_image.codec.network import CodecShape
from ofa_modality_image.codec.training import CodecTraining, train_codec
from ofa_modality_image.codec.use import codes_used
from ofa_modality_image.grid import grid_coordinates
from ofa_modality_image.written import WrittenPictures, covered
from ofacore.protocols import (
    Artifact,
    Block,
    Hypothesis,
    Options,
    RowContext,
    RowError,
    Segment,
    SlotPlan,
    TargetSpec,
    TokenSegment,
    Vocabulary,
)

_MOST_KNOWN = 8192
"""Pictures whose codes are kept."""

logger = logging.getLogger("ofacore.training")


class CodesPreprocessor(WrittenPictures):
    """``image_vqgan``: one token for each cell of ``factor`` x ``factor`` pixels, by a codec.

    The codec is that of the folder ``path``; without one it is trained on the pictures of the tasks when the model is
    created: ``fit_steps`` steps, but no more than ``fit_passes`` passes. It is stored with the model.
    """

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._artifact: Artifact | None = None
        self._codec: PictureCodec | None = None
        self._known: dict[bytes, np.ndarray] = {}
        self._block, self._first, self._count, self._factor = "", 0, 0, 1

    def __getstate__(self) -> dict[str, Any]:
        """Workers get the path of the codec, not the codec."""
        return {**self.__dict__, "_codec": None, "_known": {}}

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """`fit_slots` of values that belong to no slot: they have the size of the options."""
        side = int(self._options["size"])
        return self._fitted(((side, value) for value in values), rng)

    def fit_slots(
        self, values: Iterable[tuple[SlotPlan, Any]], rng: np.random.Generator
    ) -> Artifact | None:
        """The codec: that of ``path``, or one trained on at most ``fit_pictures`` pictures at the size of their slots.

        Raises:
            CodecError: The folder holds no codec, or there is no picture to train one on.
        """
        return self._fitted(((self.side(slot), value) for slot, value in values), rng)

    def _fitted(
        self, values: Iterable[tuple[int, Any]], rng: np.random.Generator
    ) -> Artifact | None:
        if path := str(self._options.get("path") or ""):
            return artifact_in(Path(path))
        shape = CodecShape(
            int(self._options["factor"]),
            tuple(int(level) for level in self._options["levels"]),
            int(self._options["width"]),
            quantiser=str(self._options["quantiser"]),
            codebook=int(self._options["codebook"]),
            commitment=float(self._options["commitment"]),
        )
        seed = int(rng.integers(2**31))
        pixels = pictures_to_fit(values, int(self._options["fit_pictures"]), rng)
        training = CodecTraining(seed=seed)
        passes = -(-int(self._options["fit_passes"]) * len(pixels) // training.batch)
        steps = min(int(self._options["fit_steps"]), passes)
        logger.warning(
            "image_vqgan: a codec is trained for %d steps on %d pictures; `ofa train-tokenizer` makes one to keep",
            steps,
            len(pixels),
        )
        codec = train_codec(pixels, shape, replace(training, steps=steps))
        use = codes_used(codec, pixels)
        logger.warning(
            "image_vqgan: %.0f%% of the codec's %d codes are in use, as many as %.0f used evenly",
            100 * use["codes_in_use"],
            shape.codes,
            use["code_perplexity"],
        )
        return artifact_of(codec)

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """One block, named by the number of codes and by the codec."""
        if artifact is None:
            raise CodecError(
                "image_vqgan has no codec: fit was not called, or its artifact is missing"
            )
        count, _ = described(artifact)
        return (Block(f"image/codes:{count}:{artifact.digest}", count),)

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Take the place of the block in the vocabulary; the codec is read when it is first needed."""
        (block,) = self.blocks(artifact)
        assert artifact is not None
        self._artifact, self._codec, self._known = artifact, None, {}
        self._count, self._factor = described(artifact)
        self._block, self._first = block.name, vocabulary.offset(block.name)

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One segment of tokens, row by row, with the coordinates of their cells.

        Codes that are given are those of the picture without its hidden part, so that they tell nothing of it.

        Raises:
            RowError: The value is no picture, ``inpaint`` cannot be used, or cells do not fill the size.
        """
        cells = self._cells(slot)
        pixels = self.pixels(value, slot, ctx)
        ids = self._ids(pixels)
        coordinates = grid_coordinates(cells, cells)
        segment = TokenSegment(ids, (self._block,), open=False, coordinates=coordinates)
        if slot.side == "source":
            return [segment]
        if not slot.loss:
            segment.weights = np.zeros(len(ids), bool)
            return [segment]
        _check_filling(slot)
        hidden = self.hidden(slot, ctx)
        if hidden is not None:
            learned = hidden_cells(hidden, cells)
            segment.weights = learned
            segment.inputs = np.where(learned, ids, self._ids(covered(pixels, hidden)))
        return [segment]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """A code for each cell. Publishes a `Canvas` for generators that fill in.

        Raises:
            RowError: Parts should be given, but the row has no picture; or cells do not fill the size.
        """
        cells, own, hidden = self._cells(slot), None, None
        _check_filling(slot)
        if ctx.split != "train":
            own, hidden = self.own(slot, ctx), self.hidden(slot, ctx)
        given, known = np.zeros(cells * cells, np.int64), np.zeros(cells * cells, bool)
        if own is not None and hidden is not None:
            given, known = self._ids(covered(own, hidden)), ~hidden_cells(hidden, cells)
        ctx.published.put(slot.name, Canvas((cells, cells), given, known))
        return TargetSpec(
            (self._block,),
            open=False,
            length=cells * cells,
            coordinates=grid_coordinates(cells, cells),
        )

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Image.Image:
        """An RGB picture of PIL; a token that is no code counts as the first."""
        cells = self._cells(slot)
        local = np.asarray(hypothesis.value, np.int64).reshape(-1) - self._first
        codes = np.zeros(cells * cells, np.int64)
        shown = local[: len(codes)]
        codes[: len(shown)] = np.where((shown >= 0) & (shown < self._count), shown, 0)
        return Image.fromarray(self.codec.decode(codes.reshape(1, cells, cells))[0])

    @property
    def codec(self) -> PictureCodec:
        """The codec, read at first use.

        Raises:
            CodecError: It is not bound, or its weights do not fit.
        """
        if self._codec is None:
            if self._artifact is None:
                raise CodecError("image_vqgan has no codec yet: bind was not called")
            self._codec = load_codec(self._artifact)
        return self._codec

    def _ids(self, pixels: np.ndarray) -> np.ndarray:
        """int64 [cells], of a picture that was seen lately without asking the codec again."""
        key = hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = self.codec.encode(pixels[None]).reshape(-1).astype(np.int32)
        return self._known[key].astype(np.int64) + self._first

    def _cells(self, slot: SlotPlan) -> int:
        return cells_of(self.side(slot), self._factor, slot)


def _check_filling(slot: SlotPlan) -> None:
    """Codes one after the other cannot go around what is given.

    Raises:
        RowError: They should.
    """
    if slot.attributes.get("inpaint") and not slot.corruption:
        raise RowError(
            f"column '{slot.name}': inpaint needs codes that are filled in, not written one after the other; "
            "write corruption=masked_codes,generator=maskgit"
        )
