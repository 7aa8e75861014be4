"""What training keeps goes by portable names: it survives more blocks, and the same in another order."""

import torch

from ofacore.config.train_section import OptimizerConfig
from ofacore.ground.vocabulary import Block, Vocabulary
from ofacore.training.optim.ema import Ema
from ofacore.training.optim.optimizer import RunOptimizer
from tests.model import layouts

OLD = Vocabulary().extend([Block("words", 40), Block("bins", 20)])
NEW = Vocabulary().extend([Block("codes", 8), Block("bins", 20), Block("words", 40)])


def trained(vocabulary, dtype=torch.float32, steps=2, **options):
    """A model with an optimiser; gradients of a row depend on its block and its place in it alone."""
    model = layouts.model(vocabulary=vocabulary, **options).to(dtype)
    optimizer = RunOptimizer(model, OptimizerConfig(name="adamw"))
    for _ in range(steps):
        update(model, optimizer)
    return model, optimizer


def update(model, optimizer):
    optimizer.zero_grad()
    for name, parameter in model.named_parameters():
        gradient = torch.ones_like(parameter)
        for block, rows in model.portable_rows(name).items():
            gradient[rows] *= len(block)
        (parameter * gradient).sum().backward()
    optimizer.step(1.0)


def test_state_of_the_table_is_stored_by_block():
    model, optimizer = trained(OLD, torch.bfloat16, tied_head=False)
    names = {key.rpartition("|")[0] for key in optimizer.state()}
    assert names <= set(model.portable_state())
    assert {
        f"embedding.{block}{end}" for block in ("words", "bins") for end in ("", ".output")
    } < names
    assert not any("table" in name for name in names)
    assert set(optimizer.structure()["methods"]) == names
    assert optimizer.state()["embedding.bins|exp_avg"].shape == (20, 32)


def test_a_model_with_more_blocks_in_another_order_goes_on_with_each(monkeypatch):
    old_model, old = trained(OLD)
    new_model, new = trained(NEW, steps=0)
    missing, unknown = new_model.load_portable(old_model.portable_state(), strict=False)
    assert missing == ["embedding.codes"] and not unknown
    new.load_state(old.state())
    fresh = new.state()["embedding.codes|exp_avg"]
    assert not fresh.any() and float(new.state()["embedding.words|step"]) == 2
    for model, optimizer in ((old_model, old), (new_model, new)):
        update(model, optimizer)
    before, after = old_model.portable_state(), new_model.portable_state()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(torch.equal(value, new.state()[key]) for key, value in old.state().items())


def test_averages_are_stored_by_block_and_load_as_weights():
    model, _ = trained(OLD)
    ema = Ema(dict(model.named_parameters()), 0.5, model.portable_rows)
    model.load_portable({**model.portable_state(), **ema.state()})
    other = layouts.model(vocabulary=NEW)
    bigger = Ema(dict(other.named_parameters()), 0.5, other.portable_rows)
    bigger.load_state(ema.state())
    assert all(torch.equal(value, bigger.state()[name]) for name, value in ema.state().items())
    assert torch.equal(bigger.state()["embedding.codes"], other.portable_state()["embedding.codes"])


def test_another_shape_is_named():
    _, optimizer = trained(OLD)
    state = {
        key: value if value.ndim == 0 else value[:1] for key, value in optimizer.state().items()
    }
    try:
        optimizer.load_state(state)
    except ValueError as error:
        assert "stored (1" in str(error)
    else:
        raise AssertionError("a misfit was loaded")
