"""Files as trainers write them, in all their kinds: what is imported computes what the original computes."""

from __future__ import annotations

import argparse
import collections
import enum
import json
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ofa_foreign.exporting import export_run
from ofa_foreign.importing import import_run
from ofacore.checkpoint import CheckpointError
from ofacore.generalist.facade import Generalist
from tests.foreign.computed import our_logits
from tests.foreign.ofasys_file import STORED, write_checkpoint
from tests.foreign.ofasys_state import (
    HEADS,
    HIDDEN,
    SETTINGS,
    grid_buckets,
    random_state,
    trunk,
    with_experts,
    with_trunk,
)
from tests.foreign.reference import Piece, Reference

TEMPLATE = "[TEXT:source] -> [TEXT:target]"
ROWS = [
    ("<text>_5 <text>_11 <text>_2", "<text>_7 <text>_3"),
    ("<text>_1", "<text>_19 <text>_4 <text>_4 <text>_30"),
]


def dictionary(
    seed: int = 3, text: int = 31, bins: int = 10, codes: int = 6, multiple: int = 8
) -> dict[str, int]:
    """Tokens of several preprocessors in an order of their own, filled up to a multiple."""
    rest = [f"<text>_{n}" for n in range(text)] + [f"<bin>_{n}" for n in range(bins)] + ["<mask>"]
    rest += [f"<code>_{n}" for n in range(codes)]
    shuffled = [
        rest[n]
        for n in torch.randperm(len(rest), generator=torch.Generator().manual_seed(seed)).tolist()
    ]
    names = ["<s>", "<pad>", "</s>", "<unk>", *shuffled]
    names += [f"<text>_madeupword{n:04d}" for n in range(-len(names) % multiple)]
    return {name: row for row, name in enumerate(names)}


def check(
    run: Path, reference: Reference, places: dict[str, int], task: str, close: float = 1e-5
) -> None:
    """Logits of all rows over the whole table."""
    ours = Generalist.from_pretrained(run)
    for source, target in ROWS:
        read = [0, *(places[word] for word in source.split()), 2]
        written = [0, *(places[word] for word in target.split())]
        expected = reference.logits([Piece("text", torch.tensor(read))], torch.tensor(written))
        found = our_logits(ours, {"source": source, "target": target}, task)
        assert found[:2] == (read, written)
        torch.testing.assert_close(found[2], expected, atol=close, rtol=close)


def round_trip(run: Path, out: Path, state: dict[str, Tensor]) -> None:
    export_run(run, out, "safetensors")
    back = load_file(out / "model.safetensors")
    assert set(back) == set(state)
    for name, tensor in state.items():
        assert back[name].dtype == tensor.dtype and back[name].equal(tensor), name


@pytest.mark.skipif(not STORED.is_dir(), reason="needs the stored numbers of the original")
def test_the_reference_computes_what_the_original_did() -> None:
    stored = load_file(STORED / "text" / "io.safetensors")
    reference = Reference(load_file(STORED / "text" / "state_dict.safetensors"))
    source, target = (stored[f"text_to_text_no_pad/{name}"] for name in ("slot_0", "target"))
    for row in range(len(target)):
        read = torch.cat([torch.zeros(1, dtype=torch.int64), target[row][:-1]])
        found = reference.logits([Piece("text", source[row])], read)
        torch.testing.assert_close(
            found, stored["text_to_text_no_pad/logits"][row], atol=1e-5, rtol=1e-5
        )


def plain_file(path: Path, state: dict[str, Tensor], places: dict[str, int]) -> None:
    write_checkpoint(path, state, SETTINGS, places)


def legacy_file(path: Path, state: dict[str, Tensor], places: dict[str, int]) -> None:
    write_checkpoint(path, state, SETTINGS, places, new=False)


def averaged(path: Path, state: dict[str, Tensor], places: dict[str, int]) -> None:
    write_checkpoint(
        path,
        state,
        SETTINGS,
        places,
        more={"extra_state": {"ema": {n: t + 1 for n, t in state.items()}}},
    )


