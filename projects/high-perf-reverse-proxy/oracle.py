"""Decides whether a reverse proxy does its job: asks everything, and reports every check by name.

    python oracle.py --program PATH --data DIR --out DIR [--only GLOBS] [--without GLOBS] [--foreign] [--list]

Around the program stand backends that record every byte and answer as scripted, and nginx with the files of the
workload; before it stand clients on raw sockets. The report is OUT/report.json:

    {"checks": [{"name": "area/what", "failure": null | "expected ..., got ...", "seconds": 0.1}], "texts": {...}}

`texts` holds the body of each error response and the line of each usage error, which must be the same in every lane.
A check that failed for its time, on a machine that may be busy, is asked three times more when nothing else runs, and
must then be good each time; `first_look` keeps what it said before. Exit code 0 whenever the report was written,
whatever the program did.

The checks are in the modules checks_*; proxy_wire reads and writes HTTP on sockets, proxy_backend is the scripted
backend, proxy_program starts things, proxy_arena runs checks. Needs nginx (Debian's nginx-light), h11 and websockets.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

import checks_balance
import checks_differential
import checks_faults
import checks_framing
import checks_headers
import checks_limits
import checks_mutation
import checks_service
import checks_smuggling
import checks_streaming
import checks_tunnel
from proxy_arena import REGISTRY, Check, Runner, Surroundings, chosen, matches

MODULES = (
    checks_framing,
    checks_headers,
    checks_smuggling,
    checks_mutation,
    checks_differential,
    checks_balance,
    checks_faults,
    checks_limits,
    checks_streaming,
    checks_tunnel,
    checks_service,
)
"""Importing them fills the registry, in this order."""
OPEN_FILES = 8192


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="*", help="globs of check names, separated by commas")
    parser.add_argument("--without", default="", help="globs of check names that are left out")
    parser.add_argument("--foreign", action="store_true", help="the program is no lane: do not judge its error pages")
    parser.add_argument("--list", action="store_true", help="print the names and ask nothing")
    options = parser.parse_args()
    if not options.list and not (options.program and options.data and options.out):
        parser.error("--program, --data and --out are needed")
    return options


def raise_open_files() -> None:
    """Allow ourselves, and what we start, a thousand connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def quiet(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignore what asyncio says of sockets that a check tore down on purpose."""
    error = context.get("exception")
    if error is not None and not isinstance(error, OSError | asyncio.CancelledError):
        print(f"oracle: {type(error).__name__}: {error}", file=sys.stderr)


async def judge(around: Surroundings, checks: list[Check]) -> dict[str, object]:
    """Run checks and return the report."""
    asyncio.get_running_loop().set_exception_handler(quiet)
    runner = Runner(around)
    await runner.run(checks)
    order = {check.name: place for place, check in enumerate(REGISTRY.checks)}
    names = sorted(runner.failures, key=lambda name: (order.get(name, len(order)), name))
    rows: list[dict[str, object]] = [
        {"name": name, "failure": runner.failures[name], "seconds": round(runner.seconds.get(name, 0.0), 2)}
        for name in names
    ]
    for row in rows:
        if first := runner.first_look.get(str(row["name"])):
            row["first_look"] = first
    return {"checks": rows, "texts": dict(sorted(around.texts.items()))}


def main() -> int:
    """Run the oracle."""
    options = arguments()
    checks = [check for check in chosen(options.only) if not matches(check.name, options.without)]
    if options.list:
        print("\n".join(check.name for check in checks))
        return 0
    raise_open_files()
    options.out.mkdir(parents=True, exist_ok=True)
    around = Surroundings(options.program.resolve(), options.data.resolve(), options.out.resolve(), options.foreign)
    report = asyncio.run(judge(around, checks))
    shutil.rmtree(options.out / "run", ignore_errors=True)
    (options.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
