"""What README and documentation show works: every block is run, or says why not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.docs.page import RUN, blocks
from tests.warm import run_program

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUNNER = Path(__file__).with_name("page.py")


def run(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OFA_CACHE": str(folder / "cache")}
    return run_program([str(RUNNER), str(page)], cwd=folder, env=environment, timeout=500)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_runs(page: Path, tmp_path: Path) -> None:
    if not any(
        block.kind in RUN and not block.skipped
        for block in blocks(page.read_text(encoding="utf-8"))
    ):
        return
    done = run(page, tmp_path)
    assert done.returncode == 0, f"{page.name}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.parametrize(
    "text",
    [
        "```python\n1 / 0\n```\n",
        "```bash\nofa explain '[TEXT:a'\n```\n",
        "```bash\nfalse\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
        "<!-- not run -->\n```bash\nfalse\n```\n",
    ],
)
def test_a_block_that_does_not_work_is_found(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    assert run(page, tmp_path).returncode != 0


def test_blocks_share_names_files_and_folder(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- file: a/b.txt -->\n```text\nhello\n```\n"
        "```python\ntext = open('a/b.txt').read()\n```\n"
        "<!-- not run: it fails -->\n```bash\nfalse\n```\n"
        "```python\nassert text == 'hello\\n'\n```\n"
        "```console\n$ printf 'one\\ntwo\\nthree\\n'\none\n...\nthree\n```\n"
    )
    done = run(page, tmp_path)
    assert done.returncode == 0, done.stderr
