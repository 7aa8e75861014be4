"""What the scheme costs in a model of tokens alone, for plans of layouts. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ofacore.protocols import PositionsContext, PositionsCost, PositionsWeight, Stack

_PLACE = 36
"""Bytes of coordinates, rows and norms of one position."""
_INDEX = 4
"""Bytes of the index of a bias."""


class UntiedCost(PositionsCost):
    """Of `ofa_positions_untied.scheme.Untied`."""

    def __init__(self, context: PositionsContext) -> None:
        self.context, options = context, context.options
        self.entangled, self.biased = bool(options["entangled"]), bool(options["attention_bias"])
        self.plain = () if self.biased else ("encoder",)
        self.width = 0 if self.entangled else context.head_size

    def weights(self) -> Sequence[PositionsWeight]:
        """Every parameter."""
        context = self.context
        encoder = tuple(self._side("encoder", context.encoder_layers))
        return (*encoder, *self._side("decoder", context.decoder_layers), *self._projections())

    def _side(self, side: Stack, layers: int) -> Iterator[PositionsWeight]:
        context, options = self.context, self.context.options
        own = f"{side}.token"
        both: tuple[tuple[Stack, int | None], ...] = (("encoder", None), ("decoder", None))
        read = both if side == "encoder" and not self.entangled else ((side, None),)
        rows = context.max_positions + 2
        yield PositionsWeight(
            f"{own}.tables.0.weight", (rows, context.hidden), table=True, readers=read
        )
        if options["layernorm"] and not self.entangled:
            yield PositionsWeight(f"{own}.norm.weight", (context.hidden,), readers=read)
            yield PositionsWeight(f"{own}.norm.bias", (context.hidden,), readers=read)
        if not self.biased:
            return
        shape = (2 * int(options["buckets"]) - 1, context.heads)
        shared = options["share_bias"]
        number = 1 if shared else layers
        for layer in range(number):
            of_layer = None if shared else layer
            yield PositionsWeight(
                f"{own}.relative.{layer}.0.weight",
                shape,
                1,
                table=True,
                readers=((side, of_layer),),
            )

    def _projections(self) -> Iterator[PositionsWeight]:
        hidden = self.context.hidden
        for place in () if self.entangled else ("encoder", "decoder", "cross"):
            side: Stack = "encoder" if place == "encoder" else "decoder"
            for role in ("query", "key"):
                readers = ((side, None),)
                yield PositionsWeight(
                    f"{role}.{place}.weight", (hidden, hidden), 0, readers=readers
                )
                yield PositionsWeight(f"{role}.{place}.bias", (hidden,), 0, readers=readers)

    def kept(self, queries: int, keys: int, size: int) -> float:
        """Vectors and features, and the rows of biases in self-attention."""
        state, own = size * self.context.hidden, queries == keys
        if self.entangled:
            return float(state + _PLACE) * queries if own else 0.0
        return float(keys * (2 * state + _PLACE) + (_INDEX * queries * keys if own else 0))
