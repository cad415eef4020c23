"""The input of the spinner: how many steps a repeat takes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def main() -> None:
    """Write steps.txt."""
    parser = argparse.ArgumentParser(description="Makes the input of the spinner.")
    for name in ("workload", "seed", "size", "out"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    steps = int(json.loads(options.size)["steps"])
    Path(options.out, "steps.txt").write_text(f"{steps}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
