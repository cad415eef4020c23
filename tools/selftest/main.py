"""`nox -s selftest -- [--quick] [--no-store] [--only NAME,NAME]`: prove the method, and keep the numbers.

Stages, in this order: `simulated` (error rates of the rules on made-up times), `same` (identical lanes through the
real pipeline), `slowed` (lanes with 0, 3, 15 and 150 % more work, with and without background load, also under
hyperfine), `overhead` (starting one program), `scaling` (up to 10,000 result files), `lists` (`--list` with 31
projects).

The raw numbers go to docs/selftest.json, and the tables of docs/selftest.md are rewritten. Take them on a machine on
which nothing else runs: about 18 minutes in full, 3 with `--quick`. A stage, or a rival's program, that cannot be had
is named with its reason instead of its numbers. Exit code 1 when a limit does not hold; with `--no-store` (a smoke
test on whatever machine) only when the self-test itself fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tools import assemble, cli, environment, flow, selftest_record, tables, temporary
from tools.caches import ROOT
from tools.errors import DeadheatError, UsageError
from tools.files import atomic_write
from tools.runners.host import HostRunner
from tools.selftest import overhead, scaling, simulated, verdicts, workbench
from tools.terminal import say

SEED = 1


@dataclass(frozen=True)
class Size:
    """How many of everything."""

    name: str
    trials: int
    """Simulated benchmarks a case."""
    same: int
    """Benchmarks of identical lanes."""
    slowed: Mapping[str, int]
    """Benchmarks of slowed lanes, by load."""
    rounds: int | None
    """At most so many rounds a benchmark; None: until precise."""
    run_seconds: float
    launches: int
    launch_rounds: int
    files: tuple[int, ...]
    lists: int


SIZES = {
    "full": Size(
        "full", trials=1000, same=28, slowed={"none": 4, "other core": 4, "same core": 3, "same core, on and off": 4},
        rounds=None, run_seconds=0.1, launches=300, launch_rounds=9, files=(100, 1000, 10_000), lists=9,
    ),
    "quick": Size(
        "quick", trials=100, same=3, slowed={"none": 1, "other core": 1, "same core, on and off": 1},
        rounds=None, run_seconds=0.1, launches=100, launch_rounds=3, files=(100, 1000), lists=3,
    ),
    "tiny": Size(
        "tiny", trials=5, same=1, slowed={"none": 1, "other core": 1, "same core": 1, "same core, on and off": 1},
        rounds=2, run_seconds=0.01, launches=10, launch_rounds=2, files=(31, 62), lists=1,
    ),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, store, rewrite the page; 0 when every limit holds."""
    return cli.guarded(partial(run, parsed(arguments)))


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="nox -s selftest --", description="The method measured by itself.")
    parser.add_argument("--quick", action="store_const", const="quick", default="full", dest="size", help="3 minutes")
    parser.add_argument(
        "--tiny", action="store_const", const="tiny", dest="size", help="a minute, to try the self-test; never stored"
    )
    parser.add_argument("--no-store", action="store_true", help="a smoke test: keep nothing, let no limit decide")
    parser.add_argument("--only", type=cli.names, default=(), metavar="A,B", help="only these stages; never stored")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """All stages, then the record, the tables and the limits.

    Raises:
        UsageError: there is no such stage.
        DeadheatError: a limit does not hold.
    """
    if unknown := set(options.only) - STAGES.keys():
        raise UsageError(f"no stage {', '.join(sorted(unknown))}", remedy="known: " + ", ".join(STAGES))
    tree = record(SIZES[options.size], options.only or tuple(STAGES))
    selftest_record.refuse_problems(tree, selftest_record.PATH)
    kept = not (options.no_store or options.only or options.size == "tiny")
    if kept:
        store(tree, ROOT)
    found = selftest_record.findings(tree)
    for one in found:
        side = ">=" if one.at_least else "<="
        mark = "ok " if one.ok else "NO "
        sys.stdout.write(f"{mark} {one.name}: {one.value:.4g} {side} {one.limit:.4g}; {one.detail}\n")
    for what, why in tree["missing"].items():
        sys.stdout.write(f"--  {what}: not measured: {why}\n")
    broken = sum(not one.ok for one in found)
    if kept and broken:
        raise DeadheatError(f"{broken} of {len(found)} limits do not hold")


