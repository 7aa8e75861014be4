"""Low-rank updates made part of the weights, as for files of other programs."""

from __future__ import annotations

from ofacore.generalist.facade import Generalist, build_model
from ofacore.ground.errors import UserError
from ofacore.model.weights.lora import folded
from ofacore.setup.assembly import Assembly


def without_low_rank(generalist: Generalist) -> Generalist:
    """A model that computes the same without updates; the model itself where it has none.

    Raises:
        UserError: Every task has its own update, and there are several tasks.
    """
    lora = generalist.assembly.config.model.lora
    if not lora.rank:
        return generalist
    task, *others = generalist.tasks
    if lora.per == "task" and others:
        told = ", ".join(generalist.tasks)
        raise UserError(
            f"every task has low-rank updates of its own (model.lora.per: task), which one set of weights cannot hold: "
            f"{told}; leave one task in the model"
        )
    state = generalist.assembly.state()
    model = {key: value for key, value in state["config"]["model"].items() if key != "lora"}
    state["config"]["model"] = model
    assembly = Assembly.restore(state, generalist.assembly.artifacts, generalist.assembly.registry)
    built = build_model(assembly)
    built.load_portable(folded(generalist.model.portable_state(), lora, task))
    return Generalist(assembly, built.eval(), generalist.data)
