"""The right answers of @@slug@@, from the files that the web server gives out.

    python oracle.py --workload verify --data DIR --cases CASES.json --out OUT

No line of a lane is used, and nothing is asked over a network: the files are the truth. On the verify workload every
list of keys is asked for as well, with several numbers of requests on their way.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import xxhash

SERVER = "127.0.0.1:{port:origin}"
PIPELINES = (2, 3, 16, 64)


@cache
def line(path: Path) -> bytes:
    """Return what is said of one file."""
    body = path.read_bytes()
    return f"{path.name} {len(body)} {xxhash.xxh64_hexdigest(body)}\n".encode()


def render(keys: list[str], site: Path) -> bytes:
    """Return the canonical answer: a line for each key, in the order of the list."""
    return b"".join(line(site / key) for key in keys)


def entry(number: int, name: str, args: list[str], data: Path, out: Path) -> dict[str, Any]:
    """Write one answer and return its line of the index."""
    keys = Path(args[args.index("--keys") + 1]).read_text(encoding="ascii").splitlines()
    answer = f"{number}.answer"
    (out / answer).write_bytes(render(keys, data / "site"))
    return {"name": name, "args": args, "answer": answer, "items": len(keys), "compare": "exact"}


def further_checks(data: Path) -> list[dict[str, Any]]:
    """Return a check for every list and number of requests on their way, and one where that is left out."""
    checks = []
    for path in [*sorted((data / "edge").iterdir()), data / "keys.txt"]:
        args = ["--server", SERVER, "--keys", str(path)]
        checks.append({"name": path.stem, "args": args})
        checks += [{"name": f"{path.stem}-{count}", "args": [*args, "--pipeline", str(count)]} for count in PIPELINES]
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
    index = [entry(number, one["name"], one["args"], options.data, options.out) for number, one in enumerate(asked)]
    (options.out / "index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
