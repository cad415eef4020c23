"""The right answer of the spinner, step by step in Python."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

START = 88172645463325252
MASK = (1 << 64) - 1


def spun(steps: int) -> int:
    """The state of the generator after so many steps."""
    x = START
    for _ in range(steps):
        x ^= x << 13 & MASK
        x ^= x >> 7
        x ^= x << 17 & MASK
    return x


def main() -> None:
    """Write the answer and the index of cases."""
    parser = argparse.ArgumentParser(description="Gives the answers of the spinner.")
    for name in ("workload", "data", "cases", "out"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    steps = int(Path(options.data, "steps.txt").read_text(encoding="utf-8"))
    Path(options.out, "0.answer").write_text(f"{spun(steps):031x}\n", encoding="utf-8")
    cases = json.loads(Path(options.cases).read_text(encoding="utf-8"))
    index = [{**case, "answer": "0.answer", "items": steps, "compare": "exact"} for case in cases]
    Path(options.out, "index.json").write_text(json.dumps(index), encoding="utf-8")


if __name__ == "__main__":
    main()