def record(size: Size, wanted: Sequence[str]) -> dict[str, Any]:
    """Everything that the stages found, as docs/selftest.json keeps it."""
    busy, start = overhead.load_average(), time.monotonic()
    missing: dict[str, str] = {}
    found = {name: _stage(name, size, missing) if name in wanted else None for name in STAGES}
    return {
        "schema_version": selftest_record.SCHEMA_VERSION,
        "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "size": size.name,
        "seconds": time.monotonic() - start,
        "load_at_start": busy,
        "harness": assemble.harness(),
        "environment": _machine(),
        "missing": missing,
        **found,
    }


def _stage(name: str, size: Size, missing: dict[str, str]) -> Any:
    """One stage; what keeps it from running is written down, and the others go on."""
    start = time.monotonic()
    try:
        found = STAGES[name](size, missing)
    except DeadheatError as error:
        missing[name] = str(error)[:1000]
        say(f"{name:11}not measured: {error}")
        return None
    say(f"{name:11}{time.monotonic() - start:.0f} s")
    return found


def _machine() -> dict[str, Any]:
    """The facts of the environment that decide these numbers."""
    return environment.brief(HostRunner())


def _options(size: Size) -> flow.Options:
    return flow.Options(
        rounds=size.rounds, min_run_seconds=size.run_seconds, budget_seconds=verdicts.BUDGET_SECONDS, peers=False
    )


def _simulated(size: Size, missing: dict[str, str]) -> list[dict[str, Any]]:
    del missing
    return [asdict(finding) for finding in simulated.findings(size.trials, SEED)]


def _same(size: Size, missing: dict[str, str]) -> list[dict[str, Any]]:
    del missing
    return verdicts.same(size.same, _options(size), say)


def _slowed(size: Size, missing: dict[str, str]) -> list[dict[str, Any]]:
    absent = size.slowed.keys() - {load.name for load in workbench.loads()}
    missing |= {f"load {name}": "this machine has one core" for name in sorted(absent)}
    with workbench.opened() as bench:
        return verdicts.slowed(size.slowed, _options(size), bench, say, missing)


def _overhead(size: Size, missing: dict[str, str]) -> dict[str, Any]:
    with workbench.opened() as bench:
        return overhead.measure(size.launch_rounds, size.launches, bench, missing)


def _scaling(size: Size, missing: dict[str, str]) -> dict[str, Any]:
    del missing
    with temporary.folder("selftest") as folder:
        scaling.checkout(folder)
        return scaling.growing(folder, size.files)


def _lists(size: Size, missing: dict[str, str]) -> dict[str, Any]:
    del missing
    with temporary.folder("selftest") as folder:
        scaling.checkout(folder)
        return scaling.lists(folder, size.lists)


STAGES: dict[str, Callable[[Size, dict[str, str]], Any]] = {
    "simulated": _simulated,
    "same": _same,
    "slowed": _slowed,
    "overhead": _overhead,
    "scaling": _scaling,
    "lists": _lists,
}


def store(tree: Mapping[str, Any], root: Path) -> None:
    """Write the record and bring the documents up to date.

    Raises:
        TablesError: a document cannot be rewritten; the record is stored.
    """
    path = root / selftest_record.PATH
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in tree.items())
    atomic_write(path, "{\n" + ",\n".join(lines) + "\n}\n")
    say(f"stored     {cli.relative(path)}")
    for changed in tables.update(tables.Roots(root)):
        say(f"updated    {cli.relative(changed)}")
