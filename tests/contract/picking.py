"""A plugin with three generators whose options are their own, written with public imports alone."""

from __future__ import annotations

import numpy as np

from ofacore.parts import feed_tokens
from ofacore.plugin import CONTRACT, Component, ComponentManifest, Option
from ofacore.protocols import EOS, SEP, Hypothesis


class Picks:
    """A member of the closed set by its number, ``pick``; the ``offset`` is added to it."""

    def __init__(self, options):
        self.options = dict(options)

    def number(self, session, request):
        return self.options["pick"] + self.options["offset"]

    def __call__(self, session, requests, generator):
        values = [request.spec.closed_set[self.number(session, request)] for request in requests]
        if not requests[0].final:
            end = np.array([EOS if requests[0].last else SEP])
            feed_tokens(session, [np.concatenate([value, end]) for value in values])
            session.pending = None if requests[0].last else session.pending
        return [(Hypothesis(value),) for value in values]


class Deals(Picks):
    """The same, counted from the end."""

    def number(self, session, request):
        return -1 - self.options["pick"]

    def check_request(self, request, vocabulary):
        if self.options["pick"] >= len(request.spec.closed_set):
            raise ValueError(
                f"slot '{request.slot.name}' has no member {self.options['pick']} from its end"
            )


class Compares(Picks):
    """Number 1 with a twin without the prompt, 0 without; number 2 where a phrase is required."""

    def __init__(self, options):
        self.guided = options["scale"] != 1.0

    def number(self, session, request):
        return 2 if request.required else int(session.unconditional is not None)


def check_pick(options, slot):
    if options["pick"] + options["offset"] > 2:
        raise ValueError(
            f"slot '{slot.name}': pick and offset are {options['pick'] + options['offset']} together"
        )


PICK = Option(0, "Number of the member.", minimum=0, maximum=4)
MANIFEST = ComponentManifest(
    "picking",
    CONTRACT,
    (
        Component(
            "generator",
            "pick",
            f"{__name__}:Picks",
            "A member by its number.",
            options={"pick": PICK, "offset": 0},
            check=f"{__name__}:check_pick",
        ),
        Component(
            "generator",
            "deal",
            f"{__name__}:Deals",
            "A member from the end.",
            options={"pick": PICK},
        ),
        Component(
            "generator",
            "compare",
            f"{__name__}:Compares",
            "Looks whether there is a twin.",
            options={"scale": Option(1.0, "Scale of guidance.", minimum=0), "must_contain": ()},
        ),
    ),
)
