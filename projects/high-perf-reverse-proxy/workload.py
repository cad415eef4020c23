"""Makes the inputs of high-perf-reverse-proxy.

    python workload.py --workload bench --seed 2 --size '{"requests": 1000}' --out DIR

www/NAME      what the backends of the benchmark give out: bodies of 2 B, 1 KB and 100 KB, printable text
NAME.pace     so many requests for that body, each with the body that must come back (format: tools/loads/pace)
site/         only for `verify`: the files that nginx serves in the oracle's comparison of direct and through the proxy

Same seed and size, same bytes, and the same dates, which are part of what nginx answers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import struct
from collections.abc import Iterable
from pathlib import Path

BODY_BYTES = {"2b": 2, "1k": 1024, "100k": 102_400}
SITE_BYTES = {"empty.txt": 0, "1k.bin": 1024, "100k.bin": 102_400, "10m.bin": 10 << 20}
LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
PAGE = b"<!doctype html><title>Deadheat</title>\n" + b"<p>Same words again and again.</p>\n" * 2000
MODIFIED = 1_700_000_000
PACE = b"PACE1\n"


def body(seed: int, name: str) -> bytes:
    """Return a body of the benchmark; the smallest is what a health check says."""
    if name == "2b":
        return b"OK"
    rng = random.Random(f"high-perf-reverse-proxy {seed} {name}")
    return bytes(LETTERS[number & 63] for number in rng.randbytes(BODY_BYTES[name]))


def write(path: Path, data: bytes) -> None:
    """Write a file with the one date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (MODIFIED, MODIFIED))


def script(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return requests and their right replies as pace reads them."""
    return PACE + b"".join(struct.pack("<II", len(request), len(reply)) + request + reply for request, reply in entries)


def request(name: str, number: int) -> bytes:
    """Return a request as a browser's might be: a few headers, one of which changes."""
    lines = (
        b"GET /%s HTTP/1.1" % name.encode(),
        b"Host: shop.example",
        b"User-Agent: pace",
        b"Accept: */*",
        b"X-Request-Id: %08d" % number,
    )
    return b"\r\n".join(lines) + b"\r\n\r\n"


def write_site(out: Path, seed: int) -> None:
    """Write the site of the differential checks."""
    rng = random.Random(f"high-perf-reverse-proxy {seed} site")
    files = {name: rng.randbytes(size) for name, size in SITE_BYTES.items()}
    for name, data in (files | {"2b.txt": b"OK", "page.html": PAGE, "sub/index.html": PAGE[:100]}).items():
        write(out / "site" / name, data)


def main() -> None:
    """Make a workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=json.loads, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for name in BODY_BYTES:
        data = body(options.seed, name)
        write(options.out / "www" / name, data)
        entries = ((request(name, number), data) for number in range(options.size["requests"]))
        write(options.out / f"{name}.pace", script(entries))
    if options.workload == "verify":
        write_site(options.out, options.seed)


if __name__ == "__main__":
    main()
