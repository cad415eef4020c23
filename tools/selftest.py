"""The method measured by itself (MEASURING.md, rule 17): `python -m tools.selftest [--trials N] [--json] [--zig PATH]`.

Three benchmarks, each a list of findings with a limit:

- simulated: coverage of the interval, and how often the whole rule set (order, stop, interval, bands, noise gate) says
  something wrong or misses something true, under noise of different kinds;
- real: the same rules on a spinning program through the launcher: against itself, 3 % and 15 % slower;
- launching: what the launcher adds to a bare posix_spawn/wait4 loop in C.

Without a compiler only the simulation runs. Exit code 1 when a finding is beyond its limit.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools import process, schedule, stats
from tools.launcher import LauncherClient, LaunchRequest, build_launcher, local_launcher
from tools.stats import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ALPHA = 0.05
REFERENCE, NULL, CANDIDATE, OTHER = range(4)
LAUNCH_BUDGET_US = 50.0
LAUNCHES = 300
LAUNCH_ROUNDS = 9
SPIN_SECONDS = 0.1


@dataclass(frozen=True)
class Finding:
    """One number with its limit; `at_least` says on which side of it the number must stay."""

    name: str
    value: float
    limit: float
    at_least: bool
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether the number keeps its limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True)
class Disturbance:
    """How a simulated machine disturbs runs; sigmas are of ln time."""

    name: str
    run_sigma: float
    round_sigma: float = 0.0
    outlier_share: float = 0.0
    outlier_scale: float = 0.0
    switch_share: float = 0.0
    switch_factor: float = 1.0


DISTURBANCES = (
    Disturbance("quiet", run_sigma=0.01),
    Disturbance("shared machine", run_sigma=0.03, round_sigma=0.05, outlier_share=0.1, outlier_scale=0.2),
    Disturbance("load that comes and goes", run_sigma=0.01, switch_share=0.08, switch_factor=1.35),
)
WRONG = {
    1.00: {Verdict.DIFFERENT, Verdict.STRUCTURAL},
    1.03: {Verdict.DIFFERENT, Verdict.STRUCTURAL},
    1.10: {Verdict.DIFFERENT, Verdict.STRUCTURAL},
    1.15: {Verdict.TIE, Verdict.STRUCTURAL},
    2.00: {Verdict.TIE, Verdict.STRUCTURAL},
    2.30: {Verdict.TIE},
}
"""True ratio, and what must not be said of it; the edges (1.10 and 2.00) are the hardest cases."""
RIGHT = {1.00: Verdict.TIE, 1.03: Verdict.TIE, 1.15: Verdict.DIFFERENT, 2.30: Verdict.STRUCTURAL}
"""What must be said of it on a quiet machine."""
POWER = 0.95


def _unequal_tails(rng: random.Random) -> float:
    """Half of the values just below 0, half far above it."""
    return rng.choice((-rng.random(), 20 * rng.paretovariate(1)))


def _two_regimes(rng: random.Random) -> float:
    """Seven of ten values around 0, three around 8; the median is where the normal distribution reaches 5/7."""
    return rng.gauss(rng.choice((0,) * 7 + (8,) * 3), 1)


DISTRIBUTIONS: dict[str, tuple[Callable[[random.Random], float], float]] = {
    "normal": (lambda rng: rng.gauss(0, 1), 0.0),
    "one long tail": (lambda rng: rng.expovariate(1) ** 3, math.log(2) ** 3),
    "unequal tails": (_unequal_tails, 0.0),
    "two regimes": (_two_regimes, 0.5659),
}
"""How ln ratios may be spread, with the true median."""


def at_most(limit: float, trials: int) -> float:
    """A rate's limit with the room that its estimate from so many trials needs (three standard errors)."""
    return limit + 3 * math.sqrt(limit * (1 - limit) / trials)


# --- simulated


def coverage(trials: int, rng: random.Random) -> Iterator[Finding]:
    """How often the interval holds the true median."""
    for name, (draw, truth) in DISTRIBUTIONS.items():
        for count in (12, 20, 40):
            hits = 0
            for _ in range(trials):
                interval = stats.sign_interval([draw(rng) for _ in range(count)], ALPHA)
                hits += interval.low <= truth <= interval.high
            limit = 1 - at_most(ALPHA, trials)
            yield Finding(f"coverage, {name}, n = {count}", hits / trials, limit, at_least=True)


