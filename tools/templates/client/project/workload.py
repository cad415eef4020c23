"""Make the inputs of @@slug@@, the same bytes from the same seed on any machine.

    python workload.py --workload verify --seed 1 --size '{"files": 60, "requests": 400}' --out FOLDER

`site` has the files that nginx gives out, `keys.txt` the list that is asked for. The verify workload has lists of
edge cases beside it, and lists that must be refused.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

LENGTHS = (1, 16, 100, 400, 1000, 2000, 4000, 10_000, 65_536)
WEIGHTS = (1, 2, 4, 6, 6, 4, 3, 2, 1)
EDGE_LENGTHS = (0, 1, 31, 32, 33, 65_535, 65_536, 65_537, 1_000_000)


def site(dice: random.Random, files: int) -> dict[str, bytes]:
    """Return files by their keys; most are small."""
    lengths = dice.choices(LENGTHS, WEIGHTS, k=files)
    return {f"file-{number:05}.bin": dice.randbytes(length) for number, length in enumerate(lengths)}


def edge_site(dice: random.Random) -> dict[str, bytes]:
    """Return files around the lengths of buffers and blocks, and behind which nginx ends the connection."""
    found = {f"edge-{length}": dice.randbytes(length) for length in EDGE_LENGTHS}
    found |= {f"last-{length}": dice.randbytes(length) for length in (0, 10, 100_000)}
    found |= {"k" * 255: b"long", "A_z.0-": b"letters", "lines": b"HTTP/1.1 200 OK\r\n\r\n"}
    found["chunked"] = b"length unknown"
    return found


def lists(edge: dict[str, bytes], dice: random.Random) -> dict[str, list[str]]:
    """Return lists of keys for the checks."""
    known = sorted(key for key in edge if key != "chunked")
    return {
        "empty": [],
        "one": ["edge-1"],
        "each": known,
        "same": ["edge-33"] * 200,
        "mixed": dice.choices(known, k=300),
        "ends-each-time": ["last-10"] * 20,
        "ends-now-and-then": dice.choices(["edge-1", "edge-65537", "last-10", "last-100000", "last-0"], k=100),
    }


BAD_LISTS = {
    "blank": "edge-1\na b\n",
    "empty-line": "edge-1\n\nedge-1\n",
    "long": "k" * 256 + "\n",
    "none": "edge-1\nnone\nedge-1\n",
    "broken": "edge-1\nbroken\n",
    "hang-up": "edge-1\nhang-up\nedge-1\n",
    "chunked": "edge-1\nchunked\n",
}


def main() -> int:
    """Make one workload for the harness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", required=True, choices=["verify", "bench"])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=json.loads, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    files = site(dice, options.size["files"])
    texts = {"keys.txt": "".join(f"{key}\n" for key in dice.choices(sorted(files), k=options.size["requests"]))}
    if options.workload == "verify":
        edge = edge_site(dice)
        files |= edge
        texts |= {f"edge/{name}.txt": "".join(f"{key}\n" for key in keys) for name, keys in lists(edge, dice).items()}
        texts["edge/open-end.txt"] = "edge-1\nedge-32"
        texts |= {f"bad/{name}.txt": text for name, text in BAD_LISTS.items()}
    for name, content in ({f"site/{key}": body for key, body in files.items()} | texts).items():
        path = options.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
