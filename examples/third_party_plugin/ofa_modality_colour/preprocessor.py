"""From hex colours to numbers and back."""

import numpy as np

from ofa_modality_colour.manifest import HEX
from ofacore.parts import AskedValues, ValuesPreprocessor
from ofacore.protocols import RowError, TargetSpec


class Colours(ValuesPreprocessor):
    """A colour is one position of three numbers: red, green and blue, 0 to 255."""

    def to_array(self, value):
        if not isinstance(value, str) or not HEX.fullmatch(value):
            raise RowError(f"{value!r:.40} is no colour; write it as '#rrggbb'")
        return np.array([[int(value[k : k + 2], 16) for k in (1, 3, 5)]])

    def from_array(self, array):
        return "#" + "".join(
            f"{number:02x}" for number in array[0].round().clip(0, 255).astype(int)
        )

    def expect(self, slot, ctx):
        ctx.published.put(slot.name, AskedValues(3))
        return TargetSpec(open=False, length=1)

    def render(self, value, ctx=None):
        return f'<span style="background:{self.from_array(self.to_array(value))}">&emsp;&emsp;</span> {value}'


def sample():
    return "#ff8800"
