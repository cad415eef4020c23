"""What the samples say: paired ratios with exact intervals, verdicts and ranks (MEASURING.md, rules 7, 8 and 10).

Pure Python and pure functions of numbers: the same result file always gives the same words.
"""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TIE_BAND = 1.10
"""Two lanes tie when the whole interval of their ratio lies within [1 / TIE_BAND, TIE_BAND]."""
STRUCTURAL_BAND = 2.0
"""Beyond this the difference is not a matter of the machine: changing the runner alone can produce up to 2x."""
QUIET_NULL = 1.02
USABLE_NULL = 1.05
"""How far the null arm may stand from 1."""
STEAL_LIMIT = 0.05
"""Share of CPU time taken by the hypervisor above which nothing is said."""
HALF_WIDTH_LIMIT = math.log(1.05)
"""The precision, in ln, at which measuring stops."""
FLAG_FACTOR = 1.2
"""A run whose wall / CPU time is this much above its arm's smallest was disturbed."""
MEDIANS_DISAGREE = math.log(1.02)
SPREAD_LIMIT = 1.3
"""Ratio of medians against paired ratio, and p90 / p10 of the rounds' ratios: beyond these, "two regimes"."""
RESAMPLES = 10_000


class Verdict(StrEnum):
    """What may be said of two arms."""

    TIE = "tie"
    DIFFERENT = "different"
    STRUCTURAL = "structural"
    UNRESOLVED = "unresolved"
    WITHHELD = "withheld"


class Noise(StrEnum):
    """What the null arm says of a run."""

    QUIET = "quiet"
    USABLE = "usable"
    NOISY = "noisy"


@dataclass(frozen=True)
class Interval:
    """A confidence interval; infinite where the data cannot give one."""

    low: float
    high: float


@dataclass(frozen=True)
class Quartiles:
    """A median with its quartiles."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Ratio:
    """How many times as long A takes as B, by rounds; above 1, A is the slower."""

    ratio: float
    low: float
    high: float
    rounds: int
    two_regimes: bool
    ratio_of_medians: float

    def slower_over_faster(self) -> Ratio:
        """The same with the slower arm on top."""
        if self.ratio >= 1:
            return self
        low, high = _inverse(self.high), _inverse(self.low)
        return Ratio(1 / self.ratio, low, high, self.rounds, self.two_regimes, 1 / self.ratio_of_medians)

    @property
    def half_width(self) -> float:
        """Half the width of the interval in ln; infinite when there are too few rounds."""
        return (math.log(self.high) - math.log(self.low)) / 2 if self.low > 0 else math.inf


@dataclass(frozen=True)
class NullArm:
    """The reference lane against itself: the noise of this run."""

    ratio: float
    low: float
    high: float

    @property
    def noise(self) -> Noise:
        """How far the estimate stands from 1, either way."""
        distance = max(self.ratio, _inverse(self.ratio))
        if distance <= QUIET_NULL:
            return Noise.QUIET
        return Noise.USABLE if distance <= USABLE_NULL else Noise.NOISY

    @property
    def upper(self) -> float:
        """The largest distance from 1, as a factor, that this run's noise may have."""
        return max(self.high, _inverse(self.low))


@dataclass(frozen=True)
class Place:
    """A shared or single place. `settled` is false when a lane is in it only because nothing else could be shown."""

    rank: int
    lanes: tuple[str, ...]
    settled: bool


@dataclass(frozen=True)
class Slope:
    """A trend with its interval."""

    slope: float
    low: float
    high: float


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the middle two."""
    return statistics.median(values)


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile by linear interpolation between order statistics (what NumPy and R do unasked)."""
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def quartiles(values: Sequence[float]) -> Quartiles:
    """Median and quartiles, as the tables show them."""
    return Quartiles(quantile(values, 0.25), quantile(values, 0.5), quantile(values, 0.75))


@lru_cache(maxsize=1024)
def sign_rank(count: int, alpha: float) -> int:
    """The largest k with P(Bin(count, 1/2) < k) <= alpha / 2, in exact integers; 0 when even k = 1 is too much."""
    allowed = math.floor(Fraction(alpha) / 2 * 2**count)
    total, k, ways = 0, 0, 1
    while k < count and total + ways <= allowed:
        total += ways
        ways = ways * (count - k) // (k + 1)
        k += 1
    return k


def least_rounds(alpha: float) -> int:
    """The number of rounds below which no interval of the sign test is finite: 2^-n <= alpha / 2."""
    return math.ceil(math.log2(2 / alpha))


def sign_interval(values: Sequence[float], alpha: float) -> Interval:
    """The sign test's interval for the median: exact, whatever the distribution; infinite with too few values."""
    k = sign_rank(len(values), alpha)
    if k == 0:
        return Interval(-math.inf, math.inf)
    ordered = sorted(values)
    return Interval(ordered[k - 1], ordered[-k])


