"""Two runs without common rounds: the interval is the Mann-Whitney test's; a change of level is shown, not guessed."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tools import shifts
from tools.stats import Interval

ALPHAS = st.sampled_from([0.2, 0.1, 0.05, 0.05 / 3, 0.01, 0.05 / 93, 0.001])


# --- the interval of two samples


def samples_with(u: int, a: int, b: int) -> tuple[list[float], list[float]]:
    """Two samples for which U, the number of pairs with the first value above the second, is u."""
    whole, rest = divmod(u, b) if b else (0, 0)
    below = [b] * whole + [rest] * (whole < a) + [0] * (a - whole - 1)
    return [count - 0.5 + index / (10 * a) for index, count in enumerate(below)], [float(index) for index in range(b)]


@given(st.integers(1, 25), st.integers(1, 25), ALPHAS)
def test_the_rank_is_the_largest_that_keeps_alpha(a: int, b: int, alpha: float) -> None:
    """By SciPy's exact distribution, P(U < k) <= alpha / 2 holds for k and not for k + 1."""
    k = shifts.rank_sum_rank(a, b, alpha)
    chances = [
        scipy.stats.mannwhitneyu(*samples_with(u, a, b), alternative="less", method="exact").pvalue
        for u in (k - 1, k)
        if u >= 0
    ]
    assert chances[-1] > alpha / 2 * (1 - 1e-9)
    if k:
        assert chances[0] <= alpha / 2 * (1 + 1e-9)


