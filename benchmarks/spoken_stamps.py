"""Rows of speech in one of ten languages: names of pictures as they are read aloud in Tux Paint.

    apt-get download tuxpaint-stamps-default
    dpkg -x tuxpaint-stamps-default_*.deb stamps
    python benchmarks/spoken_stamps.py stamps es rows

Writes `rows/train.csv`, `valid.csv` and `test.csv` with the columns `wav` (a path) and `text`. A caption is the line of
the language in the text beside a sound. Rows of one caption go into one file, which the caption alone decides. Left out
are sounds of more than ten seconds, and captions that nobody could say in the time of their sound.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import soundfile

LONGEST, FASTEST = 10.0, 25.0
"""Seconds of a sound, and letters in one of them."""
SHARES = (("test", 15), ("valid", 23), ("train", 100))
"""Name of a file -> captions with a smaller number in a hundred, unless an earlier file has them."""


def caption_of(text: Path, language: str) -> str:
    """What a sound says; empty where nobody wrote it down. English stands in the first line."""
    lines = text.read_text(encoding="utf-8").splitlines()
    if language == "en":
        return lines[0].strip() if lines else ""
    start = f"{language}.utf8="
    found = [line.removeprefix(start) for line in lines if line.startswith(start)]
    return found[0].strip() if found else ""


def pairs(folder: Path, language: str) -> Iterator[tuple[Path, str]]:
    """Sounds and captions of a language."""
    end = "_desc.ogg" if language == "en" else f"_desc_{language}.ogg"
    for sound in sorted(folder.rglob(f"*{end}")):
        text = sound.with_name(sound.name.removesuffix(end) + ".txt")
        caption = caption_of(text, language) if text.is_file() else ""
        seconds = soundfile.info(sound).duration
        if caption and len(caption) / FASTEST <= seconds <= LONGEST:
            yield sound, caption


def file_of(caption: str) -> str:
    """Which file the rows of a caption belong to."""
    number = int(hashlib.sha256(caption.lower().encode()).hexdigest(), 16) % 100
    return next(name for name, below in SHARES if number < below)


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", type=Path, help="where the package was unpacked")
    parser.add_argument("language", help="such as es, fr, ca, ru; en")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    rows: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for sound, caption in pairs(args.package, args.language):
        rows[file_of(caption)].append((str(sound.resolve()), caption))
    if not rows:
        parser.error(f"no sound of the language '{args.language}' in '{args.package}'")
    args.out.mkdir(parents=True, exist_ok=True)
    for name, _ in SHARES:
        with (args.out / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("wav", "text"))
            writer.writerows(rows[name])
        print(f"{name}: {len(rows[name])} rows")


if __name__ == "__main__":
    main()
