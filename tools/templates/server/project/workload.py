"""Make the load of @@slug@@, the same bytes from the same seed on any machine.

    python workload.py --workload verify --seed 1 --size '{"requests": 500}' --out FOLDER

`hash.pace` has so many requests, each with the body that must come back; tools/loads/pace describes the format.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import sys
from pathlib import Path

import xxhash

MAGIC = b"PACE1\n"
LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%"
LENGTHS = (4, 8, 12, 16, 24, 32, 48, 64, 128, 400)
WEIGHTS = (2, 4, 4, 4, 3, 3, 2, 2, 1, 1)


def text(dice: random.Random) -> bytes:
    """Return a text of the length that names and tokens in paths have, now and then a long one."""
    (length,) = dice.choices(LENGTHS, WEIGHTS)
    return bytes(dice.choices(LETTERS, k=length))


def request(words: bytes) -> bytes:
    """Return a request with the headers that a small client sends."""
    return b"GET /hash/%s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: pace\r\nAccept: */*\r\n\r\n" % words


def script(seed: int, requests: int) -> bytes:
    """Return requests and right replies as pace reads them."""
    dice = random.Random(seed)
    parts = [MAGIC]
    for _ in range(requests):
        words = text(dice)
        asked, body = request(words), xxhash.xxh64_hexdigest(words).encode()
        parts += [struct.pack("<II", len(asked), len(body)), asked, body]
    return b"".join(parts)


def main() -> int:
    """Make one workload for the harness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", required=True, choices=["verify", "bench"])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=json.loads, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    (options.out / "hash.pace").write_bytes(script(options.seed, options.size["requests"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
