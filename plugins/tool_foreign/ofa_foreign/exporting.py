"""``ofa export``: the model of a run as files of other programs."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save_file
from torch import Tensor

from ofa_foreign.formats import bart_export, ofa_names
from ofa_foreign.formats.entry_json import from_json
from ofa_foreign.formats.mapping import Entry, given
from ofa_foreign.formats.search_export import settings_of_search
from ofa_foreign.formats.tokens import gathered
from ofa_foreign.importing import ARTIFACT, DICTIONARY, FORM, KEPT
from ofa_foreign.importing.weights import EXPERT
from ofacore.checkpoint import CheckpointError
from ofacore.checkpoint.checkpoint_errors import listed
from ofacore.checkpoint.durable import sync_tree, write_json
from ofacore.config import show
from ofacore.generalist.facade import Generalist
from ofacore.generalist.low_rank import without_low_rank
from ofacore.generalist.storing import described, load
from ofacore.ground.artifacts import Artifact
from ofacore.ground.errors import UserError
from ofacore.ground.folders import check_writable
from ofacore.ground.json_files import read_json
from ofacore.ground.json_text import json_text
from ofacore.ground.vocabulary import Vocabulary
from ofacore.plan.generation import generation_of, target_slots
from ofacore.protocols import Options

logger = logging.getLogger("ofacore.foreign")
_GENERATION = "generation_config.json"
_TOKENIZER = "tokenizer.json"


def export_run(
    run: Path, out: Path, form: str, which: str = "latest", tasks: Sequence[str] = ()
) -> Path:
    """Write the model of a run.

    Args:
        run: Run folder or saved model.
        out: Folder to make; it appears whole or not at all.
        form: ``safetensors``: an imported model under the names that it came with, any other under ours;
            ``hf-bart``: what `transformers.BartForConditionalGeneration` reads; ``transformers``: the folder of a model
            whose backbone came from one; or ``ofa``: a saved model.
        which: Of a run folder: ``latest`` or ``best``.
        tasks: Only these, without what the others alone need, under our names; none: all.

    Returns:
        The folder.

    Raises:
        UserError: The run cannot be read, its model has not that form, or the place is taken.
    """
    check_writable(out)
    if out.exists() and any(out.iterdir()):
        raise CheckpointError(out, "is not empty; choose another folder with --out")
    generalist = load(run, None, which)
    if tasks:
        generalist = generalist.only(tasks)
        generalist.assembly.artifacts.pop(ARTIFACT, None)
    generalist = without_low_rank(generalist)
    if form == "ofa":
        return generalist.save(out)
    if form == "transformers":
        return _to_transformers(generalist, run, out)
    artifact = generalist.assembly.artifacts.get(ARTIFACT)
    came = (
        artifact
        if artifact is not None and (form != "hf-bart" or _form(artifact)["form"] == "bart")
        else None
    )
    if came is not None and generalist.assembly.config.model.prefix.length:
        raise CheckpointError(
            run,
            "its prefix (model.prefix) has no name in the files that the model came in; choose --format ofa",
        )
    if came is not None:
        tensors, files = theirs(generalist, came), _side_files(came)
        tensors = tensors if form == "hf-bart" else _as_in_the_file(tensors, _form(came))
    elif form == "hf-bart":
        tensors, files = _as_bart(generalist, run)
    else:
        tensors, files = generalist.model.portable_state(), {}
    _write(out, tensors, files, generalist)
    return out


def _as_bart(generalist: Generalist, run: Path) -> tuple[dict[str, Tensor], dict[str, bytes]]:
    """A model that was not a BART before.

    Raises:
        CheckpointError: It has what no BART has; lists it all.
    """
    config, vocabulary = generalist.assembly.config.model, generalist.assembly.vocabulary
    state = generalist.model.portable_state()
    adapters = sorted(
        {slot.adapter for plan in generalist.assembly.plans.values() for slot in plan.slots()}
    )
    positions = generalist.registry.component("positions", config.positions).options
    problems = bart_export.misfits(config, vocabulary, list(state), adapters, positions)
    if problems:
        shown = "\n  ".join(problems)
        raise CheckpointError(
            run,
            f"its model is no BART; nothing was written:\n  {shown}\nThe way out: --format safetensors",
        )
    found = bart_export.tensors(config, vocabulary, state, generalist.model.embedding.silent)
    return found, {
        "config.json": json_text(bart_export.settings(config, vocabulary), indent=1).encode()
    }


def _to_transformers(generalist: Generalist, run: Path, out: Path) -> Path:
    """The folder of a model that stands on one of transformers: weights, configuration, tokenizer.

    Raises:
        CheckpointError: Its backbone is another.
    """
    write: Any = getattr(generalist.model.backbone, "write_folder", None)
    if write is None:
        name = generalist.assembly.config.model.backbone
        raise CheckpointError(
            run, f"its backbone is '{name}', none of transformers; choose --format safetensors"
        )
    if generalist.assembly.config.model.prefix.length:
        raise CheckpointError(
            run,
            "its prefix (model.prefix) has no place in a folder of transformers; choose --format ofa",
        )
    with _appearing(out) as temporary:
        write(temporary, generalist.model.portable_state(), generalist.assembly.vocabulary)
        _write_search(temporary, generalist)
        for artifact in generalist.assembly.artifacts.values():
            if _TOKENIZER in artifact.files:
                (temporary / _TOKENIZER).write_bytes(artifact.files[_TOKENIZER])
    return out


def _write_search(folder: Path, generalist: Generalist) -> None:
    """Write how the run searches, where all its tasks search alike, into the file that `generate` reads."""
    found = _searches(generalist)
    if not found or any(options != found[0] for options in found):
        return
    file, vocabulary = folder / _GENERATION, generalist.assembly.vocabulary
    said, size = read_json(file), read_json(folder / "config.json")["vocab_size"]
    names = [block for block in vocabulary.blocks if block.name.startswith("text/")]
    text = next(block for block in names if block.size == size)
    said |= settings_of_search(found[0], vocabulary, text, said)
    write_json(file, said)


def _searches(generalist: Generalist) -> list[Options]:
    """Options of each generator that searches tokens."""
    config, found = generalist.assembly.config, []
    for plan in generalist.assembly.plans.values():
        layers = (config.generation, plan.generation)
        slots = target_slots(plan)
        generators = generation_of(slots, generalist.registry, *layers).generators
        found += [options for options in generators.values() if "banned_tokens" in options]
    return found


def theirs(generalist: Generalist, artifact: Artifact) -> dict[str, Tensor]:
    """Tensors of an imported model under the names, in the shapes and types that it came with, wrappers left out.

    What joined the model since has no name there; it is told.

    Raises:
        UserError: Its experts have become different, which the other project has no place for.
    """
    form, kept = _form(artifact), from_bytes(artifact.files[KEPT])
    ids = json.loads(artifact.files[DICTIONARY])["ids"]
    entries, state = from_json(form["entries"]), generalist.model.portable_state()
    if any(EXPERT.search(entry.ours) for entry in entries):
        _check_shared(entries, state)
    else:
        state = _without_experts(state)
    found = {**given(entries, state, kept), **kept}
    vocabulary = generalist.assembly.vocabulary
    if joined := _joined(entries, state, vocabulary, ids):
        logger.warning(
            "left out, as the files that the model came in have no names for what joined it since: %s; "
            "--format ofa writes all of it",
            listed(joined),
        )
    found |= {name: gathered(vocabulary, ids, state) for name in form["copies"]}
    if form.get("head"):
        found[form["head"]] = gathered(vocabulary, ids, state, ".output")
    if form["bias"]:
        name, shape = form["bias"]
        found[name] = gathered(vocabulary, ids, state, ".bias").reshape(shape)
    if form["form"] == "ofa":
        found = ofa_names.as_ofa(found, form["origin"], kept)
    return {
        name: tensor.to(getattr(torch, form["types"].get(name, "float32")))
        for name, tensor in found.items()
    }


def _joined(
    entries: Sequence[Entry],
    state: Mapping[str, Tensor],
    vocabulary: Vocabulary,
    ids: Sequence[int],
) -> list[str]:
    """Names of ours, of adapters, heads and blocks of tokens, that no tensor of the other project is made of."""
    made, known = {entry.ours for entry in entries}, set(ids)
    found = [
        name
        for name, tensor in state.items()
        if name.startswith(("adapters.", "heads."))
        and name not in made
        and tensor.is_floating_point()
    ]
    for block in vocabulary.blocks:
        first = vocabulary.offset(block.name)
        if known.isdisjoint(range(first, first + block.size)):
            found.append(f"embedding.{block.name}")
    return found


def _without_experts(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Equal experts as the one network that they are."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        dense = EXPERT.sub(".ffn.", name)
        if dense in found and not found[dense].equal(tensor):
            raise UserError(
                f"'{name}' differs from the other experts; this form has one network for all of them"
            )
        found[dense] = tensor
    return found


def _check_shared(entries: Sequence[Entry], state: Mapping[str, Tensor]) -> None:
    """Tensors of ours that the other project has one for are equal.

    Raises:
        UserError: They have become different.
    """
    first: dict[tuple[str, ...], str] = {}
    for entry in entries:
        if entry.ours in state and not state[entry.ours].equal(
            state[first.setdefault(entry.theirs, entry.ours)]
        ):
            other = first[entry.theirs]
            raise UserError(
                f"'{entry.ours}' and '{other}' differ; this form has '{entry.theirs[0]}' for both"
            )


def _form(artifact: Artifact) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(artifact.files[FORM])
    return found


def _as_in_the_file(tensors: Mapping[str, Tensor], form: Mapping[str, Any]) -> dict[str, Tensor]:
    """With what a wrapper had put before every name of the file, and without what they lacked."""
    prefix, lacking = form.get("prefix", ""), form.get("lacking", "")
    return {f"{prefix}{name.removeprefix(lacking)}": tensor for name, tensor in tensors.items()}


def _side_files(artifact: Artifact) -> dict[str, bytes]:
    return {
        n.removeprefix("file-"): content
        for n, content in artifact.files.items()
        if n.startswith("file-")
    }


def _write(
    out: Path, tensors: Mapping[str, Tensor], files: Mapping[str, bytes], generalist: Generalist
) -> None:
    with _appearing(out) as temporary:
        stored = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
        save_file(stored, str(temporary / "model.safetensors"), metadata={"format": "pt"})
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        write_json(temporary / "ofacore.json", described(generalist.assembly))
        (temporary / "ofacore.yaml").write_text(
            show(generalist.assembly.config, defaults=False), encoding="utf-8"
        )


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder to write to, which becomes ``out`` when all is written, and is gone where that fails."""
    out = out.resolve()
    temporary = out.with_name(f".tmp-{out.name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        sync_tree(temporary)
        if out.exists():
            out.rmdir()
        os.replace(temporary, out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