def log_ratios(a_ns: Sequence[float], b_ns: Sequence[float]) -> list[float]:
    """Ln of A over B, round by round.

    Raises:
        ValueError: the arms have no or unequal rounds, or a time that is not positive.
    """
    if len(a_ns) != len(b_ns) or not a_ns:
        raise ValueError(f"{len(a_ns)} and {len(b_ns)} rounds cannot be paired")
    if min(*a_ns, *b_ns) <= 0:
        raise ValueError("a time that is not positive")
    return [math.log(a / b) for a, b in zip(a_ns, b_ns, strict=True)]


def paired_ratio(a_ns: Sequence[float], b_ns: Sequence[float], alpha: float) -> Ratio:
    """A over B from rounds paired by index; alpha is what this one claim may err (0.05 / number of claims).

    Raises:
        ValueError: as `log_ratios`.
    """
    logs = log_ratios(a_ns, b_ns)
    interval = sign_interval(logs, alpha)
    centre = median(logs)
    medians = median(a_ns) / median(b_ns)
    spread = quantile(logs, 0.9) - quantile(logs, 0.1)
    two_regimes = abs(math.log(medians) - centre) > MEDIANS_DISAGREE or spread > math.log(SPREAD_LIMIT)
    return Ratio(math.exp(centre), math.exp(interval.low), math.exp(interval.high), len(logs), two_regimes, medians)


def half_width_ok(ratio: Ratio) -> bool:
    """Whether the interval is narrow enough to stop measuring; never looks at the verdict."""
    return ratio.half_width <= HALF_WIDTH_LIMIT


def band(ratio: Ratio) -> Verdict:
    """The verdict of rule 8, from the interval alone."""
    oriented = ratio.slower_over_faster()
    if oriented.low > STRUCTURAL_BAND:
        return Verdict.STRUCTURAL
    if oriented.low > TIE_BAND:
        return Verdict.DIFFERENT
    if oriented.low >= 1 / TIE_BAND and oriented.high <= TIE_BAND:
        return Verdict.TIE
    return Verdict.UNRESOLVED


def decide(ratio: Ratio, null: NullArm | None, steal_share: float | None) -> Verdict:
    """Rule 8 behind the noise gate of rule 10.

    Without a null arm nobody knows the noise of the run, so everything but "unresolved" is withheld. An unknown
    steal share (None: bare metal, or a kernel that does not say) withholds nothing.
    """
    verdict = band(ratio)
    if verdict is Verdict.UNRESOLVED:
        return verdict
    if null is None or (steal_share is not None and steal_share > STEAL_LIMIT):
        return Verdict.WITHHELD
    if null.noise is not Noise.NOISY:
        return verdict
    if verdict is Verdict.STRUCTURAL and ratio.slower_over_faster().low > STRUCTURAL_BAND * null.upper:
        return verdict
    return Verdict.WITHHELD


def null_arm(reference_ns: Sequence[float], null_ns: Sequence[float], alpha: float) -> NullArm:
    """The null arm's distance from the reference lane.

    Raises:
        ValueError: as `log_ratios`.
    """
    ratio = paired_ratio(null_ns, reference_ns, alpha)
    return NullArm(ratio.ratio, ratio.low, ratio.high)


def flagged(wall_ns: Sequence[float], cpu_ns: Sequence[float]) -> list[bool]:
    """Which runs of one single-threaded arm waited much longer than its best run did: they were disturbed."""
    waits = [wall / cpu if cpu > 0 else math.inf for wall, cpu in zip(wall_ns, cpu_ns, strict=True)]
    limit = FLAG_FACTOR * min(waits, default=math.inf)
    return [wait > limit for wait in waits]


def ranks(costs: Mapping[str, float], verdict: Callable[[str, str], Verdict]) -> list[Place]:
    """Group lanes into places; a lower cost (a time, a ratio to the reference) is better.

    Ties are not transitive: A may tie with B and B with C while A and C differ. So one rule decides: the best lane not
    yet placed leads a place, and every lane that ties *with this leader* shares it; who only ties with a sharer does
    not. A lane that is neither shown to tie nor to be slower shares the place too, which is then not settled: it wins
    nothing, and nobody wins over it. Places are counted as in sport: 1, 1, 3.
    """
    waiting = sorted(costs, key=lambda lane: (costs[lane], lane))
    places: list[Place] = []
    while waiting:
        leader, *others = waiting
        found = {lane: verdict(leader, lane) for lane in others}
        beside = [lane for lane in others if found[lane] not in {Verdict.DIFFERENT, Verdict.STRUCTURAL}]
        settled = all(found[lane] is Verdict.TIE for lane in beside)
        places.append(Place(1 + len(costs) - len(waiting), (leader, *beside), settled))
        waiting = [lane for lane in others if lane not in beside]
    return places


