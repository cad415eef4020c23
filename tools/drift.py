"""What a soak says of growth: a slope with its interval over the second half, and words for it (MEASURING 13).

"No leak" is not a glance at a curve: the interval of the slope includes zero (or is below it), or what it would grow
in a day stays below a stated bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools import markdown as md
from tools import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tools.record import Series

ALPHA = 0.05
BIN_SECONDS = 5
"""Neighbouring seconds move together, which the interval must not take for evidence: their medians stand for them."""
BINS_LEAST = 6
DAY_SECONDS = 86_400
HOUR_SECONDS = 3_600
LEAK_BYTES_A_DAY = 64 << 20
"""Memory that grows by less than this in a day hurts nobody; a convention of ours."""


@dataclass(frozen=True)
class Drift:
    """How a quantity moves in the second half of a soak, a second."""

    slope: float
    low: float
    high: float

    @property
    def includes_zero(self) -> bool:
        """Whether nothing shows that it grows."""
        return self.low <= 0

    @property
    def is_leak(self) -> bool:
        """Whether it grows, and by more than the bound."""
        return not self.includes_zero and self.high * DAY_SECONDS > LEAK_BYTES_A_DAY


def of(times: Sequence[float], values: Sequence[float]) -> Drift | None:
    """The drift of a quantity over the second half; None where the soak was too short to say."""
    middle = (times[0] + times[-1]) / 2 if times else 0.0
    bins: dict[int, list[tuple[float, float]]] = {}
    for at, value in zip(times, values, strict=True):
        if at > middle:
            bins.setdefault(int((at - middle) // BIN_SECONDS), []).append((at, value))
    if len(bins) < BINS_LEAST:
        return None
    centres = [stats.median([at for at, _ in found]) for found in bins.values()]
    medians = [stats.median([value for _, value in found]) for found in bins.values()]
    found = stats.theil_sen(centres, medians, ALPHA)
    return Drift(found.slope, found.low, found.high)


def memory(series: Series) -> Drift | None:
    """The drift of a program's memory."""
    return of(series.t_s, series.rss_bytes)


def words(drift: Drift | None) -> str:
    """Say whether memory leaks."""
    if drift is None:
        return "too short to say"
    if not drift.is_leak:
        return "no leak"
    low, slope, high = (md.size(round(each * HOUR_SECONDS)) for each in (drift.low, drift.slope, drift.high))
    return f"grows by {slope} an hour ({low} to {high})" if math.isfinite(drift.high) else f"grows by {slope} an hour"
