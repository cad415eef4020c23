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

from tools import schedule, stats
from tools.model import Case, Project
from tools.runners.base import Arena, Run
from tools.samples import Expected, Sample, flag_noise, judge
from tools.workloads import Check

CALIBRATION_GROWTH = 50
CALIBRATION_MARGIN = 1.2
LINE_ATTEMPTS = 3
LINE_LOW, LINE_HIGH = 0.75, 1.35
"""Twice the repeats must take this much of the first N again; hoisted work comes out near 0."""
REPEATS_MAX = 1_000_000_000


@dataclass(frozen=True)
class Settings:
    """How long and how exactly to measure."""

    seed: int
    rounds_min: int = schedule.MIN_ROUNDS
    rounds_max: int = schedule.MAX_ROUNDS
    budget_seconds: float = 900.0
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


@dataclass
class Calibration:
    """Repeats of a case, and how well the time of twice the repeats fits."""

    arm: str
    repeats: int
    wall_ns: int
    setup_ns: int
    double_ns: int | None = None
    fits: bool = False


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
        self._calibrate(run, arms)
        self._fit_line(run, arms)
        self._round(run, run.alive(arms), list(range(len(run.alive(arms)))), rng, run.warmups, 0)
        self._rounds(run, arms, rng, deadline)
        flag_noise(run.samples)
        for arm in run.alive(arms):
            run.states.setdefault(arm.name, ("measured", None))
        return run

    def _expected(self, run: CaseRun, repeats: int) -> Expected:
        items = (run.check.items or 0) * repeats
        floor_ns = None
        if run.case.bytes_per_item is not None and self.bytes_per_second:
            floor_ns = items * run.case.bytes_per_item / self.bytes_per_second * 1e9
        timeout = self.project.limits.timeout_seconds
        return Expected(run.check.digest(repeats), items, self.settings.cpus, floor_ns, timeout)

    def _sample(self, run: CaseRun, arm: Arm, expected: Expected, repeats: int, padding: int, place: tuple[int, int]) -> Sample:
        args = (*run.check.args, "--repeats", str(repeats))
        reply = self.arena.run(Run(arm.name, args, expected.timeout_seconds, stdin=run.check.stdin, padding_bytes=padding))
        sample = judge(arm.name, place, reply, expected, counts_items=arm.counts_items)
        if sample.failed:
            state = "impossible" if {"impossible", "self-time"} & set(sample.flags) else "run-failed"
            run.fail(arm.name, state, f"{sample.reason}")
        return sample

    def _calibrate(self, run: CaseRun, arms: list[Arm]) -> None:
        """Find the repeats with which the fastest arm takes long enough, twice."""
        target_ns = self.settings.min_run_seconds * 1e9
        times: dict[str, int] = {}
        repeats, passes = 1, 0
        while passes < 2:  # noqa: PLR2004 - MEASURING 3: calibration must pass twice
            expected = self._expected(run, repeats)
            near = min(times.values(), default=0) * 3
            asked = [arm for arm in run.alive(arms) if not times or times.get(arm.name, 0) <= near]
            for arm in asked:
                self.report(Progress(run.case.name, "calibrate", passes, 2))
                times[arm.name] = self._sample(run, arm, expected, repeats, 0, (0, 0)).reply.wall_ns
            alive = {arm.name for arm in run.alive(asked)}
            if not alive:
                break
            fastest_ns = max(1, min(times[name] for name in alive))
            if fastest_ns >= target_ns or repeats >= REPEATS_MAX:
                passes += 1
                continue
            passes = 0
            work_ns = max(fastest_ns / CALIBRATION_GROWTH, fastest_ns - min(arm.startup_ns for arm in asked))
            repeats = min(REPEATS_MAX, _grown(repeats, target_ns / work_ns))
        run.repeats = repeats
        run.floor_ns = self._expected(run, repeats).floor_ns

    def _fit_line(self, run: CaseRun, arms: list[Arm]) -> None:
        """Twice the repeats must take twice the work: otherwise something was hoisted out of the loop."""
        once, twice = self._expected(run, run.repeats), self._expected(run, 2 * run.repeats)
        for arm in run.alive(arms):
            found = Calibration(arm.name, run.repeats, 0, arm.startup_ns)
            for attempt in range(LINE_ATTEMPTS):
                self.report(Progress(run.case.name, "fit", attempt, LINE_ATTEMPTS))
                first = self._sample(run, arm, once, run.repeats, 0, (0, 0))
                second = self._sample(run, arm, twice, 2 * run.repeats, 0, (0, 0))
                found.wall_ns, found.double_ns = first.reply.wall_ns, second.reply.wall_ns
                work_ns = max(1, found.wall_ns - min(arm.startup_ns, found.wall_ns // 2))
                found.fits = LINE_LOW <= (found.double_ns - found.wall_ns) / work_ns <= LINE_HIGH
                if found.fits or first.failed or second.failed:
                    break
            run.calibrations.append(found)
            if not found.fits and arm in run.alive(arms):
                ratio = (found.double_ns or 0) / found.wall_ns
                run.fail(arm.name, "impossible", f"twice the repeats take {ratio:.2f} times as long: not the whole job each time")

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
            )
            if stop is not None:
                run.stop = stop
                return

    def _round(self, run: CaseRun, arms: list[Arm], row: list[int], rng: random.Random, into: list[Sample], number: int) -> None:
        """Each arm once, in this order; an arm that failed earlier in the block is passed over."""
        expected = self._expected(run, run.repeats)
        for position, index in enumerate(row):
            if arms[index] in run.alive(arms):
                padding = schedule.padding_bytes(rng)
                into.append(self._sample(run, arms[index], expected, run.repeats, padding, (number, position)))

    def half_widths(self, run: CaseRun, arms: list[Arm]) -> dict[str, float]:
        """Half-width of the interval of ln(ratio) of every lane and null arm to the first lane."""
        racing = [arm for arm in arms if arm.role != "peer"]
        if len(racing) < 2:  # noqa: PLR2004 - a ratio needs two
            return {}
        walls = {arm.name: _walls(run.samples, arm.name) for arm in racing}
        first = racing[0].name
        widths = {}
        for arm in racing[1:]:
            rounds = sorted(walls[first].keys() & walls[arm.name].keys())
            logs = [math.log(walls[arm.name][n] / walls[first][n]) for n in rounds]
            interval = stats.sign_interval(logs, self.settings.alpha / self.claims)
            widths[arm.name] = (interval.high - interval.low) / 2
        return widths

    def _show(self, run: CaseRun, arms: list[Arm], number: int, started: float, deadline: float) -> None:
        spent = time.monotonic() - started
        per_round = spent / (number - 1) if number > 1 else 0.0
        left = min(per_round * (self.settings.rounds_max - number + 1), max(0.0, deadline - time.monotonic()))
        widths = self.half_widths(run, arms) if number > 1 else {}
        self.report(Progress(run.case.name, "rounds", number, self.settings.rounds_max, widths, left if number > 1 else None))


def _grown(repeats: int, factor: float) -> int:
    """The next number of repeats to try: towards the target with a margin, by at most CALIBRATION_GROWTH."""
    return max(repeats + 1, math.ceil(repeats * min(CALIBRATION_GROWTH, factor * CALIBRATION_MARGIN)))


def _walls(samples: list[Sample], arm: str) -> dict[int, int]:
    return {sample.round: sample.reply.wall_ns for sample in samples if sample.arm == arm and not sample.failed}
