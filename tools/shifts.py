"""What changed between runs: a ratio of two samples that share no round, and where a series changed its level.

Inside one run `tools.stats` pairs rounds, which is sharper. Two runs share no round, so what stands here compares two
independent samples (Hodges-Lehmann's estimate with the interval of the Mann-Whitney test, which needs no distribution)
and series of whole runs (Pettitt's test, by permutation). Pure functions of numbers.
"""

from __future__ import annotations

import math
import random
import statistics
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

from tools import stats
from tools.stats import Interval, Ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

EXACT_PAIRS = 10_000
"""Up to so many pairs of values the rank is exact; above, the normal approximation is good to a rank or two."""
LEAST_RESULTS = 8
"""With fewer results even a perfect step (four low, four high) has a chance of more than 5 % to be one by luck."""
CHANGE_ALPHA = 0.05
PERMUTATIONS = 4999


@lru_cache(maxsize=1024)
def rank_sum_rank(a: int, b: int, alpha: float) -> int:
    """The largest k with P(U < k) <= alpha / 2, for Mann-Whitney's U on a and b values; 0 if even 1 is too much."""
    if a * b > EXACT_PAIRS:
        spread = math.sqrt(a * b * (a + b + 1) / 12)
        return max(0, math.floor(a * b / 2 + 0.5 + statistics.NormalDist().inv_cdf(alpha / 2) * spread))
    allowed = math.floor(Fraction(alpha) / 2 * math.comb(a + b, a))
    k = total = 0
    for ways in _ways(max(a, b), min(a, b)):
        total += ways
        if total > allowed:
            break
        k += 1
    return k


def _ways(a: int, b: int) -> list[int]:
    """In how many orders of a and b values U is 0, 1, 2 ... up to its middle: Gaussian binomial coefficients."""
    last = a * b // 2
    ways = [1] + [0] * last
    for factor in range(1, b + 1):
        for u in range(last, a + factor - 1, -1):
            ways[u] -= ways[u - a - factor]
        for u in range(factor, last + 1):
            ways[u] += ways[u - factor]
    return ways


def shift_interval(a: Sequence[float], b: Sequence[float], alpha: float) -> tuple[float, Interval]:
    """By how much the values of A lie above those of B: the median of all differences, with its interval.

    The interval holds every shift that the Mann-Whitney test would not reject; infinite with too few values.

    Raises:
        ValueError: a sample is empty.
    """
    if not (a and b):
        raise ValueError(f"{len(a)} and {len(b)} values cannot be compared")
    differences = sorted(x - y for x in a for y in b)
    centre = stats.median(differences)
    k = rank_sum_rank(len(a), len(b), alpha)
    if k == 0:
        return centre, Interval(-math.inf, math.inf)
    return centre, Interval(differences[k - 1], differences[-k])


def shifted_ratio(a: Sequence[float], b: Sequence[float], alpha: float) -> Ratio:
    """How many times as large A is as B, of two independent samples of positive values.

    Raises:
        ValueError: a sample is empty, or a value is not positive.
    """
    if min([*a, *b], default=1) <= 0:
        raise ValueError("a value that is not positive")
    logs_a, logs_b = ([math.log(value) for value in values] for values in (a, b))
    centre, interval = shift_interval(logs_a, logs_b, alpha)
    medians = stats.median(a) / stats.median(b)
    spread = max(stats.quantile(logs, 0.9) - stats.quantile(logs, 0.1) for logs in (logs_a, logs_b))
    two_regimes = abs(math.log(medians) - centre) > stats.MEDIANS_DISAGREE or spread > math.log(stats.SPREAD_LIMIT)
    low, high = math.exp(interval.low), math.exp(interval.high)
    return Ratio(math.exp(centre), low, high, min(len(a), len(b)), two_regimes, medians)


def change_points(logs: Sequence[float]) -> list[int]:
    """Where a series of one value a run (a ln) changes its level: the index of the first run of each new level.

    Binary segmentation: the series is cut at Pettitt's place if the medians of the two parts differ by more than the
    band in which two lanes tie, and if a shuffled series is so one-sided in at most 5 % of all cases; then each part
    is looked at in the same way. The unit is the run, so rounds of one run cannot feign certainty.
    """
    return _changes(list(logs), 0)


def _changes(logs: list[float], start: int) -> list[int]:
    """Cut one part of a series that begins at `start`."""
    if len(logs) < LEAST_RESULTS:
        return []
    ranks = _doubled_ranks(logs)
    at, strength = _pettitt(ranks)
    before, after = logs[:at], logs[at:]
    if abs(stats.median(after) - stats.median(before)) <= math.log(stats.TIE_BAND):
        return []
    if _chance(ranks, strength) > CHANGE_ALPHA:
        return []
    return [*_changes(before, start), start + at, *_changes(after, start + at)]


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Twice the rank of each value, so that shared ranks are whole numbers."""
    return [sum((other < value) + (other <= value) for other in values) + 1 for value in values]


def _pettitt(ranks: Sequence[int]) -> tuple[int, int]:
    """The length of the first part, and how one-sided the two parts are."""
    mean = len(ranks) + 1
    sums = [abs(total - count * mean) for count, total in enumerate(accumulate(ranks[:-1]), start=1)]
    strength = max(sums)
    return sums.index(strength) + 1, strength


def _chance(ranks: Sequence[int], strength: int) -> float:
    """How often a shuffled series is at least so one-sided; the same series always gives the same answer."""
    rng = random.Random(len(ranks))  # noqa: S311 - reproducible on purpose
    shuffled = list(ranks)
    found = 1
    for _ in range(PERMUTATIONS):
        rng.shuffle(shuffled)
        found += _pettitt(shuffled)[1] >= strength
    return found / (PERMUTATIONS + 1)
