"""The rules on made-up run times: coverage of the interval, and how often the whole rule set errs under known noise."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tools import schedule, stats
from tools.selftest_record import ALPHA, POWER, Finding, at_most
from tools.stats import Verdict

REFERENCE, NULL, CANDIDATE = range(3)


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


def findings(trials: int, seed: int) -> list[Finding]:
    """All of them; the same seed gives the same."""
    rng = random.Random(seed)  # noqa: S311 - reproducible on purpose
    return [*coverage(trials, rng), *error_rates(trials, rng)]