def without_optimizer(path: Path, state: dict[str, Tensor], places: dict[str, int]) -> None:
    write_checkpoint(
        path,
        state,
        SETTINGS,
        places,
        more={"last_optimizer_state": None, "optimizer_history": None},
    )


def by_arguments(path: Path, state: dict[str, Tensor], places: dict[str, int]) -> None:
    """As fairseq wrote its files: a namespace alone says what the model is."""
    arguments = argparse.Namespace(
        arch="unify", **{key: value for key, value in SETTINGS.items() if key != "_name"}
    )
    write_checkpoint(
        path, state, SETTINGS, places, more={"args": arguments, "cfg": None, "configstore": None}
    )


def by_node_configuration(path: Path, state: dict[str, Tensor], places: dict[str, int]) -> None:
    """As omegaconf pickles itself: nodes with values, types among their metadata, parents that hold their children."""
    module = types.ModuleType("vanished_omegaconf")

    class DictConfig:
        def __init__(self, content: dict[str, Any], parent: Any = None) -> None:
            self.__dict__ |= {"_parent": parent, "_metadata": metadata(typing.Dict[str, int])}  # noqa: UP006
            self.__dict__["_content"] = {key: node(value, self) for key, value in content.items()}

    class AnyNode:
        def __init__(self, value: Any, parent: Any) -> None:
            self.__dict__ |= {
                "_val": value,
                "_parent": parent,
                "_metadata": metadata(typing.Optional[str]),  # noqa: UP045
            }

    class ChoiceEnum(enum.Enum):
        gelu = "gelu"

    def metadata(kind: Any) -> dict[str, Any]:
        return {
            "ref_type": kind,
            "object_type": type(None),
            "key_type": str,
            "element_type": typing.Any,
            "flags": b"",
            "lists": typing.List[float],  # noqa: UP006
            "counts": collections.defaultdict(int),
            "part": slice(1, 2),
        }

    def node(value: Any, parent: Any) -> Any:
        return DictConfig(value, parent) if isinstance(value, dict) else AnyNode(value, parent)

    for kind in (DictConfig, AnyNode, ChoiceEnum):
        kind.__module__, kind.__qualname__ = module.__name__, kind.__name__
        setattr(module, kind.__name__, kind)
    sys.modules[module.__name__] = module
    settings = {
        **SETTINGS,
        "activation_fn": ChoiceEnum.gelu,
        "dropout": "${model.attention_dropout}",
    }
    cfg = DictConfig({"common": {"seed": 1}, "model": settings})
    try:
        write_checkpoint(path, state, SETTINGS, places, more={"cfg": cfg, "configstore": None})
    finally:
        del sys.modules[module.__name__]


def by_files_beside(path: Path, state: dict[str, Tensor], places: dict[str, int]) -> None:
    """The tensors alone, as wrappers for several processes name them."""
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, path)
    (path.parent / "dictionary.json").write_text(json.dumps(places))
    (path.parent / "model_config.json").write_text(json.dumps(SETTINGS))


def by_shapes(path: Path, state: dict[str, Tensor], places: dict[str, int]) -> None:
    write_checkpoint(path, state, SETTINGS, places, more={"cfg": None, "configstore": None})


FILES: dict[str, Callable[[Path, dict[str, Tensor], dict[str, int]], None]] = {
    "archive": plain_file,
    "legacy": legacy_file,
    "averaged": averaged,
    "without optimizer": without_optimizer,
    "arguments": by_arguments,
    "nodes": by_node_configuration,
    "files beside": by_files_beside,
    "shapes": by_shapes,
}


