"""Measure one case: calibrate, warm up, then rounds in balanced order until the intervals are narrow enough.

Nothing of the harness runs while a sample runs: the launcher is asked and this process sleeps until it answers.
The method and its reasons are in MEASURING (rules 2 to 11); statistics of finished results live in tools.analysis.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tools import schedule, stats
from tools.model import Case, Project
from tools.runners.base import Arena, Run
from tools.samples import Expected, Sample, flag_noise, judge
from tools.workloads import Check

CALIBRATION_GROWTH = 50
CALIBRATION_MARGIN = 1.2
LINE_ATTEMPTS = 6
LINE_LOW, LINE_HIGH = 0.7, 1.35
"""Twice the repeats must take this much of the first N again; hoisted work comes out near 0."""
TIMEOUT_SHARE = 0.25
"""The slowest arm's run may take this share of the time limit: twice the repeats, under load, must still fit."""
REPEATS_MAX = 1_000_000_000


@dataclass(frozen=True)
class Settings:
    """How long and how exactly to measure."""

    seed: int
    rounds_min: int = schedule.MIN_ROUNDS
    rounds_max: int = schedule.MAX_ROUNDS
    budget_seconds: float = 900.0
    budget_is_hard: bool = True
    """False: the least rounds that an interval needs are taken, whatever the budget says."""
    half_width: float = stats.HALF_WIDTH_LIMIT
    min_run_seconds: float = 0.5
    alpha: float = 0.05
    cpus: int = 1


@dataclass(frozen=True)
class Arm:
    """Who takes part in a round."""

    name: str
    role: str
    of: str | None = None
    counts_items: bool = True
    startup_ns: int = 0
    beside: str | None = None
    """The arm whose ratio to this one must become precise, where that is not the first lane."""


