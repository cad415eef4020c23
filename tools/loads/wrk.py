"""wrk: the industry's closed loop for HTTP capacity. It looks at the status only; `pace` compares bodies before."""

from __future__ import annotations

import re

from tools.loads.base import Asked, LoadReport
from tools.model import Packages
from tools.runners.base import TOOLBOX

PACKAGES = Packages(apt=("wrk",))
OPEN_LOOP = False
ARM = TOOLBOX
TOTAL = re.compile(rb"^ +(\d+) requests in ([0-9.]+)(us|ms|s|m|h), ", re.MULTILINE)
SOCKET = re.compile(rb"^ +Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)$", re.MULTILINE)
STATUS = re.compile(rb"^ +Non-2xx or 3xx responses: (\d+)$", re.MULTILINE)
UNIT_NS = {b"us": 1e3, b"ms": 1e6, b"s": 1e9, b"m": 60e9, b"h": 3600e9}


def command(asked: Asked) -> tuple[str, ...]:
    """One run with one thread; wrk counts whole seconds."""
    return ("/usr/bin/wrk", "-t1", f"-c{asked.connections}", f"-d{max(1, round(asked.seconds))}s",
            f"http://{asked.address}{asked.path}")  # fmt: skip


def parse(stdout: bytes) -> LoadReport:
    """Its summary."""
    total, socket, status = TOTAL.search(stdout), SOCKET.search(stdout), STATUS.search(stdout)
    if total is None:
        raise ValueError("wrk printed no summary")
    requests = int(total[1])
    failed = sum(map(int, socket.groups())) if socket else 0
    wrong = int(status[1]) if status else 0
    wall_ns = round(float(total[2]) * UNIT_NS[total[3]])
    return LoadReport(requests + failed, requests - wrong, wall_ns, mismatched=wrong, errors=failed)
