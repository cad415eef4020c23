"""Run a case for long: one server after the other, looked at once a second beside what the generator says.

No verdict comes from it, only a series: what grows is found on reading (tools.drift). Only one server lives at a time,
so nothing of a neighbour is in its numbers; the order is drawn from the seed.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from tools import services
from tools.errors import LauncherError
from tools.launcher.protocol import LaunchReply, Started, Usage
from tools.loads import TOOLS, LoadReport
from tools.measure import Arm, CaseRun, Progress
from tools.model import Case
from tools.runners.base import TOOLBOX, Start
from tools.serving import GRACE_SECONDS, LoadBench, asked_of, load_of, understood
from tools.workloads import Check

EACH_SECONDS = 1.0


@dataclass(frozen=True)
class Look:
    """What a server had used at a moment."""

    at_s: float
    usage: Usage


@dataclass
class SoakBench(LoadBench):
    """The long run of one case, arm by arm."""

    seconds: float | None = None
    """Instead of what the case says."""
    columns: dict[str, dict[str, list[Any]]] = field(default_factory=dict)

    def measure(self, case: Case, check: Check, arms: list[Arm], deadline: float) -> CaseRun:
        """Each server once: fresh, compared, loaded for long, ended."""
        del deadline
        assert case.soak is not None  # noqa: S101 - only such cases come here
        load = replace(load_of(case), measure_seconds=self.seconds or case.soak.seconds, settle_seconds=0.0)
        run = CaseRun(replace(case, load=load), check)
        self.columns, self.digest = run.soak, check.digest()
        order = random.Random(f"{self.settings.seed}/{case.name}").sample(arms, len(arms))  # noqa: S311 - an order, not a secret
        for position, arm in enumerate(order):
            self.report(Progress(case.name, f"soak {arm.name}", position, len(order)))
            if reason := case.without.get(arm.name):
                run.states[arm.name] = ("excluded", reason)
            else:
                self._soak(run, arm, position)
        run.stop = "rounds"
        return run

    def _soak(self, run: CaseRun, arm: Arm, position: int) -> None:
        """One server from its start to its end."""
        with ExitStack() as stack:
            self.servers = {}
            self._start(run, arm, stack)
            if arm.name in self.servers:
                self._settle(run, arm)
            if arm.name in self.servers and run.alive([arm]):
                expected = self._expected(run, 1)
                run.samples.append(self._sample(run, arm, expected, 1, 0, (1, position)))
                self._stop(run, arm)
        if run.alive([arm]):
            run.states[arm.name] = ("measured", None)

    def _load(self, case: Case, arm: str, seconds: float) -> tuple[LaunchReply, LoadReport | str]:
        """The generator as a long-lived program, so that somebody can look at the server meanwhile."""
        tool, data = TOOLS[load_of(case).tool], self.arena.places(TOOLBOX).data
        words = tool.command(replace(asked_of(case, arm, self.servers[arm].address, None, data), seconds=seconds))
        begun = self.arena.start(Start(tool.ARM, words[1:], None, command=words[:1]))
        if isinstance(begun, LaunchReply):
            return begun, f"the load generator failed: {services.why(begun)}"
        try:
            looks = self._watch(arm, tool.ARM, begun, seconds + GRACE_SECONDS)
        finally:
            reply = self.arena.stop(tool.ARM, begun, signal.SIGTERM, services.STOP_SECONDS)
        found = understood(tool, reply)
        if isinstance(found, LoadReport) and looks:
            self.columns[arm] = columns(found, looks)
        return reply, found

    def _watch(self, arm: str, generator: str, begun: Started, seconds: float) -> list[Look]:
        """Look at the server every second until the generator or the server ends."""
        start = time.monotonic()
        looks: list[Look] = []
        while (now := time.monotonic() - start) < seconds:
            try:
                looks.append(Look(now, self.servers[arm].usage()))
                self.arena.usage(generator, begun)
            except LauncherError:
                break  # what ended, and how, is in its reply
            time.sleep(max(0.0, len(looks) * EACH_SECONDS - (time.monotonic() - start)))
        return looks


def columns(found: LoadReport, looks: Sequence[Look]) -> dict[str, list[Any]]:
    """The generator's seconds, each with the look that was nearest to its end."""
    setup_s = found.setup_ns / 1e9
    beside = [_nearest(looks, setup_s + second.t_s) for second in found.series]
    pairs = pairwise([_nearest(looks, setup_s), *beside])
    series = found.series
    return {
        "t_s": [second.t_s for second in series],
        "users": [second.users for second in series],
        "rss_bytes": [look.usage.rss_bytes for look in beside],
        "fds": [look.usage.fds for look in beside],
        "cpu_share": [_cpu_share(*pair) for pair in pairs],
        "offered_per_second": [second.offered for second in series],
        "delivered_per_second": [second.delivered for second in series],
        "errors": [second.errors for second in series],
        "p99_ns": [second.p99_ns for second in series],
    }


def _nearest(looks: Sequence[Look], at_s: float) -> Look:
    return min(looks, key=lambda look: abs(look.at_s - at_s))


def _cpu_share(before: Look, after: Look) -> float:
    """CPU time over wall time between two looks, as a share of one core."""
    used_ns = after.usage.user_ns + after.usage.sys_ns - before.usage.user_ns - before.usage.sys_ns
    return round(used_ns / 1e9 / (after.at_s - before.at_s), 4) if after.at_s > before.at_s else 0.0