@pytest.mark.parametrize(("a", "b"), [(1, 1), (2, 3), (4, 4), (5, 3), (6, 2)])
def test_the_ways_are_counted_right(a: int, b: int) -> None:
    """Up to the middle, as many orders have each U as an enumeration finds."""
    found = [0] * (a * b + 1)
    for places in itertools.combinations(range(a + b), a):
        found[sum(place - index for index, place in enumerate(places))] += 1
    assert shifts._ways(a, b) == found[: a * b // 2 + 1]


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.01, 0.001])
def test_many_values_are_approximated_well(alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the exact rank is too much work, the normal approximation differs by less than a hundredth."""
    exact = shifts.rank_sum_rank(60, 70, alpha)
    monkeypatch.setattr(shifts, "EXACT_PAIRS", 0)
    shifts.rank_sum_rank.cache_clear()
    near = shifts.rank_sum_rank(60, 70, alpha)
    shifts.rank_sum_rank.cache_clear()
    assert near == pytest.approx(exact, rel=0.01, abs=3)


@settings(max_examples=50)
@given(
    st.lists(st.integers(-50, 50), min_size=5, max_size=20),
    st.lists(st.integers(-50, 50), min_size=5, max_size=20),
    st.sampled_from([0.1, 0.05]),
)
def test_the_interval_holds_what_the_test_does_not_reject(a: list[int], b: list[int], alpha: float) -> None:
    """Shifts outside are rejected by SciPy's Mann-Whitney test, shifts inside are not."""
    first, second = ([x + index * 1e-4 for index, x in enumerate(values)] for values in (a, b))
    second = [x + 3e-5 for x in second]
    centre, found = shifts.shift_interval(first, second, alpha)
    assert found.low <= centre <= found.high

    def chance(shift: float) -> float:
        moved = [x - shift for x in first]
        return float(scipy.stats.mannwhitneyu(moved, second, alternative="two-sided", method="exact").pvalue)

    if math.isfinite(found.low):
        assert chance(found.low - 1e-6) <= alpha * (1 + 1e-9)
        assert chance(found.high + 1e-6) <= alpha * (1 + 1e-9)
        assert chance(found.low + 1e-6) > alpha
        assert chance(found.high - 1e-6) > alpha


def test_too_few_values_give_an_infinite_interval() -> None:
    """Three against three cannot support a claim at 5 %, four against four can."""
    assert shifts.shift_interval([1, 2, 3], [4, 5, 6], 0.05)[1] == Interval(-math.inf, math.inf)
    assert shifts.shift_interval([1, 2, 3, 4], [11, 12, 13, 14], 0.05) == (-10, Interval(-13, -7))


def test_the_interval_covers_as_often_as_promised() -> None:
    """Samples of 12 and 20 with unequal tails and a true ratio of 1.2: 95 % of the intervals hold it."""
    rng = random.Random(1)
    held = 0
    for _ in range(400):
        a = [1.2 * math.exp(rng.gauss(0, 0.05) + (rng.random() < 0.1) * 0.3) for _ in range(12)]
        b = [math.exp(rng.gauss(0, 0.05) + (rng.random() < 0.1) * 0.3) for _ in range(20)]
        ratio = shifts.shifted_ratio(a, b, 0.05)
        held += ratio.low <= 1.2 <= ratio.high
    assert held / 400 >= 0.93


def test_a_ratio_is_what_it_says() -> None:
    """Twice as large is 2, with as many rounds as the smaller sample has."""
    a, b = [200.0 + step for step in range(10)], [100.0 + step / 2 for step in range(12)]
    ratio = shifts.shifted_ratio(a, b, 0.05)
    assert ratio.ratio == pytest.approx(2, rel=0.02)
    assert ratio.low < 2 < ratio.high
    assert (ratio.rounds, ratio.two_regimes) == (10, False)


@pytest.mark.parametrize(("a", "b"), [([], [1.0]), ([1.0], []), ([], []), ([0.0], [1.0]), ([1.0], [-1.0])])
def test_what_is_no_sample_is_refused(a: list[float], b: list[float]) -> None:
    """A sample has values, and they are positive."""
    with pytest.raises(ValueError, match=r"compared|positive"):
        shifts.shifted_ratio(a, b, 0.05)


# --- changes of level


def level(count: int, value: float, rng: random.Random, noise: float = 0.02) -> list[float]:
    """Runs at one level, as ln."""
    return [math.log(value) + rng.gauss(0, noise) for _ in range(count)]


def test_a_step_is_found_where_it_is() -> None:
    """Ten runs at one level and ten at another, 30 % apart."""
    rng = random.Random(2)
    assert shifts.change_points(level(10, 1.0, rng) + level(10, 1.3, rng)) == [10]


def test_two_steps_are_found() -> None:
    """There and back again: both places are named."""
    rng = random.Random(3)
    assert shifts.change_points(level(10, 1.0, rng) + level(12, 1.5, rng) + level(10, 1.0, rng)) == [10, 22]


@pytest.mark.parametrize(
    ("name", "logs"),
    [
        ("nothing", []),
        ("one run", [0.0]),
        ("always the same", [0.5] * 30),
        ("one outlier", [0.0] * 10 + [2.0] + [0.0] * 10),
        ("inside the band", level(15, 1.0, random.Random(4)) + level(15, 1.08, random.Random(5))),
        ("too few to tell from chance", [0.0, 0.01, 0.02, 0.9, 0.91, 0.92, 0.93]),
        ("up and down in turn", [0.0, 0.4] * 12),
    ],
)
def test_what_is_no_change(name: str, logs: list[float]) -> None:
    """Single runs, small steps and short series are never flagged."""
    assert shifts.change_points(logs) == [], name


def test_eight_runs_are_the_fewest() -> None:
    """Four low and four high are just enough."""
    logs = [0.0, 0.01, 0.02, 0.03, 0.9, 0.91, 0.92, 0.93]
    assert len(logs) == shifts.LEAST_RESULTS
    assert shifts.change_points(logs) == [4]


def test_noise_alone_is_seldom_called_a_change() -> None:
    """At 15 % from run to run about one series in twenty is flagged; at 5 % the band of 10 % holds back all of them."""
    rng = random.Random(6)
    assert sum(bool(shifts.change_points(level(16, 1.0, rng, 0.15))) for _ in range(200)) <= 16
    assert not any(shifts.change_points(level(16, 1.0, rng, 0.05)) for _ in range(200))


def test_the_same_series_always_gives_the_same_answer() -> None:
    """The permutations are seeded."""
    rng = random.Random(7)
    logs = level(9, 1.0, rng, 0.1) + level(9, 1.15, rng, 0.1)
    assert len({tuple(shifts.change_points(logs)) for _ in range(5)}) == 1