def winner(places: Sequence[Place]) -> str | None:
    """The lane that stands alone in the first place, if any: a shared first place is a tie."""
    return places[0].lanes[0] if places and len(places[0].lanes) == 1 else None


def bootstrap_geomean(
    projects: Sequence[Sequence[float]], alpha: float, *, seed: int, resamples: int = RESAMPLES
) -> tuple[float, Interval]:
    """Geometric mean over projects of the paired ratio, with its interval.

    Each project is given by the ln ratios of its rounds (`log_ratios`). A resample draws whole rounds, so the pairing
    inside a round survives. Only for compound figures: one ratio has its exact interval.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible on purpose
    sums = [0.0] * resamples
    for logs in projects:
        for i, value in enumerate(_resampled_medians(logs, resamples, rng)):
            sums[i] += value
    centre = sum(median(logs) for logs in projects) / len(projects)
    low, high = (quantile(sums, q) / len(projects) for q in (alpha / 2, 1 - alpha / 2))
    return math.exp(centre), Interval(math.exp(low), math.exp(high))


def _resampled_medians(values: Sequence[float], resamples: int, rng: random.Random) -> list[float]:
    """Medians of resamples with replacement, drawn from their exact distribution: 20 times faster than resampling.

    The middle two of n draws from n ordered values stand at places (i, j) with a probability that has a closed form
    (`_middle_weights`), so one weighted draw gives what sorting a resample would.
    """
    ordered = sorted(values)
    pairs, cumulative = _middle_weights(len(ordered))
    middles = [(ordered[i] + ordered[j]) / 2 for i, j in pairs]
    return rng.choices(middles, cum_weights=cumulative, k=resamples)


@lru_cache(maxsize=64)
def _middle_weights(count: int) -> tuple[list[tuple[int, int]], list[float]]:
    """Places (i <= j) of the middle two of `count` draws from `count` ordered values, and cumulative chances.

    An odd count has one middle: i = j. For an even one and i < j, exactly half of the draws stand at or below i, the
    largest of them at i, and the smallest of the others at j.
    """
    low = (count + 1) // 2
    at_most = [_chance_of_at_least(low, count, (i + 1) / count) for i in range(count)]
    single = [at_most[0], *(after - before for before, after in pairwise(at_most))]
    chances: dict[tuple[int, int], float] = {(i, i): single[i] for i in range(count)}
    if count % 2 == 0:
        for i, j in combinations(range(count), 2):
            below = ((i + 1) / count) ** low - (i / count) ** low
            above = ((count - j) / count) ** low - ((count - j - 1) / count) ** low
            chances[i, j] = math.comb(count, low) * below * above
            chances[i, i] -= chances[i, j]
    totals, total = [], 0.0
    for chance in chances.values():
        total += max(chance, 0.0)
        totals.append(total)
    return list(chances), totals


def _chance_of_at_least(k: int, count: int, p: float) -> float:
    """P(Bin(count, p) >= k)."""
    return math.fsum(math.comb(count, i) * p**i * (1 - p) ** (count - i) for i in range(k, count + 1))


def theil_sen(times: Sequence[float], values: Sequence[float], alpha: float) -> Slope:
    """The median of all pairwise slopes, with Sen's interval (by Kendall's tau); for drift in a soak.

    The interval takes the points as independent. A series whose neighbours move together should be thinned first.

    Raises:
        ValueError: unequal lengths, or no two different times.
    """
    points = sorted(zip(times, values, strict=True))
    slopes = sorted((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1)
    if not slopes:
        raise ValueError("a trend needs two different times")
    reach = -statistics.NormalDist().inv_cdf(alpha / 2) * math.sqrt(_kendall_variance(times, values))
    low, high = round((len(slopes) - reach) / 2) - 1, round((len(slopes) + reach) / 2)
    return Slope(
        median(slopes),
        slopes[low] if low >= 0 else -math.inf,
        slopes[high] if high < len(slopes) else math.inf,
    )


def _kendall_variance(times: Sequence[float], values: Sequence[float]) -> float:
    """The variance of Kendall's score, less for equal times and values."""
    count = len(times)
    tied = sum(_tie_term(group) for series in (times, values) for group in _group_sizes(series))
    return (_tie_term(count) - tied) / 18


def _tie_term(count: int) -> int:
    """The share of a group of equals in Kendall's variance."""
    return count * (count - 1) * (2 * count + 5)


def _group_sizes(series: Sequence[float]) -> list[int]:
    """How often each value occurs."""
    counts: dict[float, int] = {}
    for value in series:
        counts[value] = counts.get(value, 0) + 1
    return list(counts.values())


def _inverse(value: float) -> float:
    """1 / value, with 0 and infinity as each other's inverse."""
    return math.inf if value == 0 else 1 / value
