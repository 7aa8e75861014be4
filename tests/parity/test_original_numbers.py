"""Our model with the original's weights computes the original's numbers."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ofa_foreign.formats import ofasys_names
from tests.parity.original import STORED, Case, Original, folder_of

TEXT = ("text_to_text", "text_to_text_no_pad", "two_texts_to_text")
CASES = [
    *(("carried", name) for name in TEXT),
    *(("text", name) for name in TEXT),
    *(("patch", name) for name in (*TEXT, "image_text_to_text", "text_image_text_to_text")),
]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@cache
def original(name: str) -> Original:
    return Original.read(folder_of(name))


def states_of(layers: torch.nn.ModuleList, found: list[Tensor]) -> None:
    """Collect what goes into the first layer and what comes out of each."""
    layers[0].register_forward_pre_hook(lambda module, inputs: found.append(inputs[0]))
    for layer in layers:
        layer.register_forward_hook(lambda module, inputs, output: found.append(output[0]))


@pytest.mark.parametrize(("folder", "name"), CASES)
@torch.no_grad()
def test_every_hidden_state_and_logit(folder: str, name: str) -> None:
    case, built = Case(original(folder), name), original(folder).model()
    source, target = [], []
    states_of(built.backbone.encoder, source)
    states_of(built.backbone.decoder, target)
    hidden = built.hidden(case.batch())
    for index, states in enumerate(source):
        torch.testing.assert_close(
            states, case.at_real(f"encoder_states_{index}", "encoder", True), **CLOSE
        )
    torch.testing.assert_close(hidden.source, case.at_real("encoder_out", "encoder", True), **CLOSE)
    for index, states in enumerate(target):
        torch.testing.assert_close(
            states, case.at_real(f"decoder_states_{index}", "decoder", True), **CLOSE
        )
    torch.testing.assert_close(
        hidden.target, case.at_real("decoder_last_hidden", "decoder", False), **CLOSE
    )
    (group,) = case.batch().terms
    prediction = built.predict(group, hidden)
    place = torch.searchsorted(prediction.ids, case.original.ours)
    torch.testing.assert_close(
        prediction.logits()[:, place], case.at_real("logits", "decoder", False), **CLOSE
    )


@pytest.mark.parametrize(("folder", "name"), CASES)
@torch.no_grad()
def test_the_loss(folder: str, name: str) -> None:
    case = Case(original(folder), name)
    ((_, loss),) = original(folder).model().losses(case.batch())
    torch.testing.assert_close(loss.values.sum(), case.stored("loss_sum")[0], rtol=1e-5, atol=0.0)


def gradients(case: Case) -> dict[str, Tensor]:
    built = case.original.model()
    ((_, loss),) = built.losses(case.batch())
    loss.values.sum().backward()
    return case.original.theirs(built, gradients=True)


def test_the_gradients() -> None:
    found = gradients(Case(original("text"), "text_to_text"))
    for name, wanted in load_file(STORED / "text" / "grads_text_to_text.safetensors").items():
        error = (found[name] - wanted).norm() if name in found else wanted.norm()
        assert error <= 1e-4 * wanted.norm() + 1e-5, f"{name}: {error} of {wanted.norm()}"


@pytest.mark.parametrize(("folder", "name"), CASES)
def test_the_size_of_each_gradient(folder: str, name: str) -> None:
    """Only what the original leaves without a gradient has none here."""
    case = Case(original(folder), name)
    found = gradients(case)
    for parameter, norm in original(folder).json("meta.json")["cases"][name]["grad_norms"].items():
        own = found[parameter].norm().item() if parameter in found else 0.0
        assert own == pytest.approx(norm or 0.0, rel=1e-4, abs=1e-5), parameter


@pytest.mark.parametrize("folder", ["carried", "text", "patch"])
def test_names_lead_there_and_back(folder: str) -> None:
    stored = original(folder)
    back, idle = stored.theirs(stored.model()), ofasys_names.unused(stored.reading)
    assert stored.unknown == []
    assert set(stored.state) - set(back) == set(idle)
    for name, value in back.items():
        assert torch.equal(value, stored.state[name]), name