@pytest.mark.parametrize("name", FILES)
@torch.no_grad()
def test_every_kind_of_file(name: str, tmp_path: Path) -> None:
    places = dictionary()
    state = random_state(len(places))
    FILES[name](tmp_path / "checkpoint_best.pt", state, places)
    report = import_run(tmp_path / "checkpoint_best.pt", tmp_path / "run")
    assert any("averaged" in line for line in report.left_out) == (name == "averaged")
    assert any("optimizer" in line for line in report.left_out) == (
        name not in ("without optimizer", "files beside")
    )
    check(tmp_path / "run", Reference(state), places, "imported")
    written = (
        {f"module.{n}": tensor for n, tensor in state.items()} if name == "files beside" else state
    )
    round_trip(tmp_path / "run", tmp_path / "back", written)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_what_wrappers_put_before_every_name_is_written_back(prefix: str, tmp_path: Path) -> None:
    places = dictionary()
    state = {f"{prefix}{name}": tensor for name, tensor in random_state(len(places)).items()}
    write_checkpoint(tmp_path / "a.pt", state, SETTINGS, places)
    import_run(tmp_path / "a.pt", tmp_path / "run")
    round_trip(tmp_path / "run", tmp_path / "back", state)


@pytest.mark.parametrize("new", [True, False], ids=["archive", "legacy"])
@torch.no_grad()
def test_half_precision(new: bool, tmp_path: Path) -> None:
    places = dictionary()
    state = {
        name: t.half() if t.is_floating_point() else t
        for name, t in random_state(len(places)).items()
    }
    write_checkpoint(tmp_path / "a.pt", state, SETTINGS, places, new=new)
    import_run(tmp_path / "a.pt", tmp_path / "run")
    whole = {name: t.float() if t.is_floating_point() else t for name, t in state.items()}
    check(tmp_path / "run", Reference(whole), places, "imported")
    round_trip(tmp_path / "run", tmp_path / "back", state)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("multiple", [1, 8, 64])
@torch.no_grad()
def test_another_dictionary_is_found_by_name(seed: int, multiple: int, tmp_path: Path) -> None:
    places = dictionary(
        seed, text=31 + seed, bins=4 + seed, codes=0 if seed else 9, multiple=multiple
    )
    state = random_state(len(places) + 3, seed)
    write_checkpoint(tmp_path / "a.pt", state, SETTINGS, places)
    report = import_run(tmp_path / "a.pt", tmp_path / "run")
    assert "row" in report.unowned[-1]
    check(tmp_path / "run", Reference(state), places, "imported")
    round_trip(tmp_path / "run", tmp_path / "back", state)


@torch.no_grad()
def test_a_head_with_a_table_of_its_own(tmp_path: Path) -> None:
    places = dictionary()
    state = random_state(len(places))
    for side in ("encoder", "decoder"):
        state[f"{side}.adaptor.text.output_projection.weight"] = torch.randn(len(places), HIDDEN)
    write_checkpoint(tmp_path / "a.pt", state, SETTINGS, places)
    import_run(tmp_path / "a.pt", tmp_path / "run")
    check(tmp_path / "run", Reference(state), places, "imported")
    round_trip(tmp_path / "run", tmp_path / "back", state)


@torch.no_grad()
def test_tables_that_old_versions_wrote_besides(tmp_path: Path) -> None:
    """The original throws them away when it loads a file."""
    places = dictionary()
    state = random_state(len(places))
    old = {
        f"{side}.adaptor.text.embed_tokens.weight": torch.randn(7, HIDDEN)
        for side in ("encoder", "decoder")
    }
    old["decoder.output_projection.weight"] = torch.randn(len(places), HIDDEN)
    write_checkpoint(tmp_path / "a.pt", {**state, **old}, SETTINGS, places)
    import_run(tmp_path / "a.pt", tmp_path / "run")
    check(tmp_path / "run", Reference(state), places, "imported")
    round_trip(tmp_path / "run", tmp_path / "back", {**state, **old})


