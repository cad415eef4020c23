"""What a soak says of growth: a slope with an interval, not a glance."""

from __future__ import annotations

import random

import pytest

from tools import drift

MIB = 1 << 20
TIMES = list(range(1, 301))


def series(slope: float, noise: float = 0.0, start: float = 50 * MIB) -> list[float]:
    """Memory that grows by so much a second, with noise."""
    rng = random.Random(1)
    return [start + slope * at + rng.gauss(0, noise) for at in TIMES]


def test_a_straight_line_has_its_slope() -> None:
    """Without noise the slope is exact, and so is its interval."""
    found = drift.of(TIMES, series(1000.0))
    assert found is not None
    assert (found.slope, found.low, found.high) == pytest.approx((1000.0, 1000.0, 1000.0))
    assert found.is_leak


@pytest.mark.parametrize("noise", [0.0, 4096.0, float(MIB)])
def test_what_stays_is_no_leak(noise: float) -> None:
    """Neither a flat line nor one that only trembles."""
    found = drift.of(TIMES, series(0.0, noise))
    assert found is not None
    assert not found.is_leak
    assert drift.words(found) == "no leak"


def test_growth_below_the_bound_of_a_day_is_no_leak() -> None:
    """700 bytes a second are 58 MiB a day, 800 are 66."""
    below, above = (drift.of(TIMES, series(slope)) for slope in (700.0, 800.0))
    assert below is not None
    assert above is not None
    assert (below.includes_zero, below.is_leak, above.is_leak) == (False, False, True)


def test_growth_that_ends_early_does_not_count() -> None:
    """Only the second half: caches and pools fill first."""
    values = [min(at, 140) * 10_000.0 for at in TIMES]
    found = drift.of(TIMES, values)
    assert found is not None
    assert not found.is_leak


def test_memory_that_is_given_back_is_no_leak() -> None:
    """An interval below zero."""
    assert drift.words(drift.of(TIMES, series(-5000.0))) == "no leak"


def test_a_leak_is_said_with_its_interval() -> None:
    """A person thinks in hours."""
    assert drift.words(drift.of(TIMES, series(10_000.0))) == "grows by 34.3 MiB an hour (34.3 MiB to 34.3 MiB)"


@pytest.mark.parametrize("seconds", [0, 1, 20, 50])
def test_a_short_soak_says_nothing(seconds: int) -> None:
    """Fewer than six bins of five seconds in the second half."""
    found = drift.of(TIMES[:seconds], series(1000.0)[:seconds])
    assert found is None
    assert drift.words(found) == "too short to say"
