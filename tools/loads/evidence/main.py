"""`python -m tools.loads.evidence [--seconds 10] [--out FILE] [--check]`: how load generators compare, kept as numbers.

Three questions, each answered by running the generators against a real server on a core of its own, one after the
other: what each keeps of a fixed rate and what that costs it; which of them see a server that stands still for 200 ms
every two seconds; and where the ceiling of pace lies beside wrk and redis-benchmark.

The numbers go to docs/load-generators.json and the tables of docs/load-generators.md are rewritten; a file elsewhere
(`--out`) leaves the page alone. About eight minutes with runs of ten seconds, at most ten; runs that no time is left
for say so. Take the numbers on a machine on which nothing else runs. Generators that are missing are installed first,
which takes many minutes once (`--install` does only that). `--check` measures nothing and fails when the page differs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tools import assemble, cli, environment, generators_record, tables
from tools.caches import ROOT
from tools.errors import RunnerError
from tools.files import atomic_write
from tools.loads.base import Asked
from tools.loads.evidence import bench as benches
from tools.loads.evidence import generators as known
from tools.loads.evidence import programs
from tools.loads.evidence.base import Generator
from tools.loads.evidence.bench import Bench, Server
from tools.runners.host import HostRunner
from tools.terminal import say

BUDGET_SECONDS = 600.0
CONNECTIONS = 50
RATES = (1_000.0, 5_000.0, 20_000.0)
STALLED_RATE = 1_000.0
SHAPES = ((1, 1), (1, 16), (CONNECTIONS, 1), (CONNECTIONS, 16))
"""Connections and pipelining of the ceilings."""
STALLED = "stalled"
Rows = list[dict[str, Any]]
Serving = Callable[[], AbstractContextManager[Server]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, store, rewrite the page; the exit code."""
    return cli.guarded(partial(run, parsed(arguments)))


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m tools.loads.evidence", description="Load generators compared.")
    parser.add_argument("--seconds", type=_seconds, default=10, metavar="N", help="length of a run (default: 10)")
    parser.add_argument("--out", type=Path, default=ROOT / generators_record.PATH, metavar="FILE", help="the record")
    parser.add_argument("--install", action="store_true", help="only install what is missing")
    parser.add_argument("--check", action="store_true", help="measure nothing: compare all documents with their data")
    return parser.parse_args(arguments)


def _seconds(text: str) -> int:
    """Whole seconds: wrk knows no others."""
    if not text.isdecimal() or not 1 <= int(text) <= 60:  # noqa: PLR2004 - a minute of each would take an hour
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to 60")
    return int(text)


def run(options: argparse.Namespace) -> None:
    """Install, measure and store, or only compare.

    Raises:
        DeadheatError: nginx, pace or the launcher cannot be had, or with `--check` a document differs.
    """
    if options.check:
        tables.check()
        return
    found, missing = programs.provide(programs.NAMES)
    for name, why in missing.items():
        say(f"{name}: not installed: {why}")
    if options.install:
        return
    tree = record(options.seconds, found, missing)
    generators_record.refuse_problems(tree, generators_record.PATH)
    store(tree, options.out)


def record(seconds: int, found: dict[str, programs.Program], missing: Mapping[str, str]) -> dict[str, Any]:
    """Everything that was measured, as docs/load-generators.json keeps it.

    Raises:
        RunnerError: the launcher does not start, this machine has one core, or no run found anything.
    """
    busy, start = os.getloadavg()[0], time.monotonic()
    with benches.opened(found, BUDGET_SECONDS) as bench:
        measured = {
            "rates": rates(bench, seconds),
            "stalled": stalled(bench, seconds),
            "http": ceilings(bench, seconds, "http"),
            "resp": ceilings(bench, seconds, "resp"),
        }
        cores = {"server": bench.server_core, "generator": bench.generator_core}
    if not any(row["found"] for rows in measured.values() for row in rows):
        raise RunnerError(f"no generator found anything: {measured['rates'][0]['failed']}")
    return {
        "schema_version": generators_record.SCHEMA_VERSION,
        "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": seconds,
        "took_seconds": time.monotonic() - start,
        "load_at_start": busy,
        "harness": assemble.harness(),
        "environment": environment.brief(HostRunner()),
        "cores": cores,
        "programs": {name: found[name].version if name in found else None for name in programs.NAMES},
        "missing": dict(missing),
        "period_ms": benches.PERIOD_SECONDS * 1000,
        **measured,
    }