@pytest.mark.parametrize(("pixels", "side"), [((64, 64), 8), ((48, 96), 8), ((80, 64), 11)])
@torch.no_grad()
def test_a_model_that_sees_through_a_resnet(
    pixels: tuple[int, int], side: int, tmp_path: Path
) -> None:
    places, network = dictionary(), trunk()
    state = with_trunk(random_state(len(places)), "image_resnet", network, 1024, side)
    write_checkpoint(
        tmp_path / "a.pt",
        state,
        SETTINGS,
        places,
        size=64,
        template="[IMAGE:img] [TEXT:source] -> [TEXT:target]",
    )
    import_run(tmp_path / "a.pt", tmp_path / "run")
    ours = Generalist.from_pretrained(tmp_path / "run")
    assert ours.assembly.config.options["adapter/image_resnet"]["grid"] == side
    reference, image = (
        Reference(state, HEADS, {"image_resnet": network}),
        torch.rand(3, *pixels) * 2 - 1,
    )
    source, target = ROWS[0]
    read = torch.tensor([0, *(places[word] for word in source.split()), 2])
    written = torch.tensor([0, *(places[word] for word in target.split())])
    expected = reference.logits([Piece("image_resnet", image), Piece("text", read)], written)
    found = our_logits(
        ours, {"img": image.permute(1, 2, 0).numpy(), "source": source, "target": target}, "summary"
    )
    torch.testing.assert_close(found[2], expected, atol=1e-5, rtol=1e-5)
    round_trip(tmp_path / "run", tmp_path / "back", state)


@torch.no_grad()
def test_a_model_that_sees_through_a_transformer(tmp_path: Path) -> None:
    """The tower itself is compared with CLIP's elsewhere; a head of it is 64 wide."""
    from ofa_modality_image.clip_layers import VisionTransformer

    torch.manual_seed(8)
    places, tower = dictionary(), VisionTransformer(32, 8, 64, 2, 1).eval()
    state = with_trunk(random_state(len(places)), "image_vit", tower, 64, 6)
    write_checkpoint(
        tmp_path / "a.pt", state, SETTINGS, places, size=32, template=f"[IMAGE:img] {TEMPLATE}"
    )
    report = import_run(tmp_path / "a.pt", tmp_path / "run")
    assert report.tasks["summary"].startswith("[IMAGE:img,adapter=image_vit]")
    (source, target), image = ROWS[0], torch.rand(3, 32, 32) * 2 - 1
    read = torch.tensor([0, *(places[word] for word in source.split()), 2])
    written = torch.tensor([0, *(places[word] for word in target.split())])
    trunks = {"image_vit": lambda pixels: tower(pixels).transpose(1, 2).unflatten(2, (4, 4))}
    expected = Reference(state, HEADS, trunks).logits(
        [Piece("image_vit", image), Piece("text", read)], written
    )
    row = {"img": image.permute(1, 2, 0).numpy(), "source": source, "target": target}
    found = our_logits(Generalist.from_pretrained(tmp_path / "run"), row, "summary")
    torch.testing.assert_close(found[2], expected, atol=1e-5, rtol=1e-5)
    round_trip(tmp_path / "run", tmp_path / "back", state)


@torch.no_grad()
def test_without_instructions_a_model_that_sees_is_asked_with_pictures_too(tmp_path: Path) -> None:
    places = dictionary()
    state = with_trunk(random_state(len(places)), "image_resnet", trunk(), 1024)
    write_checkpoint(tmp_path / "a.pt", state, SETTINGS, places)
    report = import_run(tmp_path / "a.pt", tmp_path / "run")
    assert dict(report.tasks) == {
        "imported": TEMPLATE,
        "imported_image_resnet": f"[IMAGE:image,adapter=image_resnet] {TEMPLATE}",
    }


KINDS = {"TEXT": 0, "IMAGE": 1, "BOX": 2}


