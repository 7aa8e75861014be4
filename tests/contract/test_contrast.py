"""What a contrast trains is what `encode` gives; its head, criterion and temperature are chosen like any loss."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ofacore import Generalist, Task
from ofacore.ground.errors import UserError

NAMES = ("one", "two", "three", "four", "five", "six", "seven", "eight")
DIGITS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")
ROWS = [{"word": word, "roman": roman} for word, roman in zip(NAMES, DIGITS, strict=True)]
LINE = "which number? [TEXT:word|TEXT:roman] ->"
SIZES = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}


def made(**task) -> Generalist:
    return Generalist.create([Task("match", LINE, train=ROWS, **task)], dropout=0.0, **SIZES)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Generalist, Path]:
    model, folder = made(), tmp_path_factory.mktemp("match") / "run"
    model.fit(steps=60, samples=8, out=folder, precision="fp32")
    return model, folder


def vectors(model: Generalist) -> tuple[torch.Tensor, torch.Tensor]:
    words = model.encode("match", [{"word": row["word"]} for row in ROWS])
    return words, model.encode("match", ROWS, slot="roman")


def test_the_partner_is_found_by_the_product_of_vectors(trained):
    words, romans = vectors(trained[0])
    assert torch.allclose(words.norm(dim=1), torch.ones(len(ROWS)), atol=1e-5)
    assert (words @ romans.T).argmax(1).tolist() == list(range(len(ROWS)))


def test_vectors_do_not_depend_on_the_batch_nor_on_saving(trained):
    model, folder = trained
    words, romans = vectors(model)
    again = Generalist.from_pretrained(folder)
    alone = torch.stack([again.encode("match", {"word": row["word"]}) for row in ROWS])
    assert torch.allclose(alone, words, atol=1e-5)
    assert torch.allclose(
        again.encode("match", ROWS, slot="roman", batch_size=3), romans, atol=1e-5
    )


def test_the_side_is_asked_for_where_both_are_there(trained):
    with pytest.raises(UserError, match="Give slot='word' or slot='roman'"):
        trained[0].encode("match", ROWS)
    with pytest.raises(UserError, match="its sides are word and roman"):
        trained[0].encode("match", ROWS, slot="latin")


def test_a_side_of_something_without_a_contrast_is_refused(trained):
    with pytest.raises(UserError, match="chooses a side of a contrast"):
        trained[0].encode("[TEXT:word] ->", {"word": "one"}, slot="word")


def test_head_criterion_and_temperature_are_chosen_by_name_and_options():
    loss = {
        "criterion": "contrastive",
        "hidden": "word",
        "labels": "roman",
        "options": {"temperature": 0.5},
    }
    model = made(losses=[loss])
    (part,) = model.model.needs.criteria
    assert (part.name, dict(part.options)) == ("contrastive", {"temperature": 0.5})
    assert list(model.model.heads) == ["embedding"]


def test_two_losses_between_the_same_sides_are_refused():
    loss = {"criterion": "contrastive", "hidden": "word", "labels": "roman"}
    with pytest.raises(UserError, match="two losses match 'word' with 'roman'"):
        made(losses=[loss, loss])


def test_a_model_without_a_contrast_says_so():
    model = Generalist.create([Task("say", "[TEXT:word] -> [TEXT:roman]", train=ROWS)], **SIZES)
    with pytest.raises(UserError, match="no head 'embedding'"):
        model.encode(LINE, {"word": "one"})


def test_micro_batches_of_nothing_that_is_trained_are_passed_over(tmp_path):
    tasks = [
        Task("match", LINE, train=ROWS),
        Task("tell", "[TEXT:word] -> [TEXT:roman]", train=ROWS),
    ]
    model = Generalist.create(tasks, dropout=0.0, **SIZES)
    before = model.model.portable_state()
    rules = [{"pattern": "^(?!backbone.decoder)", "freeze": True}]
    settings = {"samples": 8, "micro_batch_samples": 2, "precision": "fp32"}
    model.fit(steps=2, out=tmp_path / "run", optimizer={"rules": rules}, **settings)
    after = model.model.portable_state()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed and all(name.startswith("backbone.decoder") for name in changed)


def test_a_run_that_learns_nothing_says_so_once(tmp_path, caplog):
    model = Generalist.create([Task("match", LINE, train=ROWS)], **SIZES)
    rules = [{"pattern": "^(?!backbone.decoder)", "freeze": True}]
    model.fit(steps=3, out=tmp_path / "run", optimizer={"rules": rules}, precision="fp32")
    assert caplog.text.count("its losses have no gradient in what is trained") == 1
