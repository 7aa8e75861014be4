"""Rows of other sources for tasks of the starter: what a model does where the data shift.

``python benchmarks/other_sources.py OUT`` writes

- ``amazon.csv``, ``editorials.csv``: product reviews and newspaper sentences, rated by the same people as the films'
  snippets and tweets that the sentiment tasks learn from (Hutto and Gilbert 2014);
- ``twemoji.csv`` with pictures beside it: the held-out emoji of the starter as another designer draws them (Twemoji,
  CC BY 4.0, by way of the npm package ``@twemoji/svg``). It needs ``npm``; without it this part is left out, and said.

``ofa report retention starter-all --data movie_sentiment=OUT/amazon.csv`` scores them.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import subprocess
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from ofa_task_language.data.reviews import LABELS, NEUTRAL, texts
from ofa_task_vision.data.emoji_category import NAMES
from ofa_task_vision.data.openmoji import OpenMoji, on_white
from ofa_task_vision.data.pictures import SIZE

ROWS = 300
TWEMOJI = "@twemoji/svg@15.0.0"


def write_reviews(name: str, file: Path) -> int:
    """Rows ``text, label`` that are clearly negative or positive; returns how many."""
    clear = [(score, text) for score, text in texts(name) if abs(score) >= NEUTRAL]
    chosen = random.Random(0).sample(clear, min(ROWS, len(clear)))
    rows = [{"text": text, "label": LABELS[score > 0]} for score, text in chosen]
    write_rows(rows, file)
    return len(rows)


def write_emoji(drawings: dict[str, bytes], folder: Path) -> int:
    """Rows ``img, category, cap`` of held-out emoji, pictures in ``twemoji/``; returns how many."""
    import resvg_py

    pictures = folder / "twemoji"
    pictures.mkdir(exist_ok=True)
    rows = []
    for item in OpenMoji().items():
        category = item.category.lower().replace("&", "and")
        drawing = drawings.get(item.code)
        if item.split != "test" or category not in NAMES or drawing is None:
            continue
        png = resvg_py.svg_to_bytes(svg_string=drawing.decode(), width=SIZE, height=SIZE)
        picture = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"), dtype=np.uint8)
        Image.fromarray(on_white(picture)).save(pictures / f"{item.code}.png")
        path = f"twemoji/{item.code}.png"
        rows.append({"img": path, "category": category, "cap": item.names["en"]})
    write_rows(rows, folder / "twemoji.csv")
    return len(rows)


def twemoji_drawings(folder: Path) -> dict[str, bytes]:
    """Code of an emoji, in the form of the starter's items -> SVG."""
    command = ["npm", "pack", "--silent", TWEMOJI, "--pack-destination", str(folder)]
    archive = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
    found: dict[str, bytes] = {}
    with tarfile.open(folder / archive) as tar:
        for member in tar.getmembers():
            path, file = Path(member.name), tar.extractfile(member)
            if path.suffix == ".svg" and file is not None:
                parts = [part.upper() for part in path.stem.split("-")]
                found["-".join(part for part in parts if part != "FE0F")] = file.read()
    (folder / archive).unlink()
    return found


def write_rows(rows: list[dict[str, str]], file: Path) -> None:
    """A CSV file of rows that have the same columns."""
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Write all that can be had."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    print("amazon.csv:", write_reviews("amazonReviewSnippets", out / "amazon.csv"), "rows")
    print("editorials.csv:", write_reviews("nytEditorialSnippets", out / "editorials.csv"), "rows")
    try:
        drawings = twemoji_drawings(out)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"twemoji.csv: left out, npm did not give {TWEMOJI} ({error})")
        return
    print("twemoji.csv:", write_emoji(drawings, out), "rows")


if __name__ == "__main__":
    main()
