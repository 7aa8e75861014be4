"""What a pretrained tower lifts: the same task with and without it, equal steps, samples and seed.

    python benchmarks/towers.py words WHISPER --steps 60
    python benchmarks/towers.py emoji MINILM --pairs .../emoji/unicode_codes/emoji.json --steps 60

`words`: which of twenty words is spoken (task `spoken_words`, synthetic voices, those of the test unheard), by the
frozen encoder of a Whisper, or by filterbanks and convolutions that are learned. `emoji`: the name of an emoji and
what other systems call it, matched by a contrast; by the mean of a frozen sentence encoder, or by tokens that are
learned. The file of names is that of the package `emoji`. Tested are
pairs that share no word, of emoji that training has not seen.
WHISPER and MINILM are folders of transformers.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from measuring import save, settle

from ofacore import Generalist, Task

SIZES = {"hidden": 96, "ffn": 192, "heads": 4, "encoder_layers": 2, "decoder_layers": 1}
SKIN = range(0x1F3FB, 0x1F400)
KEPT = ("task", "metric", "score", "low", "high", "samples")


def words_task(tower: bool) -> Task:
    """The preset, read by either."""
    if not tower:
        return Task("spoken_words", preset="spoken_words")
    line = "[AUDIO:wav,preprocess=audio_wave] which word is spoken? -> [TEXT:word,closed_set]"
    return Task("spoken_words", line, preset="spoken_words")


def emoji_task(tower: bool, names: Path) -> Task:
    """Names of emoji against what other systems call them."""
    rows: dict[str, list[dict[str, str]]] = {"train": [], "test": []}
    for code, entry in json.loads(names.read_text(encoding="utf-8")).items():
        if any(ord(letter) in SKIN for letter in code):
            continue
        name = plain(entry["en"])
        others = [plain(alias) for alias in entry.get("alias", ())]
        split = "test" if int(sha256(name.encode()).hexdigest(), 16) % 2 else "train"
        for other in others:
            apart = not set(other.split()) & set(name.split())
            if other and other != name and (split == "train" or apart):
                rows[split].append({"name": name, "other": other})
    how = ",preprocess=text_tower" if tower else ""
    use = {"metric": "recall", "slot": "name", "options": {"k": [1, 10]}}
    line = f"[TEXT:name{how}|TEXT:other{how}] ->"
    return Task("emoji", line, train=rows["train"], test=rows["test"], metrics=[use])


def plain(name: str) -> str:
    """Words of a name such as `:thumbs_up:`."""
    return " ".join(re.findall(r"[\w+]+", name.replace("_", " ").replace("’", "").lower()))


def trained(task: Task, options: Mapping[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Scores of a model that is trained here, and its seconds of the processor."""
    begin = time.process_time()
    model = Generalist.create([task], preset="tiny", **SIZES, options=options)
    with tempfile.TemporaryDirectory() as folder:
        model.fit(
            out=folder,
            seed=args.seed,
            steps=args.steps,
            samples=args.samples,
            precision="fp32",
            threads=1,
            optimizer={"name": "adamw", "lr": args.lr},
        )
    worked = time.process_time() - begin
    scores = model.evaluate(limit=args.rows, baseline=False)
    kept = [{key: asdict(score)[key] for key in KEPT} for score in scores]
    return {"scores": kept, "processor seconds of training": round(worked)}


def main() -> None:
    """Train both, print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=("words", "emoji"))
    parser.add_argument("tower", help="folder of transformers")
    parser.add_argument("--pairs", type=Path, help="of emoji: the file of names")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.task == "emoji" and args.pairs is None:
        parser.error("emoji needs --pairs")
    settle(True, 1)
    heard = {"path": args.tower, "frozen": True, "pad_seconds": 1}
    read = {"frozen": True, "pool": "mean"}
    options = {
        "words": {"adapter/audio_tower": heard},
        "emoji": {"preprocessor/text_tower": {"path": args.tower}, "adapter/text_tower": read},
    }
    results: dict[str, Any] = {"steps": args.steps, "samples": args.samples, "lr": args.lr}
    for side in ("with", "without"):
        tower = side == "with"
        task = words_task(tower) if args.task == "words" else emoji_task(tower, args.pairs)
        results[side] = trained(task, options[args.task] if tower else {}, args)
        print(side, results[side], flush=True)
    save(f"tower_{args.task}", results)


if __name__ == "__main__":
    main()
