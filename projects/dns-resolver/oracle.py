"""Decides whether a DNS resolver does its job: asks everything, and reports every check by name.

    python oracle.py --program PATH --data DIR --out DIR [--only GLOBS] [--without GLOBS] [--foreign] [--list]

Behind the program stands a private tree of the DNS on four nsd, beside it unbound on the same tree, and a root of our
own whose name servers lie, break or keep silent as a check needs it. What is right is computed by dnspython from the
master files. The report is OUT/report.json:

    {"checks": [{"name": "area/what", "failure": null | "expected ..., got ...", "seconds": 0.1}]}

A check that failed for its time is asked twice more, alone, and must then be good each time; `first_look` keeps what it
said before. Exit code 0 whenever the report was written, whatever the program did.

The checks are in the modules checks_*; dns_wire reads and writes messages, dns_model computes answers, dns_world is the
root that lies, dns_program starts things, dns_client asks, dns_lab runs checks. Needs nsd, unbound and dnspython.
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

import checks_bulk
import checks_cache
import checks_hostile
import checks_messages
import checks_process
import checks_tcp
import checks_tree
import checks_upstream
from dns_lab import REGISTRY, Check, Lab, Runner, matches
from dns_program import StartError

MODULES = (
    checks_tree,
    checks_messages,
    checks_tcp,
    checks_cache,
    checks_upstream,
    checks_hostile,
    checks_bulk,
    checks_process,
)
"""Importing them fills the registry."""
OPEN_FILES = 8192


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="*", help="globs of check names, separated by commas")
    parser.add_argument("--without", default="", help="globs of check names that are left out")
    parser.add_argument("--foreign", action="store_true", help="the program is no lane: some checks are milder")
    parser.add_argument("--list", action="store_true", help="print the names and ask nothing")
    options = parser.parse_args()
    if not options.list and not (options.program and options.data and options.out):
        parser.error("--program, --data and --out are needed")
    return options


def raise_open_files() -> None:
    """Allow ourselves, and what we start, thousands of sockets."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def quiet(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignore what asyncio says of sockets that a check tore down on purpose."""
    error = context.get("exception")
    if error is not None and not isinstance(error, OSError | asyncio.CancelledError):
        print(f"oracle: {type(error).__name__}: {error}", file=sys.stderr)


async def judge(lab: Lab, checks: list[Check]) -> dict[str, object]:
    """Run checks and return the report."""
    asyncio.get_running_loop().set_exception_handler(quiet)
    runner = Runner(lab)
    try:
        await lab.open()
        await runner.run(checks)
    except (StartError, OSError) as error:  # the oracle's own part, which nothing can replace
        for check in checks:
            runner.failures.setdefault(check.name, f"the oracle could not begin: {error}")
    finally:
        await lab.close()
    rows: list[dict[str, object]] = [
        {
            "name": check.name,
            "failure": runner.failures[check.name],
            "seconds": round(runner.seconds.get(check.name, 0.0), 2),
        }
        for check in checks
    ]
    for row in rows:
        if first := runner.first_look.get(str(row["name"])):
            row["first_look"] = first
    return {"checks": rows}


def main() -> int:
    """Run the oracle."""
    options = arguments()
    checks_tree.register(options.data)
    names = [check for check in REGISTRY.checks if matches(check.name, options.only)]
    checks = [check for check in names if not matches(check.name, options.without)]
    if options.list:
        print("\n".join(check.name for check in checks))
        return 0
    raise_open_files()
    options.out.mkdir(parents=True, exist_ok=True)
    run = options.out.resolve() / "run"
    lab = Lab(options.program.resolve(), options.data.resolve(), run, options.foreign)
    report = asyncio.run(judge(lab, checks))
    shutil.rmtree(run, ignore_errors=True)
    (options.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
