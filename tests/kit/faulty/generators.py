"""Generators of TOUCH with one fault each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ofacore.parts import TokenGenerator
from ofacore.protocols import BOS, Hypothesis
from tests.kit.faulty.touch import TouchGenerator


class Pries(TouchGenerator):
    def __call__(self, session, requests, generator):
        session._cache.copy()
        return super().__call__(session, requests, generator)


class AnswersOne(TouchGenerator):
    def __call__(self, session, requests, generator):
        return super().__call__(session, requests, generator)[:1]


class GivesTensors(TouchGenerator):
    def __call__(self, session, requests, generator):
        found = super().__call__(session, requests, generator)
        return [tuple(Hypothesis(torch.from_numpy(h.value)) for h in row) for row in found]


class WorstFirst(TouchGenerator):
    def __call__(self, session, requests, generator):
        found = super().__call__(session, requests, generator)
        return [tuple(replace(h, score=float(i)) for i, h in enumerate(row)) for row in found]


class AlwaysThree(TouchGenerator):
    def __init__(self, options):
        super().__init__({**options, "n_best": 3})


class OwnDice(TouchGenerator):
    def draw(self, lengths, generators):
        return torch.randn(sum(lengths))


class OneDice(TouchGenerator):
    """Draws for all rows together."""

    def draw(self, lengths, generators):
        return torch.randn(sum(lengths), generator=generators[-1])


class Remembers(TouchGenerator):
    last = 0.0

    def __call__(self, session, requests, generator):
        found = super().__call__(session, requests, generator)
        found = [
            tuple(replace(h, value=h.value + np.float32(self.last)) for h in row) for row in found
        ]
        self.last += 1.0
        return found


class Compares(TouchGenerator):
    def draw(self, lengths, generators):
        return torch.full((sum(lengths),), float(sum(lengths)))


class TooLong(TouchGenerator):
    def __call__(self, session, requests, generator):
        found = super().__call__(session, requests, generator)
        return [tuple(replace(h, value=np.append(h.value, h.value)) for h in row) for row in found]


class Scalars(TouchGenerator):
    def __call__(self, session, requests, generator):
        found = super().__call__(session, requests, generator)
        return [tuple(replace(h, value=h.value.sum()) for h in row) for row in found]


class Forgets(TouchGenerator):
    def __call__(self, session, requests, generator):
        return super().__call__(session, [replace(r, final=True) for r in requests], generator)


class BeginsByItself(TokenGenerator):
    """Begins every run with <bos>, whatever the model was trained with."""

    def __call__(self, session, requests, generator):
        session.pending = torch.full((session.rows,), BOS)
        return super().__call__(session, requests, generator)
