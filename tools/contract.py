"""The lane contract as a parser: the statistics block and the one-line error, exactly as DESIGN says."""

from __future__ import annotations

import re
from dataclasses import dataclass

BLOCK = re.compile(
    rb"--- Statistics ---\n"
    rb"Total processed: (?P<items>\d{1,18})\n"
    rb"Processing time: (?P<seconds>\d{1,9}\.\d{3,12})s\n"
    rb"Average latency: \d{1,12}\.\d{3,12}ms\n"
    rb"Throughput: \d{1,18}\.\d{2,12} items/sec\n"
    rb"Digest: (?P<digest>[0-9a-f]{16})\n"
)
ERROR = re.compile(rb"error: [^\n]+\n")


@dataclass(frozen=True)
class Statistics:
    """What a lane says of its own run."""

    items: int
    self_ns: int
    digest: str


def parse_statistics(stdout: bytes) -> Statistics | None:
    """The block, if stdout is exactly one block; None otherwise."""
    match = BLOCK.fullmatch(stdout)
    if match is None:
        return None
    seconds, fraction = match["seconds"].split(b".")
    self_ns = int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    return Statistics(int(match["items"]), self_ns, match["digest"].decode())


def error_line(stderr: bytes) -> str | None:
    """The message, if stderr is exactly one line `error: ...`; None otherwise."""
    return stderr[7:-1].decode("utf-8", "replace") if ERROR.fullmatch(stderr) else None
