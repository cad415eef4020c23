"""Makes the key files of in-memory-kv-store.

    python workload.py --workload bench --seed 2 --size '{"keys": 1000000, "requests": 1000000}' --out DIR

keys.txt      every key once, in the order in which a store is filled
uniform.txt   keys of requests, each as likely as any other
zipfian.txt   keys of requests, the key of rank r drawn in proportion to 1/r (as YCSB with s = 1); the ranks are
              scattered over the keys, so that a hot key has no hot neighbour

A line is one key, `key:%012d`. Same seed and size, same bytes on any machine: only whole numbers are computed.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

WEIGHT_OF_RANK_1 = 1 << 40


def key(number: int) -> str:
    """Return the key of a number."""
    return f"key:{number:012d}"


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines to a file."""
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def uniform(rng: random.Random, keys: int, requests: int) -> Iterator[int]:
    """Yield numbers of keys, each as likely as any other."""
    return (rng.randrange(keys) for _ in range(requests))


def zipfian(rng: random.Random, keys: int, requests: int) -> Iterator[int]:
    """Yield numbers of keys, few of them often."""
    scattered = list(range(keys))
    rng.shuffle(scattered)
    ends = list(itertools.accumulate(WEIGHT_OF_RANK_1 // rank for rank in range(1, keys + 1)))
    return (scattered[bisect.bisect_right(ends, rng.randrange(ends[-1]))] for _ in range(requests))


def main() -> None:
    """Write the files that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=json.loads, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    keys, requests = options.size["keys"], options.size["requests"]
    options.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"in-memory-kv-store {options.seed}")
    write_lines(options.out / "keys.txt", map(key, range(keys)))
    write_lines(options.out / "uniform.txt", map(key, uniform(rng, keys, requests)))
    write_lines(options.out / "zipfian.txt", map(key, zipfian(rng, keys, requests)))


if __name__ == "__main__":
    main()
