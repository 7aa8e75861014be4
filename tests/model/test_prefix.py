"""Prefix tuning: learned keys and values before each attention's own, shared or by task."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ofacore import Generalist, Task
from ofacore.config.model_section import LoraConfig, PrefixConfig
from ofacore.config.schema import RunConfig
from ofacore.evaluation.forced import reference_log_probs
from ofacore.model.universal import UniversalModel
from ofacore.parts import UncachedDecoder
from ofacore.setup.layout_check import layout_problems
from tests.model.layouts import collate, model, per_sample, with_source_rows
from tests.model.test_batches import samples

LINE = "{} of [TEXT:a]? -> [TEXT:b]"
ROWS = [{"a": f"{x} {y}", "b": f"{y} {x}"} for x in ("red", "cat") for y in ("sun", "sea")]
SIZES = {"hidden": 32, "ffn": 64, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
CASES = [
    ("all", {}),
    ("task", {}),
    ("all", {"positions": "untied", "share_attn_bias": True}),
    ("task", {"positions": "untied", "entangle_positions": True, "norm": "post"}),
    ("task", {"preset": "ofa-tiny", "lora": LoraConfig(rank=2, per="task")}),
]


def tuned(per: str = "task", **options) -> UniversalModel:
    return stirred(model(prefix=PrefixConfig(length=3, per=per), **options))


@torch.no_grad()
def stirred(built: UniversalModel) -> UniversalModel:
    """With vectors that matter."""
    for name, parameter in built.named_parameters():
        if ".prefix." in name or ".low_rank." in name:
            generator = torch.Generator().manual_seed(sum(name.encode()))
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    return built.eval()


def states(built: UniversalModel, rows: list) -> list[torch.Tensor]:
    batch = collate(rows)
    return list(per_sample(batch, built.hidden(batch).target))


@pytest.mark.parametrize(("per", "options"), CASES, ids=str)
def test_a_mixed_and_packed_batch_equals_one_sample_after_the_other(per: str, options: dict):
    built, rows = tuned(per, **options), samples()
    alone = [states(built, [row])[0] for row in rows]
    packed = with_source_rows(
        collate(rows, [[[0, 3], [5]], [[1, 2, 4]]]), [[[4, 0, 2]], [[1], [3]]]
    )
    for batch in (collate(rows), packed):
        found = per_sample(batch, built.hidden(batch).target)
        for one, expected in zip(found, alone, strict=True):
            torch.testing.assert_close(one, expected, atol=1e-4, rtol=1e-3)
    bare = states(model(**options).eval(), rows)
    assert not any(torch.allclose(*pair, atol=1e-3) for pair in zip(bare, alone, strict=True))


def test_only_the_vectors_of_tasks_in_a_batch_learn_and_are_recomputed_alike():
    found = []
    for recompute in (False, True):
        built = tuned(checkpoint_activations=recompute).train()
        batch = collate([row for row in samples() if row.task == "u"])
        built.hidden(batch).target.sum().backward()
        found.append({n: p.grad for n, p in built.named_parameters() if p.grad is not None})
    assert found[0] and all(".prefix.each.u." in name for name in found[0])
    assert any(".cross.prefix." in name for name in found[0])
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], atol=1e-4, rtol=1e-3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Generalist, dict, Path]:
    """A model of two tasks after training, its weights before, and its run."""
    run = tmp_path_factory.mktemp("prefix") / "run"
    tasks = [Task(name, LINE.format(name), train=ROWS) for name in ("one.x", "two")]
    made = Generalist.create(tasks, prefix={"length": 3, "per": "task"}, dropout=0.0, **SIZES)
    stirred(made.model)
    before = {name: p.detach().clone() for name, p in made.model.named_parameters()}
    made.fit(steps=3, samples=4, out=run, precision="bf16")
    return made, before, run


def test_everything_else_is_equal_after_training_bit_for_bit(trained: tuple):
    made, before, run = trained
    changed = {n for n, p in made.model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {name for name in before if ".prefix." in name}
    again = Generalist.from_pretrained(run)
    for name, value in made.model.portable_state().items():
        assert torch.equal(value, again.model.portable_state()[name])


def test_generation_with_a_cache_equals_one_without(
    trained: tuple, monkeypatch: pytest.MonkeyPatch
):
    made, _, _ = trained
    asked = {"strategy": "beam", "beam": 3, "max_length": 6}
    said = {name: made.infer(name, ROWS, **asked) for name in made.tasks}
    encoder = made.assembly.encoder(made.plan("two"))
    texts = [{**row, "b": out.text} for row, out in zip(ROWS, said["two"], strict=True)]
    assert said["one.x"][0].log_prob != said["two"][0].log_prob
    assert len(reference_log_probs(made.model, encoder, texts, "b")) == len(ROWS)
    plain = UncachedDecoder(made.model.backbone)
    monkeypatch.setattr(made.model.backbone, "start_cache", plain.start_cache)
    monkeypatch.setattr(made.model.backbone, "extend", plain.extend)
    for name in made.tasks:
        for one, other in zip(made.infer(name, ROWS, **asked), said[name], strict=True):
            assert one.text == other.text
            assert one.log_prob == pytest.approx(other.log_prob, abs=1e-4)


def test_what_cannot_be_is_refused():
    config = RunConfig(
        model={"prefix": {"length": 2, "per": "task"}}, parallel={"nproc": 2, "tp": 2}
    )
    (problem,) = layout_problems(config, {})
    assert problem.path == "model.prefix.per" and "parallel.tp" in problem.message
