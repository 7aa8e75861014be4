"""Large files of artifacts: once in a run, along with a saved model, by path to workers, and never another one."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from ofa_kit import ModalityConformance
from ofacore import Generalist, Task
from ofacore.checkpoint import CheckpointError, checkpoints
from ofacore.generalist.storing import convert
from ofacore.ground.errors import UserError
from ofacore.plugin import Registry
from ofacore.protocols import Artifact
from tests.contract import codes

SIZES = {
    "preset": "tiny",
    "hidden": 16,
    "ffn": 16,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}
ROWS = [{"sound": [0.5, number / 4], "word": word} for number, word in enumerate("abcd")]
LINE = "[SOUND:sound] -> [WORD:word]"
FIT = {"samples": 2, "precision": "fp32", "trackers": [], "threads": 1}


@pytest.fixture(scope="module")
def registry() -> Registry:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFA_PLUGIN_DEV", "codes=tests.contract.codes:MANIFEST")
        return Registry.discover()


def made(registry: Registry) -> Generalist:
    return Generalist.create(
        [Task("hear", LINE, train=ROWS)], registry=registry, dropout=0.0, **SIZES
    )


@pytest.fixture(scope="module")
def trained(registry, tmp_path_factory) -> tuple[Path, np.ndarray]:
    """A run of two checkpoints whose codec is gone from where it was made, and what it makes of a row."""
    model, run = made(registry), tmp_path_factory.mktemp("hear") / "run"
    model.fit(steps=2, out=run, checkpoint={"every": 1, "keep_last": 2}, **FIT)
    shutil.rmtree(model.assembly.artifacts["sound"].path("codec.npy").parent)
    return run, heard(model)


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy that may be spoilt."""
    return Path(shutil.copytree(trained[0], tmp_path / "run"))


def heard(model: Generalist) -> np.ndarray:
    encoder = model.assembly.encoders["hear"]
    example = encoder.encode(ROWS[1], split="valid", rng=np.random.default_rng(0), row_id="1")
    return example.source[0][0].features["values"]


def kept(folder: Path) -> Path:
    (file,) = (folder / "artifact-files").iterdir()
    return file


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_two_checkpoints_of_a_run_share_the_file(trained):
    run, _ = trained
    assert len(checkpoints(run)) == 2
    assert kept(run).stat().st_size > codes.CODEC
    assert all(size(folder) < codes.CODEC // 2 for folder in checkpoints(run))


def test_a_worker_gets_the_path_alone(registry, trained):
    model = Generalist.from_pretrained(trained[0], registry=registry)
    heard(model)
    assert len(pickle.dumps(model.assembly.encoders["hear"])) < codes.CODEC // 20
    again = pickle.loads(pickle.dumps(model.assembly.encoders["hear"]))
    example = again.encode(ROWS[1], split="valid", rng=np.random.default_rng(0), row_id="1")
    assert (example.source[0][0].features["values"] == trained[1]).all()


def test_a_run_and_each_of_its_checkpoints_load(registry, trained):
    run, before = trained
    for place in (run, *checkpoints(run)):
        assert (heard(Generalist.from_pretrained(place, registry=registry)) == before).all()


def test_a_run_goes_on_with_the_file_that_it_has(registry, run):
    model = Generalist.from_pretrained(run, registry=registry)
    noted = kept(run).stat().st_mtime_ns
    model.data = made(registry).data
    model.fit(steps=1, out=run.parent / "next", **FIT)
    assert kept(run.parent / "next").name == kept(run).name
    assert kept(run).stat().st_mtime_ns == noted


def test_a_saved_model_carries_the_file_along(registry, trained, run, tmp_path):
    saved = tmp_path / "saved"
    Generalist.from_pretrained(run, registry=registry).save(saved)
    shutil.rmtree(run)
    moved = saved.rename(tmp_path / "elsewhere")
    model = Generalist.from_pretrained(moved, registry=registry)
    assert (heard(model) == trained[1]).all()
    model.save(moved)
    assert (heard(Generalist.from_pretrained(moved, registry=registry)) == trained[1]).all()


@pytest.mark.parametrize("sharded", [False, True])
def test_the_other_form_carries_it_along_too(registry, trained, run, tmp_path, sharded):
    out = convert(run, tmp_path / "other", sharded=sharded)
    shutil.rmtree(run)
    assert kept(out).stat().st_size > codes.CODEC
    assert (heard(Generalist.from_pretrained(out, registry=registry)) == trained[1]).all()


def test_a_missing_file_is_told_with_its_digest_and_the_way_out(registry, run):
    digest = kept(run).name
    kept(run).unlink()
    told = rf"artifact-files/{digest}: the file 'codec.npy' of an artifact is missing \(SHA-256 {digest}\); copy it"
    with pytest.raises(CheckpointError, match=told):
        Generalist.from_pretrained(run, registry=registry)


def test_a_checkpoint_without_its_run_says_what_it_lacks(registry, run, tmp_path):
    alone = Path(shutil.copytree(checkpoints(run)[0], tmp_path / "alone"))
    with pytest.raises(
        CheckpointError,
        match=r"alone/artifact-files/.*is missing.*`Generalist.save` takes it along",
    ):
        Generalist.from_pretrained(alone, registry=registry)


def test_an_altered_file_is_told_with_both_digests(registry, run):
    digest = kept(run).name
    content = bytearray(kept(run).read_bytes())
    content[-1] ^= 1
    kept(run).write_bytes(content)
    with pytest.raises(
        CheckpointError,
        match=f"'codec.npy' of an artifact is altered: its SHA-256 is .*{digest} was",
    ):
        Generalist.from_pretrained(run, registry=registry)
    kept(run).write_bytes(content[:-4])
    with pytest.raises(
        CheckpointError, match=r"is altered: \d+ bytes, \d+ were noted.*copy it again"
    ):
        Generalist.from_pretrained(run, registry=registry)


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        (
            {"sound": {"../../codec": {"sha256": "0" * 64, "size": 1}}},
            "expected the name of a file, without folders",
        ),
        (
            {"sound": {"codec.npy": {"sha256": "../../../etc/passwd", "size": 1}}},
            "expected a SHA-256 and a size",
        ),
        (
            {"sound": {"codec.npy": {"sha256": "0" * 64, "size": -1}}},
            "expected a SHA-256 and a size",
        ),
        (
            {"sound": {"codec.npy": {"sha256": "0" * 64, "size": True}}},
            "expected a SHA-256 and a size",
        ),
        ({"sound": {"codec.npy": 7}}, "expected a SHA-256 and a size"),
        ({"sound": []}, "expected artifact -> file -> digest"),
        ([], "expected artifact -> file -> digest"),
        ({}, "missing or changed; its digest should be"),
    ],
    ids=["path", "digest", "size", "bool", "number", "list", "no object", "nothing"],
)
def test_a_strangers_statement_leads_nowhere_else(registry, run, stated, told):
    place = checkpoints(run)[-1]
    state = json.loads((place / "state.json").read_text())
    (place / "state.json").write_text(json.dumps({**state, "artifact_files": stated}))
    marker = json.loads((place / "COMPLETE").read_text())
    marker["files"]["state.json"] = (place / "state.json").stat().st_size
    (place / "COMPLETE").write_text(json.dumps(marker))
    with pytest.raises(CheckpointError, match=told):
        Generalist.from_pretrained(place, registry=registry)


