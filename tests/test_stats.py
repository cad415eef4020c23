"""The statistics are those of MEASURING.md, agree with SciPy, and say no more than the data does."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from tools import stats
from tools.stats import Interval, Noise, NullArm, Ratio, Verdict

FLOATS = st.floats(-1e6, 1e6)
TIMES = st.floats(1e3, 1e12)
ALPHAS = st.sampled_from([0.2, 0.1, 0.05, 0.05 / 3, 0.01, 0.05 / 93, 0.001])
QUIET = NullArm(1.004, 0.99, 1.01)


def a_ratio(low: float, high: float, centre: float | None = None) -> Ratio:
    """Make a ratio with this interval."""
    middle = math.sqrt(low * high) if centre is None else centre
    return Ratio(middle, low, high, 20, two_regimes=False, ratio_of_medians=middle)


# --- the sign interval


@given(st.lists(FLOATS, min_size=1, max_size=60), ALPHAS)
def test_sign_interval_equals_scipy(values: list[float], alpha: float) -> None:
    """The interval is SciPy's quantile_test interval; where SciPy has none (nan), ours is infinite."""
    ours = stats.sign_interval(values, alpha)
    theirs = scipy.stats.quantile_test(values, q=0, p=0.5).confidence_interval(1 - alpha)
    assert ours.low == (-math.inf if math.isnan(theirs.low) else theirs.low)
    assert ours.high == (math.inf if math.isnan(theirs.high) else theirs.high)


@given(st.integers(1, 400), ALPHAS)
def test_sign_rank_is_the_largest_that_keeps_alpha(count: int, alpha: float) -> None:
    """P(Bin < k) <= alpha / 2 holds for k and not for k + 1."""
    k = stats.sign_rank(count, alpha)
    assert scipy.stats.binom.cdf(k - 1, count, 0.5) <= alpha / 2
    assert scipy.stats.binom.cdf(k, count, 0.5) > alpha / 2


def test_a_probability_of_exactly_alpha_is_allowed() -> None:
    """Exact integers: with n = 5 the extremes cover with 1 - 2/32, so alpha = 1/16 is just enough."""
    assert stats.sign_interval([1, 2, 3, 4, 5], 1 / 16) == Interval(1, 5)
    assert stats.sign_interval([1, 2, 3, 4, 5], 1 / 16 - 1e-9) == Interval(-math.inf, math.inf)


def test_too_few_values_give_an_infinite_interval() -> None:
    """Five rounds cannot support a claim at 5 %, six can."""
    assert stats.sign_interval([1.0] * 5, 0.05) == Interval(-math.inf, math.inf)
    assert stats.sign_interval([1.0] * 6, 0.05) == Interval(1.0, 1.0)
    assert stats.sign_interval([], 0.05) == Interval(-math.inf, math.inf)


# --- the paired ratio


@given(st.lists(st.tuples(TIMES, TIMES), min_size=6, max_size=40), ALPHAS)
def test_swapping_the_arms_inverts_the_ratio(pairs: list[tuple[float, float]], alpha: float) -> None:
    """A over B and B over A are one statement."""
    a, b = [list(side) for side in zip(*pairs, strict=True)]
    ratio, swapped = stats.paired_ratio(a, b, alpha), stats.paired_ratio(b, a, alpha)
    assert ratio.ratio * swapped.ratio == pytest.approx(1)
    assert ratio.low == pytest.approx(stats._inverse(swapped.high))
    assert ratio.high == pytest.approx(stats._inverse(swapped.low))
    assert stats.band(ratio) is stats.band(swapped)


@given(st.lists(st.tuples(TIMES, st.floats(0.5, 2)), min_size=6, max_size=40))
def test_what_a_round_shares_cancels(rounds: list[tuple[float, float]]) -> None:
    """A disturbance that hits both arms of a round alike leaves the ratio alone."""
    base = [1e9] * len(rounds)
    factor = [factor for _, factor in rounds]
    disturbed = [time for time, _ in rounds]
    quiet = stats.paired_ratio([b * f for b, f in zip(base, factor, strict=True)], base, 0.05)
    noisy = stats.paired_ratio([d * f for d, f in zip(disturbed, factor, strict=True)], disturbed, 0.05)
    assert noisy.ratio == pytest.approx(quiet.ratio)
    assert noisy.low == pytest.approx(quiet.low)