@dataclass
class Calibration:
    """Repeats of a case, and the least times of once and twice the repeats."""

    arm: str
    repeats: int
    startup_ns: int
    wall_ns: int = 0
    cpu_ns: int = 0
    double_wall_ns: int = 0
    double_cpu_ns: int = 0
    fits: bool = False
    shares: list[float] = field(default_factory=list)
    """Of each attempt, what the second N repeats cost as a share of the work of the first N; 1 is a straight line."""

    def see(self, once: Sample, twice: Sample, *, by_cpu: bool) -> None:
        """Keep the least of each (a busy machine only ever adds time), and judge this pair and the least times."""
        self.wall_ns = min(self.wall_ns or once.reply.wall_ns, once.reply.wall_ns)
        self.cpu_ns = min(self.cpu_ns or once.cpu_ns, once.cpu_ns)
        self.double_wall_ns = min(self.double_wall_ns or twice.reply.wall_ns, twice.reply.wall_ns)
        self.double_cpu_ns = min(self.double_cpu_ns or twice.cpu_ns, twice.cpu_ns)
        pair = (once.cpu_ns, twice.cpu_ns) if by_cpu else (once.reply.wall_ns, twice.reply.wall_ns)
        least = (self.cpu_ns, self.double_cpu_ns) if by_cpu else (self.wall_ns, self.double_wall_ns)
        self.shares += [self._share(*pair), self._share(*least)]
        self.fits = any(LINE_LOW <= share <= LINE_HIGH for share in self.shares)

    @property
    def hoists(self) -> bool:
        """True when no attempt came near the whole work: work that is left out is never there, noise comes and goes."""
        return max(self.shares, default=1.0) < LINE_LOW

    def _share(self, once_ns: int, twice_ns: int) -> float:
        return (twice_ns - once_ns) / max(1, once_ns - min(self.startup_ns, once_ns // 2))


@dataclass
class CaseRun:
    """Everything that was seen of one case."""

    case: Case
    check: Check
    repeats: int = 1
    calibrations: list[Calibration] = field(default_factory=list)
    states: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    warmups: list[Sample] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    stop: str = "failed"
    floor_ns: float | None = None
    rate: float | None = None
    """Requests a second of an open loop."""
    soak: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    """Of each arm, the columns of its seconds (tools.soaking)."""

    def fail(self, arm: str, state: str, reason: str) -> None:
        """End an arm's verdict in this case."""
        self.states[arm] = (state, reason[:1000])

    def alive(self, arms: list[Arm]) -> list[Arm]:
        """The arms that are still in the race."""
        return [arm for arm in arms if self.states.get(arm.name, ("measured", None))[0] == "measured"]


@dataclass(frozen=True)
class Progress:
    """What a progress line shows; made between samples only."""

    case: str
    stage: str
    done: int
    total: int
    half_widths: dict[str, float] = field(default_factory=dict)
    seconds_left: float | None = None


@dataclass
class Bench:
    """The measuring of one case, step by step."""

    arena: Arena
    project: Project
    settings: Settings
    claims: int
    bytes_per_second: float | None
    report: Callable[[Progress], None]

    def measure(self, case: Case, check: Check, arms: list[Arm], deadline: float) -> CaseRun:
        """Run a case from calibration to the last round."""
        run = CaseRun(case, check)
        for arm in arms:
            if reason := case.without.get(arm.name):
                run.states[arm.name] = ("excluded", reason)
        rng = random.Random(f"{self.settings.seed}/{case.name}")  # noqa: S311 - an order, not a secret
        self._settle_repeats(run, arms)
        self._round(run, run.alive(arms), list(range(len(run.alive(arms)))), rng, run.warmups, 0)
        self._rounds(run, arms, rng, deadline)
        flag_noise(run.samples)
        sampled = {sample.arm for sample in run.samples}
        for arm in run.alive(arms):
            run.states[arm.name] = (
                ("measured", None) if arm.name in sampled else ("not-run", "no lane was left to race")
            )
        return run

    def _expected(self, run: CaseRun, repeats: int) -> Expected:
        items = (run.check.items or 0) * repeats
        floor_ns = None
        if run.case.bytes_per_item is not None and self.bytes_per_second:
            floor_ns = items * run.case.bytes_per_item / self.bytes_per_second * 1e9
        timeout = self.project.limits.timeout_seconds
        return Expected(run.check.digest(repeats), items, self.settings.cpus, floor_ns, timeout)

    def _sample(
        self, run: CaseRun, arm: Arm, expected: Expected, repeats: int, padding: int, place: tuple[int, int]
    ) -> Sample:
        args = (*run.check.args, "--repeats", str(repeats))
        reply = self.arena.run(
            Run(arm.name, args, expected.timeout_seconds, stdin=run.check.stdin, padding_bytes=padding)
        )
        sample = judge(arm.name, place, reply, expected, counts_items=arm.counts_items)
        if sample.failed:
            state = "impossible" if {"impossible", "self-time"} & set(sample.flags) else "run-failed"
            run.fail(arm.name, state, f"{sample.reason}")
        return sample

    def _settle_repeats(self, run: CaseRun, arms: list[Arm]) -> None:
        """Calibrate and fit until all that are left agree: who hoists must not set the repeats of the others."""
        while True:
            before = run.alive(arms)
            self._calibrate(run, before)
            self._fit_line(run, before)
            if len(run.alive(arms)) in {0, len(before)}:
                return
            run.calibrations = [
                one for one in run.calibrations if run.states.get(one.arm, ("", None))[0] == "impossible"
            ]

    def _calibrate(self, run: CaseRun, arms: list[Arm]) -> None:
        """Find the repeats with which the fastest arm takes long enough, twice, and the slowest not too long."""
        target_ns = self.settings.min_run_seconds * 1e9
        each_ns: dict[str, float] = {}
        repeats, passes = 1, 0
        while passes < 2:  # noqa: PLR2004 - MEASURING 3: calibration must pass twice
            expected = self._expected(run, repeats)
            near = [arm for arm in run.alive(arms) if not each_ns or each_ns[arm.name] <= 3 * min(each_ns.values())]
            for arm in near:
                self.report(Progress(run.case.name, "calibrate", passes, 2))
                each_ns[arm.name] = self._sample(run, arm, expected, repeats, 0, (0, 0)).reply.wall_ns / repeats
            alive = {arm.name: max(each_ns[arm.name], 1) for arm in run.alive(arms)}
            each_ns = dict(alive)
            if not alive:
                break
            fastest_ns = min(alive.values()) * repeats
            ceiling = max(1, int(expected.timeout_seconds * 1e9 * TIMEOUT_SHARE / max(alive.values())))
            if fastest_ns >= target_ns or repeats >= min(REPEATS_MAX, ceiling):
                passes += 1
                continue
            passes = 0
            work_ns = max(fastest_ns / CALIBRATION_GROWTH, fastest_ns - min(arm.startup_ns for arm in near))
            repeats = min(REPEATS_MAX, ceiling, _grown(repeats, target_ns / work_ns))
        run.repeats = repeats
        run.floor_ns = self._expected(run, repeats).floor_ns

    def _fit_line(self, run: CaseRun, arms: list[Arm]) -> None:
        """Twice the repeats must take twice the work: otherwise something was hoisted out of the loop.

        An honest lane needs one good attempt of a few. Too much time for the second half is noted (`fits` is false) but
        condemns nobody: it is not what hoisting looks like. A peer is tried once and never condemned: what an industry
        program sets up once in a process is its own business, and it cannot win.
        """
        once, twice = self._expected(run, run.repeats), self._expected(run, 2 * run.repeats)
        by_cpu = self.project.kinds == ("batch",)
        for arm in run.alive(arms):
            found = Calibration(arm.name, run.repeats, arm.startup_ns)
            attempts = 1 if arm.role == "peer" else LINE_ATTEMPTS
            for attempt in range(attempts):
                self.report(Progress(run.case.name, "fit", attempt, attempts))
                first = self._sample(run, arm, once, run.repeats, 0, (0, 0))
                found.see(first, self._sample(run, arm, twice, 2 * run.repeats, 0, (0, 0)), by_cpu=by_cpu)
                if found.fits or arm not in run.alive(arms):
                    break
            run.calibrations.append(found)
            if found.hoists and arm.role != "peer" and arm in run.alive(arms):
                best = max(found.shares)
                text = f"twice the repeats cost only {1 + best:.2f} times the work: not the whole job each time"
                run.fail(arm.name, "impossible", text)

    def _rounds(self, run: CaseRun, arms: list[Arm], rng: random.Random, deadline: float) -> None:
        """Whole blocks until precise, at most rounds_max rounds, within the budget."""
        number = 0
        started = time.monotonic()
        while True:
            alive = run.alive(arms)
            if not any(arm.role == "lane" for arm in alive):
                run.stop = "failed"
                return
            for row in schedule.williams_block(len(alive), rng):
                number += 1
                self._show(run, alive, number, started, deadline)
                self._round(run, alive, row, rng, run.samples, number)
            per_round = (time.monotonic() - started) / number
            stop = schedule.enough(
                number,
                list(self.half_widths(run, run.alive(arms)).values()),
                block_seconds=per_round * schedule.rounds_per_block(len(alive)),
                seconds_left=deadline - time.monotonic(),
                rounds_min=self.settings.rounds_min,
                rounds_max=self.settings.rounds_max,
                rounds_needed=self._rounds_needed(),
            )
            if stop is not None:
                run.stop = stop
                return

    def _rounds_needed(self) -> int:
        """The rounds to take even beyond the budget."""
        return 0 if self.settings.budget_is_hard else stats.least_rounds(self.settings.alpha / self.claims)

    def _round(
        self, run: CaseRun, arms: list[Arm], row: list[int], rng: random.Random, into: list[Sample], number: int
    ) -> None:
        """Each arm once, in this order; an arm that failed earlier in the block is passed over."""
        expected = self._expected(run, run.repeats)
        for position, index in enumerate(row):
            if arms[index] in run.alive(arms):
                padding = schedule.padding_bytes(rng)
                into.append(self._sample(run, arms[index], expected, run.repeats, padding, (number, position)))

    def half_widths(self, run: CaseRun, arms: list[Arm]) -> dict[str, float]:
        """Half-width of the interval of ln(ratio) of every lane and null arm to the first lane, or to its opponent."""
        racing = [arm for arm in arms if arm.role != "peer"]
        if len(racing) < 2:  # noqa: PLR2004 - a ratio needs two
            return {}
        values = {arm.name: self._values(run, arm.name) for arm in racing}
        first = racing[0].name
        widths = {}
        for arm in racing[1:]:
            other = arm.beside if arm.beside in values else first
            rounds = sorted(values[other].keys() & values[arm.name].keys())
            logs = [math.log(values[arm.name][n] / values[other][n]) for n in rounds]
            interval = stats.sign_interval(logs, self.settings.alpha / self.claims)
            widths[arm.name] = (interval.high - interval.low) / 2
        return widths

    def value(self, run: CaseRun, sample: Sample) -> float:
        """What the verdict rests on; here the wall time, as every run does the same work."""
        del run
        return float(sample.reply.wall_ns)

    def _values(self, run: CaseRun, arm: str) -> dict[int, float]:
        mine = (sample for sample in run.samples if sample.arm == arm and not sample.failed)
        found = {sample.round: self.value(run, sample) for sample in mine}
        return {turn: value for turn, value in found.items() if value > 0}

    def _show(self, run: CaseRun, arms: list[Arm], number: int, started: float, deadline: float) -> None:
        spent = time.monotonic() - started
        per_round = spent / (number - 1) if number > 1 else 0.0
        block = schedule.rounds_per_block(len(arms))
        total = -(-self.settings.rounds_max // block) * block
        needed = -(-self._rounds_needed() // block) * block
        least, most = (per_round * (rounds - number + 1) for rounds in (needed, total))
        left = min(most, max(0.0, least, deadline - time.monotonic()))
        widths = self.half_widths(run, arms) if number > 1 else {}
        self.report(Progress(run.case.name, "rounds", number, total, widths, left if number > 1 else None))


def _grown(repeats: int, factor: float) -> int:
    """The next number of repeats to try: towards the target with a margin, by at most CALIBRATION_GROWTH."""
    return max(repeats + 1, math.ceil(repeats * min(CALIBRATION_GROWTH, factor * CALIBRATION_MARGIN)))