@pytest.mark.parametrize(
    "template", [TEMPLATE, "[BOX:region,relative] [TEXT:source] -> [TEXT:target]"]
)
@torch.no_grad()
def test_experts_by_modality_are_taken_over(template: str, tmp_path: Path) -> None:
    """The slot that begins a run decides which expert reads it."""
    places = dictionary(bins=1000)
    state = with_experts(random_state(len(places)))
    write_checkpoint(
        tmp_path / "a.pt", state, {**SETTINGS, "modal_ffn": True}, places, template=template
    )
    import_run(tmp_path / "a.pt", tmp_path / "run")
    ours, (source, target) = Generalist.from_pretrained(tmp_path / "run"), ROWS[1]
    row = {"source": source, "target": target, "region": torch.tensor([0.1, 0.2, 0.5, 0.6]).numpy()}
    read, written, found = our_logits(ours, row, "summary")
    piece = Piece("text", torch.tensor(read), KINDS["BOX" if "BOX" in template else "TEXT"])
    expected = Reference(state).logits([piece], torch.tensor(written), KINDS["TEXT"])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    round_trip(tmp_path / "run", tmp_path / "back", state)


def test_runs_of_several_kinds_need_equal_experts(tmp_path: Path) -> None:
    places = dictionary(bins=1000)
    state = with_experts(random_state(len(places)))
    write_checkpoint(tmp_path / "a.pt", state, {**SETTINGS, "modal_ffn": True}, places)
    both = [TEMPLATE, "[BOX:region] what? -> [TEXT:target]"]
    with pytest.raises(
        CheckpointError, match="begin with slots of BOX and TEXT, whose experts differ"
    ):
        import_run(tmp_path / "a.pt", tmp_path / "run", instructions=both)
    assert not (tmp_path / "run").exists()


def test_what_no_instruction_uses_is_kept_and_told(tmp_path: Path) -> None:
    places = dictionary()
    state = random_state(len(places))
    prefix = "decoder.adaptor.image_vqgan"
    codes = {
        f"{prefix}.layernorm_embedding.{leaf}": torch.ones(HIDDEN) for leaf in ("weight", "bias")
    }
    codes |= {
        f"{prefix}.image_rp_bucket": grid_buckets(8),
        "extra_models.cls.layernorm_after.bias": torch.ones(3),
    }
    write_checkpoint(tmp_path / "a.pt", {**state, **codes}, SETTINGS, places)
    report = import_run(tmp_path / "a.pt", tmp_path / "run")
    told = "\n".join(report.lines())
    assert "adapter image_vqgan of the target: 2 tensors that no instruction uses" in told
    assert "additional decoder cls: 1 tensors" in told
    round_trip(tmp_path / "run", tmp_path / "back", {**state, **codes})


SIDES = ("encoder", "decoder")
REFUSED: dict[str, tuple[Callable[[dict[str, Tensor]], None], tuple[str, ...]]] = {
    "head of another width": (
        lambda s: s.update({"decoder.adaptor.text.output_projection.weight": torch.ones(56, 16)}),
        ("output_projection.weight' has shape [56, 16]", "token table [56, 32]"),
    ),
    "positions differ": (
        lambda s: s.update({"decoder.adaptor.text.embed_positions.weight": torch.ones(40, HIDDEN)}),
        ("decoder.adaptor.text.embed_positions.weight' has 40 rows", "encoder", "26 rows"),
    ),
    "buckets of other positions": (
        lambda s: s.update(
            {f"{side}.adaptor.text.token_rp_bucket": torch.zeros(64, 64) for side in SIDES}
        ),
        ("for 64 positions", "their table for 24"),
    ),
    "a shard": (lambda s: s.update({"flat_param_0": torch.ones(3)}), ("one shard", "whole model")),
    "sparse": (
        lambda s: s.update({"encoder.x": torch.eye(3).to_sparse()}),
        ("'encoder.x' is sparse", "plain tensors"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_ours_cannot_be_is_told(name: str, tmp_path: Path) -> None:
    places = dictionary()
    state = random_state(len(places))
    change, words = REFUSED[name]
    change(state)
    write_checkpoint(tmp_path / "a.pt", state, SETTINGS, places)
    with pytest.raises(CheckpointError) as caught:
        import_run(tmp_path / "a.pt", tmp_path / "run")
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
    assert not (tmp_path / "run").exists()
