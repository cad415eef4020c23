"""What the page about the method shows: the rules, how quiet the machines were, and the method measured by itself."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools import markdown as md
from tools import selftest_record, stats, wording
from tools.report import charts, prose
from tools.stats import Noise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tools.report.gather import Gathered, NullRun

HEADING = "How it is measured"
SELFTEST = "docs/selftest.json"
EDGE = 0.06
"""How far from 1, in ln, the histogram reaches; what lies beyond stands in its last bars."""
BINS = 24
HEIGHT = 120


@dataclass(frozen=True)
class Column:
    """One bar of a histogram, in percent of the width and pixels of the height."""

    x: float
    width: float
    y: float
    height: float
    noise: str
    words: str
    count: str


@dataclass(frozen=True)
class Quiet:
    """The null arms of one environment."""

    environment: str
    runs: str
    shares: tuple[tuple[str, str, str], ...]
    """Name, meaning and number of each class of noise."""
    spread: str
    columns: tuple[Column, ...]
    ticks: tuple[charts.Tick, ...]
    height: int


@dataclass(frozen=True)
class Finding:
    """One number of the self-test with its limit."""

    name: str
    value: str
    limit: str
    ok: bool
    detail: str


def method_page(found: Gathered, root: Path) -> dict[str, Any]:
    """Collect the values of its template.

    Raises:
        ResultError: the record of the self-test is not one.
    """
    summary = root / "SUMMARY.md"
    text = summary.read_text(encoding="utf-8", errors="replace") if summary.is_file() else ""
    runs: dict[str, list[NullRun]] = {}
    for run in found.nulls:
        runs.setdefault(run.environment, []).append(run)
    return {
        "root": "",
        "title": "Method",
        "rules": prose.section(text, HEADING),
        "quiet": [quiet(wording.environment(found.environments[name]), each) for name, each in runs.items()],
        "quiet_limit": md.factor(stats.QUIET_NULL),
        "usable_limit": md.factor(stats.USABLE_NULL),
        "selftest": selftest(root / SELFTEST),
    }


def quiet(environment: str, runs: Sequence[NullRun]) -> Quiet:
    """Draw how far the null arms of one environment stood from 1."""
    axis = charts.Axis(math.exp(-EDGE), math.exp(EDGE), logarithmic=True)
    counts = Counter(run.null.noise for run in runs)
    meanings = {
        Noise.QUIET: f"within {md.factor(stats.QUIET_NULL)}: everything may be said",
        Noise.USABLE: f"within {md.factor(stats.USABLE_NULL)}: usable",
        Noise.NOISY: "beyond: tie and different are withheld",
    }
    spread = stats.quartiles([run.null.ratio for run in runs])
    return Quiet(
        environment=environment,
        runs=md.count(len(runs)),
        shares=tuple((str(noise), text, md.count(counts[noise])) for noise, text in meanings.items()),
        spread=f"{md.factor(spread.median)}, quartiles {md.factor(spread.low)} and {md.factor(spread.high)}",
        columns=tuple(_columns([math.log(run.null.ratio) for run in runs], axis)),
        ticks=tuple(charts.Tick(axis.at(value), md.factor(value), "middle") for value in (0.95, 0.98, 1.0, 1.02, 1.05)),
        height=HEIGHT,
    )


def _columns(distances: Sequence[float], axis: charts.Axis) -> Iterable[Column]:
    """Count distances in bars of equal width."""
    width = 2 * EDGE / BINS
    counts = Counter(min(max(math.floor((each + EDGE) / width), 0), BINS - 1) for each in distances)
    tallest = max(counts.values())
    for index in range(BINS):
        low, high = (math.exp(-EDGE + width * edge) for edge in (index, index + 1))
        tall = round((HEIGHT - 8) * counts[index] / tallest, 1)
        middle = stats.NullArm(math.sqrt(low * high), low, high)
        name = "below" if index == 0 else "above" if index == BINS - 1 else ""
        words = f"{md.factor(low)} to {md.factor(high)}{' and ' + name if name else ''}"
        at, end = axis.at(low), axis.at(high)
        yield Column(
            at, round(end - at - 0.3, 2), HEIGHT - tall, tall, str(middle.noise), words, md.count(counts[index])
        )


def selftest(path: Path) -> list[Finding]:
    """Read the numbers of the self-test, where they are kept.

    Raises:
        ResultError: the file is not such a record.
    """
    tree = selftest_record.read(path)
    return [] if tree is None else [_finding(one) for one in selftest_record.findings(tree)]


def _finding(found: selftest_record.Finding) -> Finding:
    """Write one number."""
    sign = "at least" if found.at_least else "at most"
    return Finding(
        name=found.name,
        value=md.significant(found.value),
        limit=f"{sign} {md.significant(found.limit)}",
        ok=found.ok,
        detail=found.detail,
    )
