"""Which tokenizer the options of the preprocessor ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ofa_modality_text.foreign import TOKENIZER, import_tokenizer, token_artifact
from ofa_modality_text.local_files import bert_artifact, bert_imported, gpt2_artifact
from ofa_modality_text.tokenizer import (
    TokenizerError,
    named_tokenizer,
    rows_of_model,
    table_size,
)
from ofacore.plugin import suggest
from ofacore.protocols import Artifact


def chosen_tokenizer(options: Mapping[str, Any]) -> Artifact | None:
    """The tokenizer that ``tokenizer`` and ``path`` name; None: train one.

    Without ``path``, ``tokenizer`` is a file, a folder or a Hugging Face name; with it, one of `KINDS`.

    Raises:
        TokenizerError: There is no such kind, or its files are missing, damaged or do not belong together.
    """
    kind, path = str(options.get("tokenizer", "")), str(options.get("path", ""))
    if path:
        if kind not in KINDS:
            hint = suggest(kind, KINDS) or f"there are {', '.join(filter(None, KINDS))}"
            raise TokenizerError(f"no kind of tokenizer '{kind}' for path '{path}'; {hint}")
        return KINDS[kind](Path(path))
    if kind in _LOCAL:
        raise TokenizerError(f"tokenizer '{kind}' needs the option path: {_LOCAL[kind]}")
    return _named(kind) if kind else None


def imported_tokenizer(folder: Path, names: Sequence[str]) -> Artifact:
    """The tokenizer of another project's model, by the files in a folder; ``names`` is its dictionary.

    Raises:
        TokenizerError: Its files are missing or damaged, or belong to another dictionary.
    """
    bpe = any(
        (folder / name).is_file() for name in ("vocab.json", "encoder.json", "tokenizer.json")
    )
    if not bpe and (folder / "vocab.txt").is_file():
        return bert_imported(folder, names)
    return import_tokenizer(folder, names)


def _named(path: str | Path) -> Artifact:
    tokenizer = named_tokenizer(str(path))
    rows = rows_of_model(Path(path))
    if rows > table_size(tokenizer):
        return token_artifact(tokenizer, (), leading_blank=False, rows=rows)
    return Artifact({TOKENIZER: tokenizer.to_str().encode()})


KINDS: Mapping[str, Callable[[Path], Artifact]] = {
    "gpt2": gpt2_artifact,
    "bert_cn": bert_artifact,
    "hf": _named,
    "": _named,
}
_LOCAL = {
    "bert_cn": "vocab.txt, or the folder that holds it, maybe with dict.txt",
    "hf": "a tokenizer.json, or the folder that holds it",
}
