"""Writes rows of two colours and their mean."""

import csv
import random


def colour(numbers):
    return "#" + "".join(f"{number:02x}" for number in numbers)


draw = random.Random(0)
for name, number in (("train", 2000), ("test", 100)):
    with open(f"{name}.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["a", "b", "mix"])
        for _ in range(number):
            a, b = ([draw.randrange(256) for _ in range(3)] for _ in range(2))
            rows.writerow(
                [colour(a), colour(b), colour([(x + y) // 2 for x, y in zip(a, b, strict=True)])]
            )