class Machine:
    """A simulated machine: run times with noise of its own, of the round, and of a load that stays for a while."""

    def __init__(self, disturbance: Disturbance, rng: random.Random) -> None:
        """Start without load."""
        self._kind = disturbance
        self._rng = rng
        self._loaded = False

    def round(self, order: Sequence[int], factors: Sequence[float]) -> dict[int, float]:
        """Run the arms once each, in this order."""
        shared = self._rng.gauss(0, self._kind.round_sigma)
        return {arm: math.exp(shared + self._noise()) * factors[arm] for arm in order}

    def _noise(self) -> float:
        """Noise of one run, in ln."""
        kind, rng = self._kind, self._rng
        self._loaded ^= rng.random() < kind.switch_share
        noise = rng.gauss(0, kind.run_sigma) + (math.log(kind.switch_factor) if self._loaded else 0)
        if rng.random() < kind.outlier_share:
            noise += rng.expovariate(1) * kind.outlier_scale
        return noise


Samples = list[list[float]]


def measured(run_round: Callable[[Sequence[int]], dict[int, float]], seed: int) -> Samples:
    """Samples of four arms by the rules: Williams blocks until `enough`."""
    samples: Samples = [[], [], [], []]
    for block in schedule.plan_rounds(len(samples), seed):
        for order in block:
            for arm, wall in run_round(order).items():
                samples[arm].append(wall)
        widths = [stats.paired_ratio(samples[arm], samples[REFERENCE], ALPHA).half_width for arm in (NULL, CANDIDATE)]
        if schedule.enough(len(samples[0]), widths, block_seconds=0, seconds_left=1):
            break
    return samples


def judged(samples: Samples, arm: int = CANDIDATE) -> Verdict:
    """What the rules say of an arm against the reference."""
    null = stats.null_arm(samples[REFERENCE], samples[NULL], ALPHA)
    return stats.decide(stats.paired_ratio(samples[arm], samples[REFERENCE], ALPHA), null, None)


def error_rates(trials: int, rng: random.Random) -> Iterator[Finding]:
    """How often the whole rule set errs, and on a quiet machine how often it finds the truth."""
    for disturbance in DISTURBANCES:
        for ratio, wrong in WRONG.items():
            counts: Counter[Verdict] = Counter()
            rounds = 0
            for _ in range(trials):
                machine = Machine(disturbance, rng)
                factors = (1.0, 1.0, ratio, 1.3)
                samples = measured(lambda order, m=machine, f=factors: m.round(order, f), rng.getrandbits(32))  # type: ignore[misc]  # defaults bind the loop
                counts[judged(samples)] += 1
                rounds += len(samples[0])
            yield from _rates(disturbance, ratio, counts, rounds / trials, wrong)


def _rates(
    disturbance: Disturbance, ratio: float, counts: Counter[Verdict], rounds: float, wrong: set[Verdict]
) -> Iterator[Finding]:
    """The findings of one true ratio on one machine."""
    trials = counts.total()
    shares = ", ".join(f"{verdict} {count / trials:.1%}" for verdict, count in counts.most_common())
    rate = sum(counts[verdict] for verdict in wrong) / trials
    name = f"{disturbance.name}, true ratio {ratio:.2f}"
    detail = f"{shares}; {rounds:.0f} rounds"
    yield Finding(f"{name}: wrong", rate, at_most(ALPHA, trials), at_least=False, detail=detail)
    if disturbance is DISTURBANCES[0] and ratio in RIGHT:
        limit = 1 - at_most(1 - POWER, trials)
        yield Finding(f"{name}: {RIGHT[ratio]}", counts[RIGHT[ratio]] / trials, limit, at_least=True)


# --- real

SPIN_SOURCE = """
#include <stdint.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    uint64_t left = argc > 1 ? strtoull(argv[1], NULL, 10) : 0, x = 88172645463325252u;
    while (left-- > 0) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x == 0;
}
"""
"""Spins for a given number of steps; each needs the one before, so the time is proportional."""


@dataclass(frozen=True)
class Bench:
    """A launcher and the spinning program."""

    launcher: LauncherClient
    binary: Path
    spin: str

    def wall_ns(self, steps: int) -> float:
        """One run of so many steps."""
        return float(self.launcher.run(LaunchRequest((self.spin, str(steps)))).wall_ns)

    def calibrate(self) -> int:
        """Steps that take SPIN_SECONDS: the best of some runs, so that no disturbance goes in."""
        steps = 10_000_000
        return round(steps * SPIN_SECONDS * 1e9 / min(self.wall_ns(steps) for _ in range(5)))