@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=40), ALPHAS)
def test_the_ratio_lies_in_its_interval(pairs: list[tuple[float, float]], alpha: float) -> None:
    """Low <= ratio <= high, always."""
    a, b = [list(side) for side in zip(*pairs, strict=True)]
    ratio = stats.paired_ratio(a, b, alpha)
    assert ratio.low <= ratio.ratio * (1 + 1e-12)
    assert ratio.ratio <= ratio.high * (1 + 1e-12)
    assert ratio.rounds == len(pairs)


@pytest.mark.parametrize(("a", "b"), [([], []), ([1], [1, 2]), ([1, 0], [1, 1]), ([1, -5], [1, 1])])
def test_rounds_that_cannot_be_paired_are_refused(a: list[float], b: list[float]) -> None:
    """A missing round or an impossible time is never computed over."""
    with pytest.raises(ValueError, match=r"paired|positive"):
        stats.paired_ratio(a, b, 0.05)


def test_two_regimes_are_noticed() -> None:
    """A program that is slow in some rounds and fast in others is not described by one number."""
    steady = [100.0 + i % 3 for i in range(20)]
    switching = [100.0 if i % 2 else 150.0 for i in range(20)]
    assert not stats.paired_ratio(steady, steady, 0.05).two_regimes
    assert stats.paired_ratio(switching, steady, 0.05).two_regimes


def test_disagreeing_medians_are_two_regimes() -> None:
    """A ratio of medians that is more than 2 % off the paired ratio tells the same, without any spread."""
    a = [100.0] * 5 + [105.0] * 6
    b = [100.0] * 6 + [105.0] * 5
    ratio = stats.paired_ratio(a, b, 0.05)
    assert (ratio.ratio, ratio.ratio_of_medians) == (1.0, 1.05)
    assert ratio.two_regimes


def test_half_width() -> None:
    """Precision is measured in ln, and an infinite interval is never precise."""
    assert stats.half_width_ok(a_ratio(1 / 1.049, 1.049))
    assert not stats.half_width_ok(a_ratio(1 / 1.051, 1.051))
    assert not stats.half_width_ok(stats.paired_ratio([1.0] * 3, [1.0] * 3, 0.05))


def test_coverage_of_a_skewed_distribution() -> None:
    """With unequal heavy tails the interval still covers the true median at least as often as it says."""
    rng = random.Random(20)
    hits = 0
    for _ in range(2000):
        logs = [rng.expovariate(1) ** 3 for _ in range(20)]
        interval = stats.sign_interval(logs, 0.05)
        hits += interval.low <= math.log(2) ** 3 <= interval.high
    assert hits / 2000 >= 0.945


# --- the verdict


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.95, 1.05, Verdict.TIE),
        (1 / 1.10, 1.10, Verdict.TIE),
        (1.02, 1.09, Verdict.TIE),
        (1.05, 1.11, Verdict.UNRESOLVED),
        (1.10, 1.30, Verdict.UNRESOLVED),
        (1.11, 1.30, Verdict.DIFFERENT),
        (0.60, 0.80, Verdict.DIFFERENT),
        (1.90, 2.50, Verdict.DIFFERENT),
        (2.01, 2.50, Verdict.STRUCTURAL),
        (0.30, 0.40, Verdict.STRUCTURAL),
        (0.0, math.inf, Verdict.UNRESOLVED),
        (0.0, 1.05, Verdict.UNRESOLVED),
    ],
)
def test_bands(low: float, high: float, expected: Verdict) -> None:
    """The verdict follows from the whole interval, in either direction."""
    centre = 1.0 if low == 0 else None
    assert stats.decide(a_ratio(low, high, centre), QUIET, 0.0) is expected


