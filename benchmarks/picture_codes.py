"""The codes of pictures filled in at once (MaskGIT) against the same codes written one after the other.

    python benchmarks/picture_codes.py --preset tiny --rounds 3

From one caption to its picture of 64 x 64 pixels, 256 codes of 1,000, random weights; encoder and codec, which both
sides share, are included. MaskGIT takes 8 steps and looks at all 256 positions in each; the generator `token` draws one
code after the other with its cache of keys and values. `--batch` draws more at a time, where a processor without much
that runs at once gains less: MaskGIT computes eight times as much. Each side runs in a process of its own, in turn.
Printed: pictures a second, and the ratios of the medians by wall time and by processor time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from measuring import in_turn, middle, save, settle, timed

SIZE, STEPS = 64, 8
CODES = (SIZE // 4) ** 2
SLOT = f"[IMAGE:img,preprocess=image_vqgan,size={SIZE}"
LINES = {
    "one after the other": f"draw [TEXT:cap] -> {SLOT}]",
    "at once": f"draw [TEXT:cap] -> {SLOT},corruption=masked_codes,generator=maskgit]",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "one after the other": {"strategy": "sample"},
    "at once": {"steps": STEPS},
}


def drawing(side: str, preset: str, batch: int) -> Callable[[], object]:
    """One call: pictures of a batch of captions."""
    import numpy as np

    from ofacore import Generalist, Task

    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    rows = [{"cap": f"picture number {i}", "img": picture} for i, picture in enumerate(pictures)]
    model = Generalist.create(
        [Task("draw", LINES[side], train=rows)],
        preset=preset,
        options={"preprocessor/image_vqgan": {"fit_steps": 1}},
    )
    inference = model.inference(model.plan("draw"), batch_size=batch, **OPTIONS[side])
    asked = [{"cap": f"picture number {i}"} for i in range(batch)]

    def draw() -> None:
        found = inference(asked)
        assert all(answer.image.size == (SIZE, SIZE) for answer in found)

    return draw


def compare(args: argparse.Namespace) -> None:
    """Both sides in turn, several rounds: print and save medians and ratios."""
    arguments = ["--preset", args.preset, "--threads", str(args.threads)]
    arguments += ["--seconds", str(args.seconds), "--batch", str(args.batch)]
    found = in_turn(__file__, list(LINES), args.rounds, arguments)
    results: dict[str, object] = {
        "preset": args.preset,
        "threads": args.threads,
        "rounds": args.rounds,
        "batch": args.batch,
        "codes": CODES,
        "steps at once": STEPS,
    }
    middles = {
        key: {side: middle(runs, key) for side, runs in found.items()} for key in ("times", "busy")
    }
    for side, seconds in middles["times"].items():
        busy = middles["busy"][side]
        print(f"{side:20s} {args.batch / seconds:8.2f} pictures/s  processor {busy:6.2f} s")
    ratios = {
        name: by["one after the other"] / by["at once"]
        for name, by in zip(("wall", "processor"), middles.values(), strict=True)
    }
    print(f"at once: {ratios['wall']:.2f} times as fast, {ratios['processor']:.2f} by processor")
    results["pictures a second"] = {
        side: args.batch / seconds for side, seconds in middles["times"].items()
    }
    save(f"picture_codes_{args.preset}", {**results, "ratios": ratios})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each side and round")
    parser.add_argument("--batch", type=int, default=1, help="pictures at a time")
    parser.add_argument("--side", choices=list(LINES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side is None:
        compare(args)
        return
    settle(True, args.threads)
    print(json.dumps(timed(drawing(args.side, args.preset, args.batch), args.seconds)))


if __name__ == "__main__":
    main()
