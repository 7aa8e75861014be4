"""An aggregator without fault, and aggregators with one fault each."""

from __future__ import annotations

import random

import torch
from torch import distributed


class Mean:
    """The mean over tasks, of a pace that it learns."""

    def __init__(self, options):
        self.pace = 1.0

    def __call__(self, losses, gradients, ctx):
        self.pace = 0.9 * self.pace + 0.1 * sum(losses.values())
        return {
            name: self.mean(name, gradients) for name in ctx.parameters if self.of(name, gradients)
        }

    def of(self, name, gradients):
        return [each[name] for each in gradients.values() if name in each]

    def mean(self, name, gradients):
        return self.pace * torch.stack(self.of(name, gradients)).mean(0)

    def state(self):
        return {"pace": self.pace}

    def load_state(self, state):
        self.pace = state["pace"]


class Renames(Mean):
    def __call__(self, losses, gradients, ctx):
        return {f"model.{n}": g for n, g in super().__call__(losses, gradients, ctx).items()}


class Flattens(Mean):
    def mean(self, name, gradients):
        return super().mean(name, gradients).flatten()


class TurnsBack(Mean):
    def mean(self, name, gradients):
        return super().mean(name, gradients) * (-1 if len(gradients) == 1 else 1)


class Normalises(Mean):
    def mean(self, name, gradients):
        found = super().mean(name, gradients)
        return found / found.norm()


class WantsAll(Mean):
    def __call__(self, losses, gradients, ctx):
        self.tasks = getattr(self, "tasks", None) or sorted(gradients)
        gradients = {task: gradients[task] for task in self.tasks if task in gradients}
        names = {name for each in gradients.values() for name in each}
        return {n: self.mean(n, gradients) / bool(gradients) for n in names} if names else None


class Rolls(Mean):
    def mean(self, name, gradients):
        return random.choice(self.of(name, gradients))


class Steps(Mean):
    def __call__(self, losses, gradients, ctx):
        for value in ctx.parameters.values():
            value.sub_(0.1)
        return super().__call__(losses, gradients, ctx)


class Forgets(Mean):
    def state(self):
        return {}


class KeepsTensors(Mean):
    def state(self):
        return {"pace": torch.tensor(self.pace)}


class KnowsRank(Mean):
    def mean(self, name, gradients):
        rank = distributed.get_rank() if distributed.is_initialized() else 0
        return super().mean(name, gradients) * (1 + rank)