@pytest.mark.parametrize(
    ("null", "steal", "expected"),
    [
        (QUIET, None, [Verdict.TIE, Verdict.DIFFERENT, Verdict.STRUCTURAL]),
        (NullArm(1.04, 1.01, 1.06), 0.05, [Verdict.TIE, Verdict.DIFFERENT, Verdict.STRUCTURAL]),
        (NullArm(1 / 1.06, 0.90, 0.99), 0.0, [Verdict.WITHHELD, Verdict.WITHHELD, Verdict.STRUCTURAL]),
        (NullArm(1.06, 1.01, 1.6), 0.0, [Verdict.WITHHELD, Verdict.WITHHELD, Verdict.WITHHELD]),
        (NullArm(1.06, 0.0, math.inf), 0.0, [Verdict.WITHHELD, Verdict.WITHHELD, Verdict.WITHHELD]),
        (None, 0.0, [Verdict.WITHHELD, Verdict.WITHHELD, Verdict.WITHHELD]),
        (QUIET, 0.051, [Verdict.WITHHELD, Verdict.WITHHELD, Verdict.WITHHELD]),
    ],
)
def test_noise_gate(null: NullArm | None, steal: float | None, expected: list[Verdict]) -> None:
    """A noisy null arm withholds all but a large structural difference; steal, or no null arm, withholds all."""
    cases = [a_ratio(0.98, 1.03), a_ratio(1.3, 1.4), a_ratio(3.0, 3.2)]
    assert [stats.decide(case, null, steal) for case in cases] == expected
    assert stats.decide(a_ratio(1.05, 1.3), null, steal) is Verdict.UNRESOLVED


def test_noise_levels() -> None:
    """Within 2 % is quiet, within 5 % usable, in both directions."""
    levels = {1.02: Noise.QUIET, 1 / 1.02: Noise.QUIET, 1.03: Noise.USABLE, 1 / 1.051: Noise.NOISY, 1.051: Noise.NOISY}
    assert {ratio: NullArm(ratio, 0.9, 1.1).noise for ratio in levels} == levels


def test_null_arm_from_samples() -> None:
    """The null arm is a paired ratio like any other."""
    null = stats.null_arm([100.0] * 12, [101.0] * 12, 0.05)
    assert null.ratio == pytest.approx(1.01)
    assert null.upper == pytest.approx(1.01)


def test_flagged_runs() -> None:
    """A run that waited 1.2 times as much as the arm's best is flagged; a run without CPU time too."""
    assert stats.flagged([100, 100, 130, 100], [100, 99, 100, 0]) == [False, False, True, True]
    assert stats.flagged([], []) == []


# --- ranks


def by_factor(costs: dict[str, float]) -> list[stats.Place]:
    """Rank lanes whose verdicts follow from the ratio of their costs."""

    def verdict(faster: str, slower: str) -> Verdict:
        factor = costs[slower] / costs[faster]
        return Verdict.TIE if factor <= 1.10 else Verdict.DIFFERENT

    return stats.ranks(costs, verdict)


def test_a_single_leader_wins() -> None:
    """A lane that differs from all others has the first place for itself."""
    places = by_factor({"zig": 1.0, "go": 1.5, "rust": 1.2})
    assert [place.lanes for place in places] == [("zig",), ("rust",), ("go",)]
    assert [place.rank for place in places] == [1, 2, 3]
    assert stats.winner(places) == "zig"


def test_a_shared_first_place_is_a_tie() -> None:
    """Who ties with the leader shares its place, the next place counts on, and nobody wins."""
    places = by_factor({"zig": 1.0, "rust": 1.05, "go": 1.5})
    assert [(place.rank, place.lanes) for place in places] == [(1, ("zig", "rust")), (3, ("go",))]
    assert stats.winner(places) is None


def test_ties_that_are_not_transitive() -> None:
    """The place is shared with those who tie with its leader, not with who ties with a sharer."""
    places = by_factor({"a": 1.0, "b": 1.09, "c": 1.18, "d": 1.27})
    assert [place.lanes for place in places] == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize("doubt", [Verdict.UNRESOLVED, Verdict.WITHHELD])
def test_an_unresolved_rival_unsettles_the_place(doubt: Verdict) -> None:
    """A leader that is not shown to be faster does not win."""
    places = stats.ranks({"a": 1.0, "b": 1.2}, lambda *_: doubt)
    assert places == [stats.Place(1, ("a", "b"), settled=False)]
    assert stats.winner(places) is None


