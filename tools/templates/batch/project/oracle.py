"""The right answers of @@slug@@, from Python's re and collections.Counter.

    python oracle.py --workload verify --data DIR --cases CASES.json --out OUT

No line of a lane is used. On the verify workload every edge case is asked as well, each with several numbers of words.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

WORD = re.compile(rb"[0-9a-z\x80-\xff]+")
DEFAULT_TOP = 20
CHECK_TOPS = (1, 2, 20, 1_000_000)


@cache
def count_words(path: Path) -> Counter[bytes]:
    """Return how often each word of a file occurs; bytes.lower() changes ASCII letters only."""
    return Counter(WORD.findall(path.read_bytes().lower()))


def render(words: Counter[bytes], top: int) -> bytes:
    """Return the canonical answer: larger counts first, equal counts in the order of the words' bytes."""
    ordered = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    return b"".join(b"%s %d\n" % item for item in ordered[:top])


def option(args: list[str], name: str, default: str) -> str:
    """Return the value of a long option in an argument list."""
    return args[args.index(name) + 1] if name in args else default


def entry(number: int, name: str, args: list[str], out: Path) -> dict[str, Any]:
    """Write one answer and return its line of the index."""
    words = count_words(Path(option(args, "--input", "")))
    answer = f"{number}.answer"
    (out / answer).write_bytes(render(words, int(option(args, "--top", str(DEFAULT_TOP)))))
    return {"name": name, "args": args, "answer": answer, "items": words.total(), "compare": "exact"}


def further_checks(data: Path) -> list[dict[str, Any]]:
    """Return a check for every edge case and number of words, and one where the number is left out."""
    checks = []
    for path in [*sorted((data / "edge").iterdir()), data / "text.txt"]:
        args = ["--input", str(path)]
        checks.append({"name": path.stem, "args": args})
        checks += [{"name": f"{path.stem}-{top}", "args": [*args, "--top", str(top)]} for top in CHECK_TOPS]
    return checks


def main() -> int:
    """Answer the cases of one workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    asked = json.loads(options.cases.read_text(encoding="utf-8"))
    if options.workload == "verify":
        asked += further_checks(options.data)
    index = [entry(number, one["name"], one["args"], options.out) for number, one in enumerate(asked)]
    (options.out / "index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
