"""Networks of autoregressive synthesis (Tacotron 2, Shen et al. 2018): what reads frames, and what writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.rnn import pad_sequence

from ofa_modality_speech.foreign import line_of, writing_options

if TYPE_CHECKING:
    from ofacore.protocols import BuildContext, HeadContext, Options

_PRENET, _PRENET_LAYERS = 256, 2
_KERNEL, _POSTNET_LAYERS = 5, 5


class Prenet(nn.Module):
    """Two narrow layers whose states are dropped by half in training, so that frames before tell little."""

    def __init__(self, width: int, hidden: int, share: float) -> None:
        super().__init__()
        self.share = share
        sizes = [width] + [_PRENET] * _PRENET_LAYERS
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = nn.ModuleList([nn.Linear(before, after) for before, after in pairs])
        self.out = nn.Linear(_PRENET, hidden)

    def forward(self, steps: Tensor) -> Tensor:
        """[n, hidden] of steps [n, width]."""
        for layer in self.layers:
            steps = dropout(layer(steps).relu(), self.share, self.training)
        return self.out(steps)  # type: ignore[no-any-return]


class FrameByFrameAdapter(nn.Module):
    """``audio_tgt_fbank``: frames of the step before, by a prenet; one position a step."""

    axes: ClassVar[int] = 1

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        options = context.options
        self._width = int(options["bins"]) * int(options["max_frames_per_step"])
        self.line = line_of(options["line"])
        self.prenet = Prenet(self._width, context.hidden, float(options["dropout"]))

    @staticmethod
    def foreign_options(
        shapes: Mapping[str, tuple[int, ...]], settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """See `ofacore.protocols.ForeignAdapter`."""
        return writing_options(shapes, settings)

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """One position a step."""
        return shape[0]

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [steps, 3]: (i, i, i)."""
        return np.repeat(np.arange(shape[0])[:, None], 3, axis=1)

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [sum of steps, H].

        Args:
            features: ``steps`` [sum of steps, bins * max_frames_per_step], zeros at the first.
            shapes: (steps,) of each sound.

        Raises:
            ValueError: The preprocessor makes other steps.
        """
        steps = features["steps"]
        if steps.shape[1] != self._width:
            raise ValueError(
                f"adapter audio_tgt_fbank: steps of {steps.shape[1]} numbers, not {self._width}; preprocessor, adapter "
                "and head need the same bins and max_frames_per_step"
            )
        return self.prenet(steps.to(self.prenet.out.weight.dtype))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class StepPrediction:
    """What the head says of every step."""

    before: Tensor
    """[m, width]: frames."""
    after: Tensor
    """[m, width]: the same, refined by all frames around them."""
    stop: Tensor
    """[m]: logit of this being the last step."""


class StoredNorm(nn.BatchNorm1d):
    """Batch normalisation of OFASys' postnet over [sounds, steps, numbers]: always by the statistics that it has."""

    def train(self, mode: bool = True) -> StoredNorm:
        """Statistics of a batch would mix its sounds."""
        return super().train(False)

    def forward(self, states: Tensor) -> Tensor:
        """The same shape."""
        return super().forward(states.transpose(1, 2)).transpose(1, 2)


_NORMS = {"layer": nn.LayerNorm, "batch": StoredNorm}


class Postnet(nn.Module):
    """Five convolutions over the steps of one sound; layers are normalised by position, so that sounds do not mix."""

    def __init__(self, width: int, channels: int, share: float, norm: str = "layer") -> None:
        super().__init__()
        self.share = share
        sizes = [width] + [channels] * (_POSTNET_LAYERS - 1) + [width]
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        self.convolutions = nn.ModuleList(
            [nn.Conv1d(before, after, _KERNEL, padding=_KERNEL // 2) for before, after in pairs]
        )
        self.norms = nn.ModuleList([_NORMS[norm](after) for _, after in pairs])

    def forward(self, clips: Sequence[Tensor]) -> Tensor:
        """[sum of steps, width] of clips [steps, width]."""
        lengths = [len(clip) for clip in clips]
        states = pad_sequence(list(clips), batch_first=True)
        real = torch.zeros(states.shape[:2], dtype=torch.bool, device=states.device)
        for number, length in enumerate(lengths):
            real[number, :length] = True
        for number, convolution in enumerate(self.convolutions):
            states = convolution((states * real[..., None]).transpose(1, 2)).transpose(1, 2)
            states = self.norms[number](states)
            if number < _POSTNET_LAYERS - 1:
                states = states.tanh()
            states = dropout(states, self.share, self.training)
        return states[real]


class FrameByFrameHead(nn.Module):
    """``audio_steps``: frames of each step, before and after a postnet, and whether the sound ends.

    Outside of training the postnet leaves out what is one step alone, as every step is while a sound is written.
    """

    positionwise: ClassVar[bool] = False

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        options, hidden = context.options, context.hidden
        width = int(options["bins"]) * int(options["max_frames_per_step"])
        self.frames = nn.Linear(hidden, width)
        self.stop = nn.Linear(hidden, 1)
        share, norm = float(options["dropout"]), str(options["norm"])
        self.postnet = Postnet(width, int(options["postnet"]), share, norm)

    def forward(self, hidden: Tensor, ctx: HeadContext) -> StepPrediction:
        """Prediction for states [m, H] of whole sounds."""
        before = self.frames(hidden)
        lengths = [length for length in ctx.lengths if length]
        refined = any(length > 1 for length in lengths) or (bool(lengths) and self.training)
        after = before + self.postnet(before.split(lengths)) if refined else before
        return StepPrediction(before, after, self.stop(hidden)[:, 0])
