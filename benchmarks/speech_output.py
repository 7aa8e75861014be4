"""Speech by flow matching against the same frames one step after the other: seconds of sound a second on one core.

    python benchmarks/speech_output.py --preset tiny --rounds 3

From a text to log-mel frames of ``--length`` seconds (22,050 samples a second, hop 256), random weights, models of the
same size, as many frames a position on both sides. Flow matching takes the steps of its default, and looks at all
positions in each; the generator `audio_steps` writes one position after the other with its cache of keys and values,
then refines all by its postnet. The vocoder, which both share, is left out. Each side runs in a process of its own, in
turn. Printed: seconds of sound a second, and the ratios of the medians by wall time and by processor time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from measuring import in_turn, middle, save, settle, timed

SIDES = {"one after the other": ",preprocess=audio_steps", "flow": ""}
TEXT = "the birch canoe slid on the smooth planks"
RATE = 22_050


def speaking(side: str, args: argparse.Namespace) -> Callable[[], object]:
    """One call: the frames of a batch of texts."""
    import numpy as np

    from ofacore import Generalist, Task

    slot = f"[AUDIO:wav{SIDES[side]},n_frames_per_step={args.packed},seconds={args.length}]"
    noise = 0.1 * np.random.default_rng(0).normal(size=RATE // 2).astype(np.float32)
    sound = {"array": noise, "sampling_rate": RATE}
    rows = [{"text": TEXT, "wav": sound}, {"text": TEXT[:20], "wav": sound}]
    model = Generalist.create(
        [Task("say", f"say [TEXT:text] -> {slot}", train=rows)], preset=args.preset
    )
    for name in ("audio", "audio_steps"):
        if name in model.assembly.preprocessors:
            preprocessor: Any = model.assembly.preprocessors[name]
            preprocessor.decode = lambda hypothesis, slot, ctx: hypothesis.value
    inference = model.inference(model.plan("say"), batch_size=args.batch)
    asked = [{"text": TEXT}] * args.batch

    def speak() -> None:
        for answer in inference(asked):
            assert abs(len(answer.audio) * 256 / RATE - args.length) < 0.1

    return speak


def compare(args: argparse.Namespace) -> None:
    """Both sides in turn, several rounds: print and save medians and ratios."""
    names = ("preset", "seconds", "batch", "length", "packed")
    arguments = [text for name in names for text in (f"--{name}", str(getattr(args, name)))]
    found = in_turn(__file__, list(SIDES), args.rounds, arguments)
    middles = {
        key: {side: middle(runs, key) for side, runs in found.items()} for key in ("times", "busy")
    }
    spoken = args.batch * args.length
    for side, seconds in middles["times"].items():
        busy = middles["busy"][side]
        print(f"{side:20s} {spoken / seconds:8.2f} s/s, {spoken / busy:8.2f} by processor time")
    ratios = {
        name: by["one after the other"] / by["flow"]
        for name, by in zip(("wall", "processor"), middles.values(), strict=True)
    }
    print(f"flow: {ratios['wall']:.2f} times as fast, {ratios['processor']:.2f} by processor")
    results = {name: getattr(args, name) for name in names if name != "seconds"}
    save(
        f"speech_output_{args.preset}",
        {
            **results,
            "seconds of sound a second": {
                side: {
                    "wall": spoken / middles["times"][side],
                    "processor": spoken / middles["busy"][side],
                }
                for side in SIDES
            },
            "ratios": ratios,
            "to reach": 3.0,
        },
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each side and round")
    parser.add_argument("--batch", type=int, default=1, help="texts at a time")
    parser.add_argument("--length", type=float, default=4.0, help="seconds of each sound")
    parser.add_argument("--packed", type=int, default=1, help="frames of a position")
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side is None:
        compare(args)
        return
    settle(True, 1)
    print(json.dumps(timed(speaking(args.side, args), args.seconds)))


if __name__ == "__main__":
    main()
