"""Axes and marks of charts whose x is a share of the width and whose y is in pixels.

An SVG that scales shrinks its text: 13 px become 6 on a phone. Here only positions scale (`cx="12.5%"`), so text keeps
its size at 360 px and at 1280. Colours are classes; the style sheet knows light and dark. Ticks are written by the
functions of the tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

MARGIN = 3.0
"""Percent left free at both ends, so that a mark at the end of an axis is whole."""
MAX_TICKS = 5
LEAST_TICKS = 2
DECADE_STEPS = ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))
LINEAR_STEPS = (1, 2, 5, 10)
FINEST = 12
"""Decades over which an axis looks for round numbers; beyond them only the ends are marked."""


@dataclass(frozen=True)
class Tick:
    """A marked place of an axis."""

    at: float
    text: str
    side: str
    """Which side of the text stands at the place: start, middle or end."""


@dataclass(frozen=True)
class Axis:
    """A range of values, laid out over the width."""

    low: float
    high: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Give the place of a value in percent; what lies outside stands at the end."""
        inside = min(max(value, self.low), self.high)
        low, high, here = (self._measure(each) for each in (self.low, self.high, inside))
        share = (here - low) / (high - low) if high > low else 0.5
        return round(MARGIN + share * (100 - 2 * MARGIN), 2)

    def holds(self, value: float) -> bool:
        """Say whether a value lies on the axis."""
        return self.low <= value <= self.high

    def ticks(self, write: Callable[[float], str], most: int = MAX_TICKS) -> list[Tick]:
        """Mark round values that a reader can find others between."""
        values = self._log_values(most) if self.logarithmic else []
        values = values if len(values) >= LEAST_TICKS else self._linear_values(most)
        found: dict[str, float] = {}
        for value in values:
            found.setdefault(write(value), value)
        return [Tick(self.at(value), text, _side(self.at(value))) for text, value in found.items()]

    def _measure(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value

    def _log_values(self, most: int) -> list[float]:
        """Round numbers of every decade, fewer of them until they fit."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        if len(decades) > FINEST:
            return [self.low, self.high]
        for steps in DECADE_STEPS:
            values = [step * 10.0**decade for decade in decades for step in steps]
            inside = [value for value in values if self.holds(value)]
            if len(inside) <= most:
                return inside
        return [10.0**decade for decade in decades if self.holds(10.0**decade)][:: math.ceil(len(decades) / most)]

    def _linear_values(self, most: int) -> list[float]:
        """Round numbers at equal distances."""
        width = self.high - self.low
        if width <= 0:
            return [self.low]
        unit = 10.0 ** math.floor(math.log10(width / most))
        step = next(step * unit for step in LINEAR_STEPS if step * unit * most >= width)
        first = math.ceil(round(self.low / step, 6))
        last = math.floor(round(self.high / step, 6))
        return [index * step for index in range(first, last + 1)]


def _side(at: float) -> str:
    """Keep the text of a tick inside the picture."""
    near = 12.0
    if at < near:
        return "start"
    return "end" if at > 100 - near else "middle"


def ratio_axis(values: Iterable[float]) -> Axis:
    """Lay out ratios around 1, never so narrow that a tie looks like a gulf."""
    known = [value for value in values if 0 < value < math.inf]
    low, high = min([0.9, *known]), max([1.25, *known])
    return Axis(low / 1.02, high * 1.02, logarithmic=True)


def log_axis(values: Iterable[float]) -> Axis:
    """Lay out positive values by their logarithm, with some room; nothing positive gives an axis around 1."""
    known = [value for value in values if 0 < value < math.inf] or [1.0]
    return Axis(min(known) / 1.1, max(known) * 1.1, logarithmic=True)


def upward(ticks: Iterable[Tick]) -> tuple[Tick, ...]:
    """Turn the ticks of a width into those of a height, where more is above."""
    return tuple(Tick(round(100 - tick.at, 2), tick.text, tick.side) for tick in ticks)


def points(places: Iterable[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Round places so that a page of thousands stays small."""
    return ((round(x, 1), round(y, 1)) for x, y in places)


def polyline(places: Sequence[tuple[float, float]]) -> str:
    """Write a line through places of a picture of 100 by 100 that is stretched to its frame."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def nice_above(value: float, choices: Sequence[float]) -> float:
    """Give the first of the choices that is not below a value, else the last."""
    return next((choice for choice in choices if choice >= value), choices[-1])
