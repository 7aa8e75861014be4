"""A plugin with aggregators of the tasks' gradients, written with public imports alone."""

from __future__ import annotations

import torch

from ofacore.plugin import CONTRACT, Component, ComponentManifest, Option


class Project:
    """Gradient surgery (PCGrad, Yu et al. 2020): of each gradient, what works against another task's is taken away."""

    def __init__(self, options):
        pass

    def __call__(self, losses, gradients, ctx):
        names = sorted({name for own in gradients.values() for name in own})
        flat = {task: _flat(own, names, ctx.parameters) for task, own in gradients.items()}
        total = torch.zeros_like(next(iter(flat.values())))
        for task in sorted(flat):
            mine = flat[task].clone()
            others = [other for other in sorted(flat) if other != task]
            for other in ctx.rng.permutation(others):
                against = flat[other]
                dot = mine @ against
                if dot < 0:
                    mine -= dot / (against @ against) * against
            total += mine
        return _parts(total, names, ctx.parameters)


class Normalise:
    """Every task's gradient gets the same norm."""

    def __init__(self, options):
        self.norm = options["norm"]

    def __call__(self, losses, gradients, ctx):
        found = {}
        for own in gradients.values():
            norm = torch.stack([gradient.norm() for gradient in own.values()]).norm()
            for name, gradient in own.items():
                scaled = gradient * (self.norm / norm)
                found[name] = found[name] + scaled if name in found else scaled
        return found


class WrittenOut:
    """The sum, as a plugin would write it; keeps what it saw."""

    seen: list = []

    def __init__(self, options):
        pass

    def __call__(self, losses, gradients, ctx):
        self.seen.append(
            (ctx.step, dict(losses), {task: dict(own) for task, own in gradients.items()})
        )
        found = {}
        for own in gradients.values():
            for name, gradient in own.items():
                found[name] = found[name] + gradient if name in found else gradient
        return found


class Remembers:
    """Weighs tasks by how their losses fell since the first step; its memory goes with the checkpoint."""

    def __init__(self, options):
        self.first = {}

    def __call__(self, losses, gradients, ctx):
        for task, loss in losses.items():
            self.first.setdefault(task, loss)
        found = {}
        for task, own in gradients.items():
            share = losses[task] / self.first[task]
            for name, gradient in own.items():
                found[name] = found.get(name, 0) + share * gradient
        return found

    def state(self):
        return {"first": self.first}

    def load_state(self, state):
        self.first = dict(state["first"])


class Weighs:
    """Weighs losses by its option; keeps what it learned from."""

    weighs_losses = True
    seen: list = []

    def __init__(self, options):
        self.given = options["weights"]

    def weights(self, tasks):
        self.seen.append(list(tasks))
        return self.given

    def learn(self, losses):
        self.seen.append(dict(losses))


class Wrong:
    """Gives what cannot be a gradient."""

    def __init__(self, options):
        self.fault = options["fault"]

    def __call__(self, losses, gradients, ctx):
        name, gradient = next(iter(next(iter(gradients.values())).items()))
        if self.fault == "raises":
            raise KeyError("nobody")
        made = {
            "none": None,
            "unknown": {"nothing.weight": gradient},
            "shape": {name: gradient.flatten()[:1]},
            "nan": {name: gradient * float("nan")},
        }
        return made[self.fault]


def _flat(own, names, parameters):
    zeros = {name: torch.zeros_like(parameters[name]) for name in names if name not in own}
    return torch.cat([own.get(name, zeros.get(name)).flatten() for name in names])


def _parts(flat, names, parameters):
    sizes = [parameters[name].numel() for name in names]
    parts = flat.split(sizes)
    return {
        name: part.view(parameters[name].shape) for name, part in zip(names, parts, strict=True)
    }


MANIFEST = ComponentManifest(
    "surgery",
    CONTRACT,
    (
        Component("aggregator", "project", f"{__name__}:Project", "PCGrad."),
        Component(
            "aggregator",
            "normalise",
            f"{__name__}:Normalise",
            "Equal norms.",
            options={"norm": Option(0.5, "Norm of every task's gradient.", minimum=0)},
        ),
        Component("aggregator", "written_out", f"{__name__}:WrittenOut", "The sum."),
        Component("aggregator", "remembers", f"{__name__}:Remembers", "By progress."),
        Component(
            "aggregator", "weighs", f"{__name__}:Weighs", "By option.", options={"weights": {}}
        ),
        Component("aggregator", "wrong", f"{__name__}:Wrong", "Faulty.", options={"fault": "none"}),
    ),
)
