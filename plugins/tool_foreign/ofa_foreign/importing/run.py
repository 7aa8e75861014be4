"""``ofa import``: a checkpoint of another project becomes a run of ours.

Everything is compared before anything is written: every name and shape of the tensors, every token of the dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ofa_foreign.formats.dialects import dialect_of
from ofa_foreign.formats.reading import Foreign, read_foreign
from ofa_foreign.formats.tokens import core_names
from ofa_foreign.importing.backbone import is_for_backbone, on_backbone
from ofa_foreign.importing.own_run import is_own_run, with_experts
from ofa_foreign.importing.tasks import (
    adapter,
    configuration,
    preprocessing,
    tasks_of,
    uses_of,
    with_banned,
)
from ofa_foreign.importing.vocabulary import assemble, without_files
from ofa_foreign.importing.weights import aside_lines, judged, weights_of
from ofa_foreign.importing.writing import ARTIFACT, artifact_of, write_run
from ofacore.checkpoint import CheckpointError
from ofacore.checkpoint.checkpoint_errors import SHOWN
from ofacore.config.sizes import ModelSizeError
from ofacore.generalist.facade import Generalist, build_model
from ofacore.ground.errors import UserError
from ofacore.ground.folders import check_writable
from ofacore.ground.printable import shortened
from ofacore.model.allowance import Allowance
from ofacore.model.universal import UniversalModel
from ofacore.plugin import Registry
from ofacore.setup.assembly import Assembly

_MOST, _LONGEST = 40, 500
"""Lines of one kind in a report, and characters of a line."""


@dataclass(frozen=True)
class ImportReport:
    """What was done.

    Attributes:
        folder: The run.
        form: Which project the checkpoint was of; ``ofacore`` for a run of this one.
        tasks: Task -> instruction.
        parameters: Numbers taken over.
        tokens: Rows of the token table.
        unowned: Names of tokens that no installed preprocessor owns; their rows are kept.
        allowed: Names and shapes that did not match, as allowed.
        left_out: What of the checkpoint is not used here: instructions, adapters, the optimizer's state; and why.
        notes: What else a reader should know of its numbers.
    """

    folder: Path
    form: str
    tasks: Mapping[str, str]
    parameters: int
    tokens: int
    unowned: tuple[str, ...]
    allowed: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report in words."""
        left_out = [f"left out: {line}" for line in self.left_out]
        more = [f"left out: {len(left_out) - _MOST} more"] if len(left_out) > _MOST else []
        found = [
            f"{self.folder}: {self.parameters} parameters and {self.tokens} tokens of a model of {self.form}"
        ]
        found += [f"task {name}: {instruction}" for name, instruction in self.tasks.items()]
        found += [*left_out[:_MOST], *more]
        found += [f"note: {line}" for line in self.notes]
        if self.unowned:
            shown = ", ".join(shortened(name, 40) for name in self.unowned[:SHOWN])
            found.append(
                f"{len(self.unowned)} tokens that no installed plugin owns, kept as they are: {shown} ..."
            )
        found += [f"allowed: {line}" for line in self.allowed]
        return [shortened(line, _LONGEST) for line in found]