def test_a_model_without_such_files_is_stored_as_before(registry, tmp_path):
    task = Task("spell", "[WORD:word] -> [WORD:sound]", train=[{"word": "ab", "sound": "ba"}])
    Generalist.create([task], registry=registry, **SIZES).save(tmp_path / "saved")
    state = json.loads((tmp_path / "saved" / "state.json").read_text())
    assert state["format"] == 1
    assert "artifact_files" not in state
    assert not (tmp_path / "saved" / "artifact-files").exists()


def test_remains_of_a_copy_that_was_killed_are_removed(registry, run, tmp_path):
    model = Generalist.from_pretrained(run, registry=registry)
    store = tmp_path / "saved" / "artifact-files"
    from ofacore.checkpoint.artifact_files import keep

    store.mkdir(parents=True)
    remains = store / f".tmp-{kept(run).name}-1"
    remains.write_bytes(b"half")
    (store / kept(run).name).write_bytes(b"cut")
    keep(store, model.assembly.artifacts)
    assert [path.name for path in store.iterdir()] == [kept(run).name]
    assert kept(tmp_path / "saved").read_bytes() == kept(run).read_bytes()


def test_a_file_that_changed_since_it_was_fitted_is_not_saved(registry, tmp_path):
    model = made(registry)
    path = model.assembly.artifacts["sound"].path("codec.npy")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"codec.npy: .*altered.*make the artifact anew"):
        model.save(tmp_path / "saved")
    path.unlink()
    with pytest.raises(
        CheckpointError, match=r"codec.npy: is gone.*put it back, so that it can be saved"
    ):
        model.fit(steps=1, out=tmp_path / "run", **FIT)
    with pytest.raises(UserError, match="the file 'codec.npy' of an artifact is gone"):
        heard(model)
    assert not (tmp_path / "saved").exists()


def test_an_artifact_is_its_content(tmp_path):
    first, second = tmp_path / "a.bin", tmp_path / "b.bin"
    first.write_bytes(b"same")
    second.write_bytes(b"same")
    assert Artifact.from_file(first, "x").digest == Artifact.from_file(second, "x").digest
    assert Artifact.from_file(first).digest != Artifact.from_file(second).digest
    both = Artifact.of_json("y.json", 1).with_file(first)
    assert (both.json("y.json"), both.path("a.bin")) == (1, first)
    assert Artifact.of_json("y.json", 1).digest == Artifact({"y.json": b"1"}).digest
    with pytest.raises(UserError, match=r"c.bin: no such file"):
        Artifact.from_file(tmp_path / "c.bin")
    with pytest.raises(KeyError, match=r"no file 'y.json' by reference; it has a.bin"):
        both.path("y.json")
    with pytest.raises(ValueError, match="cannot be called '../a'"):
        Artifact.from_file(first, "../a")
    with pytest.raises(ValueError, match=r"two files 'y.json'"):
        both.with_file(first, "y.json")


class Heard(ModalityConformance):
    plugin = codes.MANIFEST
    slot = "SOUND"
    values = ([0.5, 0.25], [1.0])


def test_the_kit_finds_what_is_sent_to_workers():
    good, greedy = (
        Heard(),
        type("Greedy", (Heard,), {"plugin": codes.manifest(codec=codes.GreedySound)})(),
    )
    good.test_files_by_reference_are_not_sent_to_workers(good.bench())
    with pytest.raises(AssertionError, match="bytes are sent to each worker process.*__getstate__"):
        greedy.test_files_by_reference_are_not_sent_to_workers(greedy.bench())
