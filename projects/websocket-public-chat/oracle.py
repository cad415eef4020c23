"""Proves a lane of websocket-public-chat right.

    python oracle.py --program PATH --data DIR --out DIR [--only GLOB[,GLOB]] [--list] [--seconds N]

It starts the lane's program itself, on loopback, as often as it wants, and writes OUT/report.json: {"checks": [{"name":
"area/what", "failure": null or "one line"}]}. Exit code 0 whenever the report was written, whatever the lane did; 2
when this machine lacks what the oracle itself needs (the package websockets).

There is no reference server: no other server speaks this protocol of messages. What is right stands in RFC 6455, RFC
8259 and docs/specs/websocket-public-chat.md; the package `websockets` is a second client, which judges handshakes and
frames by itself. Areas, one module each:

    cli          options, errors, signals at the command line      checks_cli
    http         the plain requests, heads in pieces, limits        checks_http
    handshake    RFC 6455, section 4                                checks_handshake
    frames utf8  RFC 6455, sections 5 to 7, on /chat                checks_frames
    autobahn     the cases of Autobahn's fuzzing client, on /echo   checks_autobahn
    chat json    the messages of the chat                           checks_chat, checks_json
    delivery     who gets what, in which order, and the counters    checks_delivery
    slow         clients that do not read                           checks_slow
    liveness drain                                                  checks_time

Many checks wait most of their time, so a dozen run at once, each beside a server of its own. None waits longer than its
timeouts; after --seconds the rest fails unasked. Upper bounds of times are wide: the machine may be busy.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fnmatch
import importlib.util
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import checks_autobahn
import checks_chat
import checks_cli
import checks_delivery
import checks_frames
import checks_handshake
import checks_http
import checks_json
import checks_slow
import checks_time
from chat_client import Ended
from chat_lab import REGISTRY, Check, CheckError, Lab
from chat_program import StartError
from chat_wire import WireError

MODULES = (
    *(checks_cli, checks_http, checks_handshake, checks_frames, checks_autobahn),
    *(checks_chat, checks_json, checks_delivery, checks_slow, checks_time),
)
AT_ONCE = 12
BUSY = ("delivery/", "slow/", "autobahn/16", "drain/slow")
"""Checks that keep this process busy run one after another, so that the others see what comes when it comes."""
CHECK_SECONDS = 60.0
SECONDS = 300.0
OPEN_FILES = 4096
UNASKED = "not asked"


def chosen_checks(patterns: str) -> list[Check]:
    """Return the checks whose names match one of some patterns, in order."""
    names = [check.name for check in REGISTRY.all]
    if len(set(names)) != len(names):
        raise SystemExit(f"oracle: two checks of one name: {sorted({name for name in names if names.count(name) > 1})}")
    globs = patterns.split(",")
    return [check for check in REGISTRY.all if any(fnmatch.fnmatchcase(check.name, glob) for glob in globs)]


async def outcome(check: Check, lab: Lab) -> str | None:
    """Run a check; return what is wrong, in a line."""
    try:
        async with asyncio.timeout(max(CHECK_SECONDS, 4 * check.seconds)):
            await check.run(lab)
    except (CheckError, WireError, Ended, StartError) as problem:
        text = str(problem)
    except TimeoutError as problem:
        text = str(problem) or f"expected an end within {CHECK_SECONDS:g} s, got none"
    except (OSError, ValueError, LookupError, EOFError) as problem:
        text = f"expected an answer that makes sense, got {type(problem).__name__}: {problem}"
    except Exception as problem:  # noqa: BLE001 - a lane may confuse the client library in any way; that is a failure
        text = f"expected what a client library takes, got {type(problem).__name__}: {problem}"
    else:
        return None
    return " ".join(text.split())[:600]


async def run_all(chosen: list[Check], lab: Lab, seconds: float) -> dict[str, tuple[str | None, float]]:
    """Run checks, some at once, the long ones first."""
    free = asyncio.Semaphore(AT_ONCE)
    deadline = time.monotonic() + seconds
    results: dict[str, tuple[str | None, float]] = {}

    busy = asyncio.Semaphore(1)

    async def one(check: Check) -> None:
        async with busy if check.name.startswith(BUSY) else contextlib.nullcontext(), free:
            start = time.monotonic()
            late = start > deadline
            failure = f"{UNASKED}: the oracle's {seconds:.0f} s were over" if late else await outcome(check, lab)
            results[check.name] = failure, time.monotonic() - start

    await asyncio.gather(*(one(check) for check in sorted(chosen, key=lambda check: -check.seconds)))
    return results


def main() -> int:
    """Run the oracle for the harness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="*", metavar="GLOB[,GLOB]")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    chosen = chosen_checks(options.only)
    if options.list:
        print("\n".join(check.name for check in chosen))
        return 0
    if not (options.program and options.data and options.out):
        parser.error("--program, --data and --out are needed")
    if importlib.util.find_spec("websockets") is None:
        print("oracle: not installed: websockets (PyPI)", file=sys.stderr)
        return 2
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with tempfile.TemporaryDirectory(prefix="chat-") as temporary:
        lab = Lab(options.program.resolve(), options.data.resolve(), Path(temporary))
        results = asyncio.run(run_all(chosen, lab, options.seconds))
    report = [
        {"name": check.name, "failure": results[check.name][0], "seconds": round(results[check.name][1], 3)}
        for check in chosen
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "report.json").write_text(json.dumps({"checks": report}, indent=1) + "\n", encoding="utf-8")
    failed = [entry for entry in report if entry["failure"]]
    print(f"{len(report) - len(failed)} of {len(report)} checks passed")
    for entry in failed:
        print(f"  {entry['name']}: {entry['failure']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
