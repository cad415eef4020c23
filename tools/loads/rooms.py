"""rooms, our own generator (tools/loads/rooms): users of a chat by a plan, who check everything that they receive.

Its script is a plan, a JSON file that says who joins, leaves and speaks when. An item is a delivery: a message that
reached one other member. What is missing, comes twice, late or changed is counted by the generator itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.loads.base import QUANTILES, Asked, LoadReport, Second
from tools.model import NO_PACKAGES
from tools.runners.base import TOOLBOX

PACKAGES = NO_PACKAGES
OPEN_LOOP = True
FOLDER = Path(__file__).with_name("rooms")
ARM = f"{TOOLBOX}-rooms"
"""It runs beside the toolbox, whose program is `pace`."""
ONCE_GRACE_SECONDS = 10


def command(asked: Asked) -> tuple[str, ...]:
    """One run of the plan, stretched to so many seconds."""
    return (*_common(asked), "--seconds", f"{asked.seconds:g}")


def once(asked: Asked) -> tuple[str, ...]:
    """A few users for a moment: is everything right?"""
    return (*_common(asked), "--once", "--grace", str(ONCE_GRACE_SECONDS))


def _common(asked: Asked) -> tuple[str, ...]:
    return ("{program}", "--target", asked.address, "--plan", asked.script)


def parse(stdout: bytes) -> LoadReport:
    """One line of JSON.

    Messages without an answer count as all the deliveries that they would have been: nobody gains by not answering.
    """
    raw: Any = json.loads(stdout)
    try:
        wrong = sum(int(raw[name]) for name in ("duplicated", "misordered", "corrupted"))
        unanswered = int(raw["expected"]["unanswered"])
        return LoadReport(
            offered=max(int(raw["expected"]["high"]) + unanswered, int(raw["delivered"]) + wrong),
            completed=int(raw["delivered"]),
            mismatched=wrong,
            errors=sum(int(raw[name]) for name in ("connect_failures", "cut", "refused")),
            dropped=int(raw["missing"]) + unanswered,
            wall_ns=int(raw["wall_ns"]),
            generator_cpu_ns=int(raw["generator_cpu_ns"]),
            latency_ns={name: int(raw["latency_ns"][name]) for name in QUANTILES},
            lag_p99_ns=int(raw["lag_ns"]["p99"]),
            curve=tuple((float(q), float(ns)) for q, ns in raw["curve"]),
            first_error=raw["first_error"],
            messages=int(raw["accepted"]),
            connects=int(raw["connects"]),
            connect_p99_ns=int(raw["connect_ns"]["p99"]),
            setup_ns=int(raw["setup_ns"]),
            series=tuple(Second(**second) for second in raw["series"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"rooms printed something else: {error}") from error
