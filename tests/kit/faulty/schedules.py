"""A schedule without fault, and schedules with one fault each."""

from __future__ import annotations

import random


class Turns:
    """One task a step, in turn."""

    def __init__(self, tasks, samples, seed, options):
        self.tasks = sorted(
            name for name, share in tasks.items() if share.rows and share.weight > 0
        )
        self.samples, self.seed = samples, seed

    def counts(self, step):
        return {self.tasks[(step + self.seed) % len(self.tasks)]: self.samples}


class Counts(Turns):
    calls = 0

    def counts(self, step):
        self.calls += 1
        return super().counts(self.calls)


class Rolls(Turns):
    def counts(self, step):
        return {random.choice(self.tasks): self.samples}


class Rounds(Turns):
    def counts(self, step):
        return {name: round(self.samples / len(self.tasks)) for name in self.tasks}


class Halves(Turns):
    def counts(self, step):
        return {name: self.samples / len(self.tasks) for name in self.tasks}


class Invents(Turns):
    def counts(self, step):
        return {"invented": self.samples}


class DrawsFromNothing(Turns):
    def __init__(self, tasks, samples, seed, options):
        super().__init__(tasks, samples, seed, options)
        self.tasks = sorted(tasks)


class NeedsTwo(Turns):
    def counts(self, step):
        return {
            self.tasks[step % 2 if len(self.tasks) > 1 else 0]: self.samples
            - (len(self.tasks) == 1)
        }


class Starves(Turns):
    def counts(self, step):
        return {self.tasks[0]: self.samples}


class KnowsRank(Turns):
    def counts(self, step):
        from torch import distributed

        ranks = distributed.get_world_size() if distributed.is_initialized() else 1
        return super().counts(step + (distributed.get_rank() if ranks > 1 else 0))
