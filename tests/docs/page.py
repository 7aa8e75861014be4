"""Runs what a page of the documentation shows.

``python tests/docs/page.py PAGE.md`` goes through the fenced blocks of a page in order, in the current folder:

- ``python`` blocks share one namespace;
- ``bash`` blocks run line by line; ``ofa ...`` by the command's own entry point in this process, all else by bash;
- ``console`` blocks hold ``$ command`` lines, and what each prints must be what stands below it, where a line ``...``
  stands for any lines, and within a line for anything;
- a block behind ``<!-- file: NAME -->`` is written to that file;
- a block behind ``<!-- not run: reason -->`` is left alone.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUN = ("python", "bash", "console")
_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>file|not run): (?P<text>.+?) -->\n)?"
    r"^(?P<fence>```+)(?P<kind>[\w-]*)\n(?P<body>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_BARE_MARK = re.compile(r"<!-- not run(?!: \S).*?-->")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    kind: str
    body: str
    line: int
    """Line of its first line of content."""
    file: str = ""
    skipped: str = ""
    """Why it is not run."""


def blocks(text: str) -> Iterator[Block]:
    """All fenced blocks of a page.

    Raises:
        ValueError: A block is left out without a reason.
    """
    if _BARE_MARK.search(text):
        raise ValueError("a block that is not run needs a reason: <!-- not run: reason -->")
    for match in _FENCE.finditer(text):
        marks = {match["mark"]: match["text"]}
        line = text.count("\n", 0, match.start("body")) + 1
        yield Block(
            match["kind"], match["body"], line, marks.get("file", ""), marks.get("not run", "")
        )


def run_page(page: Path) -> None:
    """Run a page in the current folder; an exception names the line of the page."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.file:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.body, encoding="utf-8")
        elif not block.skipped and block.kind == "python":
            exec(compile("\n" * (block.line - 1) + block.body, str(page), "exec"), namespace)
        elif not block.skipped and block.kind in ("bash", "console"):
            _run_commands(block, page)


def _run_commands(block: Block, page: Path) -> None:
    for command, expected in _commands(block):
        code, output = _run(command)
        place = f"{page.name}:{block.line}: {command}"
        if block.kind == "bash":
            assert code == 0, f"{place}\nexit code {code}\n{output}"
        else:
            assert _matches(output, expected), (
                f"{place}\nprinted\n{output}\nbut the page says\n{expected}"
            )


def _commands(block: Block) -> Iterator[tuple[str, str]]:
    """(command, expected output); continuation lines joined, comments and empty lines of bash left out."""
    if block.kind == "console":
        for part in re.split(r"^\$ ", block.body, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            yield command, expected
        return
    for line in block.body.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line, ""


def _run(command: str) -> tuple[int, str]:
    """Exit code, and what it printed on both streams."""
    arguments = shlex.split(command, comments=True)
    if arguments[0] != "ofa" or {"|", ">", "&&"} & set(arguments):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        done = subprocess.run(
            ["bash", "-c", command],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr
    from ofa_cli.main import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main(arguments[1:])
        except SystemExit as end:
            return int(end.code or 0), printed.getvalue()
    return 0, printed.getvalue()


def _matches(output: str, expected: str) -> bool:
    kept = [
        _line(line.rstrip()) if line.strip() != "..." else ".*"
        for line in expected.strip().splitlines()
    ]
    shown = "\n".join(line.rstrip() for line in output.strip().splitlines())
    return re.fullmatch("\n".join(kept), shown, re.DOTALL) is not None


def _line(expected: str) -> str:
    return re.escape(expected).replace(re.escape("..."), r"[^\n]*")


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