def import_run(
    path: Path,
    out: Path,
    *,
    instructions: Sequence[str] = (),
    allow: Sequence[str] = (),
    tokenizer: Path | None = None,
    experts: str = "none",
    registry: Registry | None = None,
) -> ImportReport:
    """Import a checkpoint.

    Args:
        path: File or folder of the checkpoint; with ``experts`` a dense run of this project, too.
        out: Run folder to make; it must be empty or not exist.
        instructions: What the model shall be asked; default: what the checkpoint says, else text to text.
        allow: Patterns (`re.search`) of names that may be missing, unexpected or of another shape.
        tokenizer: Folder of the tokenizer's files, where they are not beside the checkpoint.
        experts: ``modality``: every adapter gets a copy of the feed-forward layers to go on from.
        registry: Plugins to use; default: all that are installed.

    Raises:
        UserError: The checkpoint, an instruction or the place cannot be used; nothing is then written.
    """
    check_writable(out)
    if out.exists() and any(out.iterdir()):
        raise CheckpointError(out, "is not empty; choose another folder with --out")
    if tokenizer is not None and not tokenizer.is_dir():
        raise UserError(
            f"--tokenizer '{tokenizer}' is no folder; expected one with the tokenizer's files"
        )
    if experts == "modality" and is_own_run(path):
        return _experts_of(
            path,
            out,
            {"--instruction": instructions, "--allow": allow, "--tokenizer": tokenizer},
            registry,
        )
    registry = registry or Registry.discover()
    if is_for_backbone(path, registry):
        return _on_backbone(path, out, instructions, registry)
    foreign = read_foreign(path)
    load = partial(adapter, registry)
    dialect = dialect_of(foreign, load)
    tasks, left_out = tasks_of(foreign, dialect, instructions, registry)
    names = foreign.names(dialect.rows)
    options, unread = preprocessing(foreign, tasks, registry)
    left_out += unread
    if not instructions:
        tasks, lost = without_files(tasks, options, registry, tokenizer or foreign.folder, names)
        left_out += lost
    config = configuration(foreign, dialect, tasks, experts, options, registry)
    settings = {} if foreign.form == "ofasys" else foreign.config
    core = core_names(names, settings)
    assembly, placement = assemble(config, registry, names, core, tokenizer or foreign.folder)
    assembly.config = with_banned(assembly.config, dialect.banned, placement.ours())
    uses = uses_of(assembly.plans.values())
    dialect = dialect_of(foreign, load, uses)
    model = _built(assembly, foreign)
    state, kept, findings = weights_of(
        dialect, placement, model.portable_state(), uses, foreign.path
    )
    left_out += [*aside_lines(dialect, uses, findings.aside), *dialect.left_out, *foreign.remarks]
    allowed = judged(findings, allow, foreign.path)
    model.load_portable({**model.portable_state(), **state})
    assembly.artifacts[ARTIFACT] = artifact_of(foreign, dialect, placement, kept)
    write_run(Generalist(assembly, model), out)
    sizes = sum(tensor.numel() for tensor in state.values())
    return ImportReport(
        out,
        foreign.form,
        {name: str(task["instruction"]) for name, task in tasks.items()},
        sizes,
        dialect.rows,
        placement.unowned,
        tuple(allowed),
        tuple(left_out),
        _notes(foreign),
    )


def _on_backbone(
    path: Path, out: Path, instructions: Sequence[str], registry: Registry
) -> ImportReport:
    """A folder of transformers becomes a run that stands on it."""
    made, left_out = on_backbone(path, instructions, registry)
    write_run(made, out)
    tasks = {name: str(task.instruction) for name, task in made.assembly.config.tasks.items()}
    sizes = sum(tensor.numel() for tensor in made.model.portable_state().values())
    return ImportReport(
        out, "transformers", tasks, sizes, made.assembly.vocabulary.size, (), (), left_out
    )


def _built(assembly: Assembly, foreign: Foreign) -> UniversalModel:
    """The model with initial values.

    Raises:
        CheckpointError: The settings give no model, or one far larger than what the checkpoint holds.
    """
    numbers = sum(tensor.numel() for tensor in foreign.tensors.values())
    try:
        with Allowance(numbers):
            return build_model(assembly)
    except ModelSizeError as error:
        raise CheckpointError(foreign.path, f"its settings give no model: {error}") from error


def _notes(foreign: Foreign) -> tuple[str, ...]:
    """What is told of numbers: those that lose precision, and those that are none."""
    found = []
    if double := [
        name for name, tensor in foreign.tensors.items() if tensor.dtype == torch.float64
    ]:
        found.append(f"{len(double)} tensors of float64 were rounded to float32")
    if broken := [name for name, tensor in foreign.tensors.items() if bool(tensor.isnan().any())]:
        found.append(
            f"{len(broken)} tensors hold NaN, such as '{broken[0]}': the checkpoint is of a training that failed"
        )
    return tuple(found)


def _experts_of(
    path: Path, out: Path, given: Mapping[str, object], registry: Registry | None
) -> ImportReport:
    """A dense run of this project becomes one with experts.

    Raises:
        UserError: An option is given that a run has no use for, or the run cannot be used.
    """
    needless = [name for name, value in given.items() if value]
    if needless:
        raise UserError(
            f"'{path}' is a run of this project: it has its tasks and tokens; leave out {', '.join(needless)}"
        )
    made = with_experts(path, registry)
    write_run(made, out)
    tasks = {
        name: str(task.instruction or task.preset)
        for name, task in made.assembly.config.tasks.items()
    }
    sizes = sum(tensor.numel() for tensor in made.model.portable_state().values())
    left_out = ("the optimizer's state: training goes on with a new one",)
    return ImportReport(
        out, "ofacore", tasks, sizes, made.assembly.vocabulary.size, (), (), left_out
    )
