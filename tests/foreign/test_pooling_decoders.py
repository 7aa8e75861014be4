"""Additional decoders of OFASys that pool the encoder's states: what they computed there, our head computes here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ofa_foreign.exporting import export_run
from ofa_foreign.importing import import_run
from ofacore.batching.collate import collate
from ofacore.checkpoint import CheckpointError
from ofacore.generalist.facade import Generalist
from ofacore.setup.task import Task
from tests.foreign.computed import to_theirs
from tests.foreign.ofasys_file import write_checkpoint
from tests.foreign.ofasys_state import HEADS, HIDDEN, SETTINGS, random_state, trunk, with_trunk
from tests.foreign.reference import Piece, Reference
from tests.foreign.test_trainer_files import dictionary, round_trip

POOLED = "[IMAGE:img] -> [TEXT:kind,length=1,head=pooling,generator=pooling]"


def with_norms(state: dict[str, Tensor], **decoders: tuple[str, ...]) -> dict[str, Tensor]:
    """The state with additional decoders: name -> its norms."""
    torch.manual_seed(4)
    names = [
        f"extra_models.{name}.layernorm_{norm}"
        for name, norms in decoders.items()
        for norm in norms
    ]
    own = {f"{name}.weight": 1 + 0.3 * torch.randn(HIDDEN) for name in names}
    return {**state, **own, **{f"{name}.bias": torch.randn(HIDDEN) for name in names}}


def settings(**decoders: tuple[int, int]) -> dict[str, Any]:
    """A configuration with additional decoders: name -> first and last position."""
    pooling = {
        name: {
            "_name": None,
            "embed_dim": HIDDEN,
            "pooling_position_begin": begin,
            "pooling_position_end": end,
        }
        for name, (begin, end) in decoders.items()
    }
    return {**SETTINGS, "extra_models": {"_name": None, "pooling": pooling}}


def pooled_there(state: dict[str, Tensor], name: str, places: slice, image: Tensor) -> Tensor:
    """Log probabilities over their table for one picture."""
    reference = Reference(state, HEADS, {"image_resnet": trunk()})
    states, _ = reference.encoded([Piece("image_resnet", image)])
    for norm in ("before", "after"):
        states = states[places].mean(0, keepdim=True) if norm == "after" else states
        own = [
            state.get(f"extra_models.{name}.layernorm_{norm}.{leaf}") for leaf in ("weight", "bias")
        ]
        states = states if own[0] is None else functional.layer_norm(states, (HIDDEN,), *own)
    return reference.projected(states)[0].log_softmax(0)


def pooled_here(run: Path, image: Tensor, label: str) -> tuple[Tensor, float, float]:
    """Log probabilities in their order, the loss of a label, and the score of the best answer."""
    ours = Generalist.from_pretrained(run)
    row = {"img": image.permute(1, 2, 0).numpy(), "kind": label}
    example = ours.assembly.encoders["imported"].encode(
        row, split="valid", rng=np.random.default_rng(1), row_id="0"
    )
    batch = collate([example])
    (group,), hidden = batch.terms, ours.model.hidden(batch)
    prediction = ours.model.predict(group, hidden)
    table, found = to_theirs(ours), prediction.logits().log_softmax(1)[0]
    places = [
        (table[our], place) for place, our in enumerate(prediction.ids.tolist()) if our in table
    ]
    loss = ours.model.loss(group, prediction).values
    answers = ours.infer("imported", {"img": row["img"]}, n_best=3)
    return found[[place for _, place in sorted(places)]], float(loss.sum()), answers.score


CASES: dict[str, tuple[tuple[str, ...], tuple[int, int], slice]] = {
    "first alone": (("after",), (0, 0), slice(0, 1)),
    "some": (("before", "after"), (1, 5), slice(1, 6)),
    "all": (("before",), (0, -1), slice(0, None)),
    "from the second": ((), (1, -1), slice(1, None)),
}


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_the_head_computes_what_the_decoder_did(name: str, tmp_path: Path) -> None:
    norms, positions, places = CASES[name]
    words = dictionary()
    state = with_norms(
        with_trunk(random_state(len(words)), "image_resnet", trunk(), 1024), cls=norms
    )
    write_checkpoint(tmp_path / "a.pt", state, settings(cls=positions), words)
    report = import_run(tmp_path / "a.pt", tmp_path / "run", instructions=[POOLED])
    assert not any("additional decoder" in line for line in report.left_out)
    image = torch.rand(3, 64, 64) * 2 - 1
    expected = pooled_there(state, "cls", places, image)
    found, loss, best = pooled_here(tmp_path / "run", image, "<text>_5")
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert loss == pytest.approx(-float(expected[words["<text>_5"]]), abs=1e-4)
    assert best == pytest.approx(float(expected.max()), abs=1e-4)
    round_trip(tmp_path / "run", tmp_path / "back", state)


@pytest.mark.usefixtures("bf16_units")
def test_what_was_learned_is_written_back(tmp_path: Path) -> None:
    words = dictionary()
    state = with_norms(
        with_trunk(random_state(len(words)), "image_resnet", trunk(), 1024), cls=("after",)
    )
    write_checkpoint(tmp_path / "a.pt", state, settings(cls=(0, -1)), words)
    import_run(tmp_path / "a.pt", tmp_path / "run", instructions=[POOLED])
    ours = Generalist.from_pretrained(tmp_path / "run")
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    rows = [{"img": picture, "kind": "<text>_5"}, {"img": picture, "kind": "<text>_5"}]
    ours.fit(
        2,
        out=tmp_path / "more",
        samples=2,
        workers=0,
        data={"imported": rows},
        optimizer={"lr": 1e-2},
    )
    export_run(tmp_path / "more", tmp_path / "back", "safetensors")
    from safetensors.torch import load_file

    back = load_file(tmp_path / "back" / "model.safetensors")
    assert set(back) == set(state)
    assert not back["extra_models.cls.layernorm_after.bias"].equal(
        state["extra_models.cls.layernorm_after.bias"]
    )
    assert back["decoder.layers.0.fc1.weight"].equal(state["decoder.layers.0.fc1.weight"])


def test_of_several_the_first_is_taken_and_the_others_are_told(tmp_path: Path) -> None:
    words = dictionary()
    state = with_trunk(random_state(len(words)), "image_resnet", trunk(), 1024)
    state = with_norms(state, mean=("before", "after"), cls=("after",))
    write_checkpoint(tmp_path / "a.pt", state, settings(cls=(0, 0), mean=(0, -1)), words)
    report = import_run(tmp_path / "a.pt", tmp_path / "run", instructions=[POOLED])
    assert any("additional decoder mean: 4 tensors" in line for line in report.left_out)
    assert not any("additional decoder cls" in line for line in report.left_out)
    round_trip(tmp_path / "run", tmp_path / "back", state)


def test_a_norm_of_another_width_is_told(tmp_path: Path) -> None:
    words = dictionary()
    state = with_norms(
        with_trunk(random_state(len(words)), "image_resnet", trunk(), 1024), cls=("after",)
    )
    state["extra_models.cls.layernorm_after.bias"] = torch.ones(7)
    write_checkpoint(tmp_path / "a.pt", state, settings(cls=(0, 0)), words)
    with pytest.raises(
        CheckpointError, match=r"layernorm_after.bias: found \[7\], expected \[32\]"
    ):
        import_run(tmp_path / "a.pt", tmp_path / "run", instructions=[POOLED])
    assert not (tmp_path / "run").exists()


def test_a_head_of_all_tokens_lets_all_compete() -> None:
    rows = [{"a": "x", "kind": "y"}] * 2
    task = Task(
        "t",
        "[TEXT:a] -> [TEXT:kind,preprocess=category,head=pooling,generator=pooling]",
        train=rows,
        losses=[{"criterion": "pooled_cross_entropy", "hidden": "a", "labels": "kind"}],
    )
    sizes: dict[str, Any] = {
        "hidden": 16,
        "ffn": 16,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
    }
    found = []
    for whole in (False, True):
        made = Generalist.create(
            [task], "tiny", **sizes, heads_options={"pooling": {"whole": whole}}
        )
        batch = collate(
            [
                made.assembly.encoders["t"].encode(
                    rows[0], split="valid", rng=np.random.default_rng(1), row_id="0"
                )
            ]
        )
        found.append(len(made.model.predict(batch.terms[0], made.model.hidden(batch)).ids))
    assert found[0] < found[1] == made.assembly.vocabulary.size
