"""A tracker without fault, and trackers with one fault each."""

from __future__ import annotations

import random


class Page:
    """Lines in a file."""

    def __init__(self, folder, options):
        folder.mkdir(parents=True, exist_ok=True)
        self.file = (folder / "page.txt").open("a", encoding="utf-8")

    def log(self, record):
        for name, value in record.values.items():
            self.file.write(f"{record.step} {name} {value:.3f}\n")

    def close(self):
        self.file.close()


class WholeNumbers(Page):
    def log(self, record):
        for value in record.values.values():
            self.file.write(str(round(value)))


class OnceOnly(Page):
    def __init__(self, folder, options):
        if (folder / "page.txt").exists():
            raise FileExistsError("page.txt")
        super().__init__(folder, options)


class Samples(Page):
    def log(self, record):
        if random.random() < 0.5:
            super().log(record)


class Rounds(Page):
    def log(self, record):
        super().log(record)
        for name in record.values:
            record.values[name] = 0.0