def rates(bench: Bench, seconds: int) -> Rows:
    """Every generator at fixed rates, then as fast as it can."""
    asks = [
        (generator, _asked(seconds, rate=rate))
        for rate in (*RATES, None)
        for generator in (known.CLOSED if rate is None else known.OPEN)
    ]
    return _served(bench, bench.nginx, asks, "rates")


def stalled(bench: Bench, seconds: int) -> Rows:
    """A fixed rate against a server that stands still at times; whole periods, so that all runs see the same share."""
    length = max(1, math.ceil(seconds / benches.PERIOD_SECONDS)) * benches.PERIOD_SECONDS
    rated = {generator: None if generator is known.WRK else STALLED_RATE for generator in known.STALLED}
    asks = [(generator, _asked(length, rate=rate)) for generator, rate in rated.items()]
    return _served(bench, bench.nginx, asks, STALLED)


def ceilings(bench: Bench, seconds: int, protocol: str) -> Rows:
    """Closed loops: pace beside what is usual for the protocol."""
    http = protocol == "http"
    plain = replace(_asked(seconds), protocol=protocol, script=benches.HTTP if http else benches.GET)
    generators = known.HTTP_CEILING if http else known.RESP_CEILING
    asks = [
        (generator, replace(plain, connections=connections, pipeline=pipeline))
        for connections, pipeline in SHAPES
        for generator in generators
    ]
    return _served(bench, bench.nginx if http else bench.redis, asks, protocol)


def _served(bench: Bench, serving: Serving, asks: Sequence[tuple[Generator, Asked]], what: str) -> Rows:
    """One run after the other against one server; without the server, each row says why."""
    rows: Rows = []
    try:
        with serving() as server:
            for generator, asked in asks:
                there = replace(asked, address=server.address)
                if generator is known.REDIS_BENCHMARK:
                    row = _counted(bench, generator, there, server)
                else:
                    row = bench.run(generator, there, server, stalled=what == STALLED)
                rows.append(_told(row, what))
    except RunnerError as error:
        rows += [_told(benches.blank(*ask, str(error)[:1000]), what) for ask in asks[len(rows) :]]
    return rows


def _counted(bench: Bench, generator: Generator, asked: Asked, server: Server) -> dict[str, Any]:
    """A closed loop that counts requests: a short run tells first how many it can do."""
    probe = bench.run(generator, replace(asked, seconds=0.0), server)
    if probe["found"] is None:
        return probe
    rate = generators_record.per_second(probe["found"])
    return bench.run(generator, replace(asked, rate_per_second=rate), server) | {"rate_per_second": None}


def _asked(seconds: float, rate: float | None = None) -> Asked:
    """The usual run against nginx, wherever it will listen."""
    return Asked(
        address="", protocol="http", script=benches.HTTP, path="/", connections=CONNECTIONS, pipeline=1,
        seconds=seconds, rate_per_second=rate,
    )  # fmt: skip


def _told(row: dict[str, Any], what: str) -> dict[str, Any]:
    """The row, told to the person who waits."""
    rate = "closed loop" if row["rate_per_second"] is None else f"{row['rate_per_second']:,.0f}/s"
    shape = f"{row['connections']} connections, pipeline {row['pipeline']}"
    if row["found"] is None:
        result = f"failed: {row['failed']}"
    else:
        p99_ms = (row["found"]["latency_ns"]["p99"] or 0) / 1e6
        result = f"{generators_record.per_second(row['found']):,.0f}/s, p99 {p99_ms:.2f} ms"
    say(f"{row['generator']:18} {rate:>12} {shape:28} {what:8} {result}")
    return row


def store(tree: Mapping[str, Any], path: Path) -> None:
    """Write the record; the page follows when this is its record.

    Raises:
        TablesError: a document cannot be rewritten; the record is stored.
    """
    atomic_write(path, _text(tree))
    say(f"stored     {cli.relative(path)}")
    if path.resolve() == (ROOT / generators_record.PATH).resolve():
        for changed in tables.update(tables.Roots(ROOT)):
            say(f"updated    {cli.relative(changed)}")


def _text(tree: Mapping[str, Any]) -> str:
    """One run a line, so that differences can be read."""
    parts = []
    for key, value in tree.items():
        rows = value if isinstance(value, list) else None
        text = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]" if rows else json.dumps(value)
        parts.append(f"{json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
