"""Proves a lane of in-memory-kv-store right, beside redis-server 7.0.

    python oracle.py --program PATH --data DIR --out DIR [--only GLOB] [--list] [--seconds N] [--series N]

It starts the lane's program and redis-server itself, on loopback and unix sockets under $TMPDIR, asks both the same,
kills both, and writes OUT/report.json: {"checks": [{"name": "area/what", "failure": null or "one line"}]}. Exit code 0
whenever the report was written, whatever the lane did; 2 when this machine lacks what the oracle itself needs.

Areas, one module each:

    strings keys lists hashes sets zsets connection transactions   scripts of cases_*.py (kv_cases)
    arity types out-of-memory expired fuzz stream data             every command and random streams (kv_cases)
    protocol                                                       raw bytes on the wire (kv_protocol)
    expiry info memory scan hostile process                        (kv_expiry, kv_info, ...)
    aof                                                            the log (kv_aof), what survives (kv_durability)
    redis-py redis-cli redis-benchmark                             the clients that people use (kv_clients)

A lane that dies fails the check in which it died and is started anew for the next one. No check waits longer than its
sockets' timeouts; once a lane has been silent too often these are lowered, and after --seconds the rest fails unasked.
redis_adapter.py runs redis-server under the command line of a lane: with it as PROGRAM the oracle holds redis against
redis, which proves the checks themselves (tests/test_oracle.py).
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import tempfile
import time
from pathlib import Path

import kv_aof
import kv_cases
import kv_clients
import kv_durability
import kv_expiry
import kv_hostile
import kv_info
import kv_memory
import kv_process
import kv_protocol
import kv_scan
from kv_checks import Check, Lab, outcome
from kv_picks import Picker
from kv_servers import missing_tools
from kv_wire import Client

MODULES = [
    *(kv_process, kv_cases, kv_protocol, kv_info, kv_expiry, kv_scan, kv_memory, kv_aof, kv_durability, kv_hostile),
    kv_clients,
]
SECONDS = 400.0
PATIENCE = 5
"""So many checks may fail by silence before every wait is cut short."""
SHORT_SECONDS = 1.0
UNASKED = "not asked"


def all_checks(pattern: str) -> list[Check]:
    """Return the checks whose names match a pattern, in order."""
    found = [check for module in MODULES for check in module.checks.all]
    names = [check.name for check in found]
    if len(set(names)) != len(names):
        raise SystemExit(f"oracle: two checks of one name: {sorted({name for name in names if names.count(name) > 1})}")
    return [check for check in found if fnmatch.fnmatchcase(check.name, pattern)]


def run_all(chosen: list[Check], lab: Lab, seconds: float) -> list[dict[str, object]]:
    """Run checks one after another."""
    report: list[dict[str, object]] = []
    silent, deadline = 0, time.monotonic() + seconds
    for check in chosen:
        start = time.monotonic()
        if start > deadline:
            failure: str | None = f"{UNASKED}: the oracle's {seconds:.0f} s were over"
        else:
            failure = outcome(check, lab)
        if failure and "within" in failure:
            silent += 1
            if silent >= PATIENCE:
                Client.timeout_seconds = SHORT_SECONDS
        report.append({"name": check.name, "failure": failure, "seconds": round(time.monotonic() - start, 3)})
    return report


def main() -> int:
    """Run the oracle for the harness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="*", metavar="GLOB")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--series", type=int, default=1, help="other random streams; 1 is what the harness asks")
    options = parser.parse_args()
    chosen = all_checks(options.only)
    if options.list:
        print("\n".join(check.name for check in chosen))
        return 0
    if not (options.program and options.data and options.out):
        parser.error("--program, --data and --out are needed")
    if missing := missing_tools():
        print(f"oracle: not installed: {', '.join(missing)} (packages redis-server and redis-tools)", file=sys.stderr)
        return 2
    kv_hostile.raise_file_limit()
    Picker.series = options.series
    with tempfile.TemporaryDirectory(prefix="kv-") as temporary:
        lab = Lab(options.program.resolve(), options.data.resolve(), Path(temporary))
        try:
            report = run_all(chosen, lab, options.seconds)
        finally:
            lab.close()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "report.json").write_text(json.dumps({"checks": report}, indent=1) + "\n", encoding="utf-8")
    failed = [entry for entry in report if entry["failure"]]
    print(f"{len(report) - len(failed)} of {len(report)} checks passed")
    unasked = [entry for entry in failed if str(entry["failure"]).startswith(UNASKED)]
    for entry in failed:
        if entry not in unasked:
            print(f"  {entry['name']}: {entry['failure']}")
    if unasked:
        print(f"  {len(unasked)} checks were not asked: the time was over")
    return 0


if __name__ == "__main__":
    sys.exit(main())
