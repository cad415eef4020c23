"""dnsperf: the industry's load for DNS; with a rate it keeps the clock, and counts what is lost."""

from __future__ import annotations

import re

from tools.loads.base import Asked, LoadReport
from tools.model import Packages
from tools.runners.base import TOOLBOX

PACKAGES = Packages(apt=("dnsperf",))
OPEN_LOOP = True
ARM = TOOLBOX
FIELDS = {
    "sent": re.compile(rb"Queries sent: +(\d+)"),
    "completed": re.compile(rb"Queries completed: +(\d+)"),
    "lost": re.compile(rb"Queries lost: +(\d+)"),
}
CODES = re.compile(rb"Response codes: +([^\n]+)")
RUN = re.compile(rb"Run time \(s\): +([0-9.]+)")
GOOD_CODES = ("NOERROR", "NXDOMAIN")


def command(asked: Asked) -> tuple[str, ...]:
    """One run; the script is dnsperf's own list of names and types."""
    host, _, port = asked.address.rpartition(":")
    rate = () if asked.rate_per_second is None else ("-Q", f"{asked.rate_per_second:.0f}")
    return ("/usr/bin/dnsperf", "-s", host, "-p", port, "-d", asked.script, "-l", f"{asked.seconds:g}",
            "-c", str(asked.connections), "-q", str(asked.pipeline), "-t", "5", *rate)  # fmt: skip


def parse(stdout: bytes) -> LoadReport:
    """Its summary; answers with other codes than NOERROR and NXDOMAIN are wrong replies."""
    found = {name: pattern.search(stdout) for name, pattern in FIELDS.items()}
    run = RUN.search(stdout)
    if run is None or not all(found.values()):
        raise ValueError("dnsperf printed no summary")
    counts = {name: int(match[1]) for name, match in found.items() if match}
    codes = CODES.search(stdout)
    answers = dict(re.findall(r"([A-Z]+) (\d+)", codes[1].decode())) if codes else {}
    good = sum(int(count) for code, count in answers.items() if code in GOOD_CODES)
    wall_ns = round(float(run[1]) * 1e9)
    return LoadReport(counts["sent"], good, wall_ns, mismatched=counts["completed"] - good, dropped=counts["lost"])
