"""From numbers to a position of the model."""

import numpy as np
import torch
from torch import nn


class ColourAdapter(nn.Module):
    def __init__(self, context):
        super().__init__()
        self.mix = nn.Linear(4, context.hidden)

    @staticmethod
    def length(shape, options):
        return 1

    @staticmethod
    def coordinates(shape, options):
        return np.zeros((1, 3), np.int64)

    def embed(self, features, shapes):
        return self.mix(
            torch.cat([features["values"], features["known"]], 1).to(self.mix.weight.dtype)
        )