@given(st.dictionaries(st.text("abcdef", min_size=1), st.floats(1, 10), max_size=8))
def test_every_lane_has_one_place(costs: dict[str, float]) -> None:
    """Ranking loses nobody and names nobody twice; ranks grow."""
    places = by_factor(costs)
    assert sorted(lane for place in places for lane in place.lanes) == sorted(costs)
    assert all(before.rank + len(before.lanes) == after.rank for before, after in pairwise(places))


def test_nobody_wins_an_empty_race() -> None:
    """No lane, no winner."""
    assert stats.winner(stats.ranks({}, lambda *_: Verdict.TIE)) is None


# --- quantiles, bootstrap, trend


@given(st.lists(FLOATS, min_size=1, max_size=50), st.floats(0, 1))
def test_quantile_equals_numpy(values: list[float], q: float) -> None:
    """Linear interpolation, as everybody's default."""
    expected = float(scipy.stats.mstats.mquantiles(values, [q], alphap=1, betap=1)[0])
    assert stats.quantile(values, q) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_quartiles() -> None:
    """Median with its quartiles."""
    assert stats.quartiles([4, 1, 3, 2, 5]) == stats.Quartiles(2, 3, 4)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 12, 13])
def test_medians_are_drawn_from_the_bootstrap_distribution(count: int) -> None:
    """The closed form gives the distribution that resampling gives."""
    rng = random.Random(count)
    values = [rng.random() for _ in range(count)]
    drawn = stats._resampled_medians(values, 20_000, rng)
    resampled = [stats.median(rng.choices(values, k=count)) for _ in range(20_000)]
    assert set(drawn) <= {(x + y) / 2 for x in values for y in values}
    for limit in (stats.quantile(resampled, q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)):
        shares = [sum(x <= limit for x in sample) / 20_000 for sample in (drawn, resampled)]
        assert shares[0] == pytest.approx(shares[1], abs=0.02)


def test_bootstrap_geomean_is_seeded_and_covers() -> None:
    """The same seed gives the same interval, and it holds the true mean in about 95 of 100 trials."""
    rng = random.Random(5)
    hits = 0
    for trial in range(200):
        projects = [[rng.gauss(0.1 * p, 0.05) for _ in range(20)] for p in range(10)]
        mean, interval = stats.bootstrap_geomean(projects, 0.05, seed=trial, resamples=1000)
        assert interval.low <= mean <= interval.high
        hits += interval.low <= math.exp(0.45) <= interval.high
    assert hits >= 180
    assert stats.bootstrap_geomean(projects, 0.05, seed=1) == stats.bootstrap_geomean(projects, 0.05, seed=1)


SERIES = st.lists(st.tuples(st.integers(0, 1000), st.integers(-1000, 1000)), min_size=8, max_size=40)


@given(SERIES)
def test_theil_sen_equals_scipy(points: list[tuple[int, int]]) -> None:
    """Slope and interval are SciPy's."""
    times, values = [list(side) for side in zip(*points, strict=True)]
    assume(len(set(times)) > 4)
    ours = stats.theil_sen(times, values, 0.05)
    theirs = scipy.stats.theilslopes(values, times, 0.95)
    assert ours.slope == pytest.approx(theirs.slope)
    if math.isfinite(ours.low) and math.isfinite(ours.high):
        assert ours.low == pytest.approx(theirs.low_slope)
        assert ours.high == pytest.approx(theirs.high_slope)


def test_a_trend_needs_time() -> None:
    """One moment has no slope."""
    with pytest.raises(ValueError, match="two different times"):
        stats.theil_sen([1, 1], [1, 2], 0.05)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 9, 0.05 / 63, 0.05 / 144])
def test_least_rounds_are_the_first_with_a_finite_interval(alpha: float) -> None:
    """One round fewer has none."""
    rounds = stats.least_rounds(alpha)
    assert math.isfinite(stats.sign_interval([1.0] * rounds, alpha).high)
    assert math.isinf(stats.sign_interval([1.0] * (rounds - 1), alpha).high)
