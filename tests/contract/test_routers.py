"""A stranger's router may own parameters: they learn, are saved and come back."""

from __future__ import annotations

import pytest
import torch

from ofacore import Generalist, Task
from tests.contract.test_positions import REGISTRY, ROWS, SETTINGS

CHOSEN = {"experts": "chosen", "experts_number": 3, "experts_k": 2}


def made(**options) -> Generalist:
    tasks = [Task(name, f"{name} [TEXT:a] -> [TEXT:b]", train=ROWS) for name in ("turn", "twist")]
    return Generalist.create(tasks, registry=REGISTRY, **{**SETTINGS, **options})


def values_of(model: Generalist) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.model.named_parameters()}


def fitted(tmp_path, **options) -> tuple[Generalist, dict[str, torch.Tensor]]:
    model = made(**options)
    before = values_of(model)
    model.fit(3, out=tmp_path / "run", samples=4, trackers=[], precision="fp32")
    return model, before


def test_its_parameters_learn_and_come_back(tmp_path):
    model, before = fitted(tmp_path, **CHOSEN)
    after = values_of(model)
    own = [name for name in after if ".ffn.router." in name]
    assert len(own) == 2 * 4  # a router in each of two layers
    assert [name for name in own if torch.equal(after[name], before[name])] == []
    again = values_of(Generalist.from_pretrained(tmp_path / "run", registry=REGISTRY))
    assert all(torch.equal(again[name], after[name]) for name in own)


def test_its_loss_is_part_of_what_is_learned(tmp_path):
    """Without a weight on it, the router learns from its gates alone, and something else."""
    changes = []
    for weight in (0.0, 10.0):
        model, before = fitted(tmp_path / str(weight), **CHOSEN, experts_balance=weight)
        name = next(name for name in before if name.endswith("router.outer.weight"))
        changes.append(values_of(model)[name] - before[name])
    assert not torch.equal(*changes)


def test_a_router_without_parameters_says_what_its_experts_are(tmp_path):
    model, _ = fitted(tmp_path, experts="by_task")
    names = {name.split(".each.")[1].split(".")[0] for name in values_of(model) if ".each." in name}
    assert names == {"turn", "twist"}
    own, core = (values_of(made(experts=name)) for name in ("by_task", "task"))
    assert own.keys() == core.keys()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "beyond",
            r"router 'beyond' of plugin 'schemes' .* gave experts from 7 to 7; they go from 0 to 2",
        ),
        (
            "flat",
            r"router 'flat' of plugin 'schemes' .* gave int64 experts \[\d+\] and gates \[\d+\]; expected int64",
        ),
        (
            "mute",
            r"router 'mute' of plugin 'schemes' .* gave NoneType; a router gives \(experts, gates\)",
        ),
    ],
)
def test_a_wrong_answer_names_the_router(name, message):
    with pytest.raises(Exception, match=message):
        made(experts=name, experts_number=3).infer("turn", {"a": "a dog"}, max_length=2)
