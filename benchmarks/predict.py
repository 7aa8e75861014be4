"""`ofa predict` on texts of mixed lengths against a pipeline of transformers, on the same BART with random weights.

    python benchmarks/predict.py --preset tiny --rows 256

The peer is asked as its users ask it: text by text in a loop, and in batches of 64 in the order of the rows.
(Transformers has no pipeline from text to text any more; this one is what it was: tokenizer, `generate`, tokenizer.)
Ours reads a file of JSON lines and writes one, as the command does. 16 tokens are generated for each row, greedily.
Loading is left out on both sides. Each side runs in a process of its own, in turn; printed are medians of rows a second
and the ratios, which are to reach 1.5 against the loop.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import in_turn, middle, save, settle

LENGTH, BATCH, VOCABULARY, LONGEST = 16, 64, 50_265, 60
SIZES = {"tiny": (256, 1024, 4, 4), "base": (768, 3072, 12, 6)}
WORDS = ("<s>", "<pad>", "</s>", "<unk>", "\u0120", *"abcdefghijklmnopqrstuvwxyz", "<mask>")
INSTRUCTION = "[TEXT:text] -> [TEXT:answer]"


def texts(count: int) -> list[str]:
    """Texts of 2 to 60 letters, most of them short, as rows of real data are."""
    rng = random.Random(0)
    lengths = [2 + int((LONGEST - 2) * rng.random() ** 2) for _ in range(count)]
    return ["".join(rng.choice(WORDS[5:31]) for _ in range(length)) for length in lengths]


def write_model(folder: Path, preset: str) -> None:
    """A BART as `save_pretrained` writes it, with a tokenizer of letters."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    hidden, ffn, heads, layers = SIZES[preset]
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=VOCABULARY,
        d_model=hidden,
        encoder_ffn_dim=ffn,
        decoder_ffn_dim=ffn,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_layers=layers,
        decoder_layers=layers,
    )
    BartForConditionalGeneration(config).save_pretrained(folder)
    words = {word: row for row, word in enumerate(WORDS)}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def peer(folder: Path, batch: int) -> Callable[[list[str]], int]:
    """A pipeline that is called in a loop, or with batches."""
    import torch
    from transformers import BartForConditionalGeneration, BartTokenizer, Pipeline

    class TextToText(Pipeline):
        """From text to text."""

        def _sanitize_parameters(self, **_: Any) -> tuple[dict, dict, dict]:
            return {}, {}, {}

        def preprocess(self, text: str) -> Any:
            return self.tokenizer(text, return_tensors="pt")

        def _forward(self, inputs: Any) -> Any:
            return {
                "ids": self.model.generate(
                    input_ids=inputs["input_ids"],
                    attention_mask=inputs["attention_mask"],
                    max_new_tokens=LENGTH,
                    min_new_tokens=LENGTH,
                    num_beams=1,
                    do_sample=False,
                )
            }

        def postprocess(self, outputs: Any) -> str:
            return str(self.tokenizer.decode(outputs["ids"][0], skip_special_tokens=True))

    tokenizer = BartTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    model = BartForConditionalGeneration.from_pretrained(folder).eval()
    pipe = TextToText(model=model, tokenizer=tokenizer, device=torch.device("cpu"))

    def answer(rows: list[str]) -> int:
        if batch == 1:
            return len([pipe(text) for text in rows])
        return len(list(pipe(rows, batch_size=batch)))

    return answer


def ours(folder: Path) -> Callable[[list[str]], int]:
    """What `ofa predict` does once the model is loaded, file to file."""
    from ofa_cli.predicting.answers import AnswerWriter
    from ofa_cli.predicting.asked_rows import asked_rows
    from ofa_cli.predicting.journal import Journal, Standing
    from ofa_cli.predicting.places import AnswerPlaces
    from ofa_cli.predicting.predict import WINDOW, answer_all
    from ofacore import Generalist
    from ofacore.config.task_section import DataConfig

    model = Generalist.from_pretrained(folder / "run")
    plan = model.plan(INSTRUCTION)
    options = {"min_length": LENGTH, "max_length": LENGTH, "strategy": "greedy"}
    inference = model.inference(plan, batch_size=BATCH, **options)

    def answer(rows: list[str]) -> int:
        data, out = folder / "rows.jsonl", folder / "answers.jsonl"
        data.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
        out.unlink(missing_ok=True)
        asked = asked_rows(str(data), plan, model.registry, config=DataConfig(), given={}, files=())
        places = AnswerPlaces(out, folder / "files")
        with Journal(places, Standing()) as journal:
            writer = AnswerWriter(None, folder)
            done = answer_all(asked, inference, writer, journal, WINDOW * BATCH, Standing())
        assert done.bad == 0
        return done.answers

    return answer


SIDES = ("loop", "batches", "ofacore")


def measured(side: str, preset: str, rows: int) -> dict[str, list[float]]:
    """Wall and processor seconds of one pass over all rows, after some to warm up."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder, preset)
        if side == "ofacore":
            import_model(folder)
        work = ours(folder) if side == "ofacore" else peer(folder, 1 if side == "loop" else BATCH)
        asked = texts(rows)
        work(asked[:4])
        start, worked = time.perf_counter(), time.process_time()
        assert work(asked) == rows
        return {
            "times": [time.perf_counter() - start],
            "busy": [time.process_time() - worked],
        }


def import_model(folder: Path) -> None:
    """`ofa import`."""
    import contextlib

    from ofa_cli.main import main as ofa

    with contextlib.suppress(SystemExit):
        ofa(["import", str(folder), "--out", str(folder / "run"), "--instruction", INSTRUCTION])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=list(SIZES), default="tiny")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side is not None:
        settle(True, args.threads)
        print(json.dumps(measured(args.side, args.preset, args.rows)))
        return
    given = {"preset": args.preset, "rows": args.rows, "threads": args.threads}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    found = in_turn(__file__, SIDES, args.rounds, words)
    results: dict[str, object] = {**given, "rounds": args.rounds}
    rates = {
        side: {key: args.rows / middle(runs, key) for key in ("times", "busy")}
        for side, runs in found.items()
    }
    for side, rate in rates.items():
        print(f"{side:8s} {rate['times']:7.1f} rows/s, {rate['busy']:7.1f} by processor time")
    for side in ("loop", "batches"):
        ratio = {key: rates["ofacore"][key] / rates[side][key] for key in ("times", "busy")}
        print(f"ofacore / {side}: {ratio['times']:.2f}, by processor time {ratio['busy']:.2f}")
        results[f"ratio to {side}"] = {"wall": ratio["times"], "processor": ratio["busy"]}
    results["rows a second"] = rates
    results["to reach"] = 1.5
    save(f"predict_{args.preset}", results)


if __name__ == "__main__":
    main()