def real_verdicts(bench: Bench) -> Iterator[Finding]:
    """The rules on real runs: the same program, 3 % and 15 % more work.

    A noisy machine may leave this unresolved or withheld, which is right; only the opposite of the truth is wrong.
    """
    base = bench.calibrate()
    steps = [base, base, round(base * 1.15), round(base * 1.03)]
    samples = measured(lambda order: {arm: bench.wall_ns(steps[arm]) for arm in order}, schedule.new_seed())
    null = stats.null_arm(samples[REFERENCE], samples[NULL], ALPHA)
    noise = f"null arm {null.ratio:.4f} [{null.low:.4f}, {null.high:.4f}], {len(samples[0])} rounds"
    for arm, wanted, wrong in ((CANDIDATE, "15 % slower", Verdict.TIE), (OTHER, "3 % slower", Verdict.DIFFERENT)):
        ratio = stats.paired_ratio(samples[arm], samples[REFERENCE], ALPHA)
        verdict = judged(samples, arm)
        detail = f"{verdict}: {ratio.ratio:.4f} [{ratio.low:.4f}, {ratio.high:.4f}]; {noise}"
        yield Finding(f"real, {wanted}, called {wrong}", float(verdict is wrong), 0.0, at_least=False, detail=detail)


def launch_overhead(bench: Bench) -> Iterator[Finding]:
    """The launcher against the C loop, alternating; the median over rounds of the difference of medians."""
    extra, bare = [], []
    for _ in range(LAUNCH_ROUNDS):
        loop = process.check([bench.binary, "--spawn-loop", str(LAUNCHES), bench.spin])
        bare.append(stats.median([int(line) for line in loop.split()]) / 1000)
        mine = [bench.wall_ns(0) for _ in range(LAUNCHES)]
        extra.append(stats.median(mine) / 1000 - bare[-1])
    found = stats.quartiles(extra)
    detail = f"quartiles {found.low:.0f} to {found.high:.0f} us; the loop itself {stats.median(bare):.0f} us"
    yield Finding("launch overhead, us", found.median, LAUNCH_BUDGET_US, at_least=False, detail=detail)


def on_this_machine(zig: Path) -> Iterator[Finding]:
    """The real findings."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, spin = folder / "spin.c", folder / "spin"
        source.write_text(SPIN_SOURCE)
        process.check([zig, "cc", "-target", "x86_64-linux-musl", "-O2", "-static", "-s", source, "-o", spin])
        binary = build_launcher(zig, folder)
        with local_launcher(binary) as launcher:
            bench = Bench(launcher, binary, str(spin))
            yield from real_verdicts(bench)
            yield from launch_overhead(bench)


# --- printing


def table(findings: Sequence[Finding]) -> str:
    """Findings in columns."""
    width = max(len(finding.name) for finding in findings)
    lines = [f"{'finding':{width}}  {'value':>8}  {'limit':>10}  ok   detail"]
    for finding in findings:
        limit = f"{'>=' if finding.at_least else '<='} {finding.limit:.3f}"
        mark = "yes" if finding.ok else "NO "
        lines.append(f"{finding.name:{width}}  {finding.value:8.3f}  {limit:>10}  {mark}  {finding.detail}".rstrip())
    return "\n".join(lines) + "\n"


def findings_of(trials: int, seed: int, zig: Path | None) -> list[Finding]:
    """All findings, in the order of the manual."""
    rng = random.Random(seed)  # noqa: S311 - reproducible on purpose
    found = [*coverage(trials, rng), *error_rates(trials, rng)]
    return found + list(on_this_machine(zig)) if zig else found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and say by the exit code whether all limits hold."""
    parser = argparse.ArgumentParser(prog="python -m tools.selftest", description="The method measured by itself.")
    parser.add_argument("--trials", type=int, default=1000, help="simulated benchmarks a case (default 1000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulation (default 1)")
    parser.add_argument("--zig", type=Path, default=None, help="compiler (default: the one on PATH, if any)")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = parser.parse_args(arguments)
    zig = options.zig or (Path(found) if (found := shutil.which("zig")) else None)
    found_all = findings_of(options.trials, options.seed, zig)
    rows = [asdict(finding) | {"ok": finding.ok} for finding in found_all]
    sys.stdout.write(json.dumps(rows, indent=1) + "\n" if options.json else table(found_all))
    return 0 if all(finding.ok for finding in found_all) else 1


if __name__ == "__main__":
    sys.exit(main())
