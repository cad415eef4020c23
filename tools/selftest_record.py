"""What the self-test of the method found: `docs/selftest.json`, raw numbers only, and what they say.

Statistics, verdicts and whether a limit holds are computed on reading, with the code that judges every other result.
The file is bound to what made it (harness, machine, time) and checked against `schemas/selftest.schema.json`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools import recorded, stats
from tools.project import ROOT
from tools.recorded import Tree
from tools.stats import NullArm, Ratio, Verdict

PATH = "docs/selftest.json"
SCHEMA = ROOT / "schemas" / "selftest.schema.json"
KIND = recorded.Kind(SCHEMA, "measure again: nox -s selftest")
read, refuse_problems = KIND.read, KIND.refuse_problems

# History of the schema.
#   1  first version: simulation, identical and slowed lanes, overhead, scaling, lists; since then `tight`, optional:
#      `loop` rests between two launches, before that it did not
SCHEMA_VERSION = 1

WRONG = {
    1.0: {Verdict.DIFFERENT, Verdict.STRUCTURAL},
    1.03: {Verdict.DIFFERENT, Verdict.STRUCTURAL},
    1.15: {Verdict.TIE, Verdict.STRUCTURAL},
    2.5: {Verdict.TIE},
}
"""True ratio of a slowed lane, and what must not be said of it: unresolved and withheld are always allowed."""
RIGHT = {1.0: Verdict.TIE, 1.03: Verdict.TIE, 1.15: Verdict.DIFFERENT, 2.5: Verdict.STRUCTURAL}
"""What should be said of it on a quiet machine."""
ALPHA = 0.05
POWER = 0.95
LAUNCH_BUDGET_US = 50.0
LINEAR = 1.5
"""How much longer a file may take among ten times as many files."""
MANY_FILES = 10_000
MANY_FILES_SECONDS = 5.0
LIST_BUDGET_SECONDS = 0.5
LINEAR_WORK = ("validate_cold", "validate_warm", "tables_cold", "tables_warm")


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
class Said:
    """What somebody says of a slowed lane, with the ratio that it rests on."""

    truth: float
    ratio: Ratio
    verdict: Verdict

    @property
    def wrong(self) -> bool:
        """Whether that is the opposite of the truth."""
        return self.verdict in WRONG[self.truth]

    @property
    def right(self) -> bool:
        """Whether that is the whole truth."""
        return self.verdict is RIGHT[self.truth]


def at_most(limit: float, trials: int) -> float:
    """A rate's limit with the room that its estimate from so many trials needs (three standard errors)."""
    return limit + 3 * math.sqrt(limit * (1 - limit) / trials)


# --- benchmarks of lanes


def null_arm(benchmark: Tree) -> NullArm:
    """The noise of one benchmark."""
    walls, alpha = benchmark["walls_ns"], benchmark["alpha"] / benchmark["claims"]
    return stats.null_arm(walls[benchmark["reference"]], walls["null"], alpha)


def compared(benchmark: Tree, lane: str, other: str) -> tuple[Ratio, Verdict]:
    """How many times as long one lane takes as another, and what Deadheat says of it."""
    walls, alpha = benchmark["walls_ns"], benchmark["alpha"] / benchmark["claims"]
    ratio = stats.paired_ratio(walls[lane], walls[other], alpha)
    return ratio, stats.decide(ratio, null_arm(benchmark), benchmark["steal_share"])


def whole(benchmarks: Sequence[Tree]) -> list[Tree]:
    """The benchmarks in which every lane was measured."""
    return [one for one in benchmarks if one["failed"] is None]


def said_by_deadheat(benchmark: Tree, lane: str) -> Said:
    """The verdict on a slowed lane."""
    return Said(benchmark["truth"][lane], *compared(benchmark, lane, benchmark["reference"]))


def said_by_hyperfine(benchmark: Tree, lane: str) -> Said | None:
    """What its mean and standard deviation would conclude, read with the same bands; None where it did not run.

    hyperfine prints `ratio +- sd` with the error propagated from both; who reads that takes it for the interval.
    """
    times = benchmark["hyperfine_ns"]
    if not times:
        return None
    means = {name: math.fsum(times[name]) / len(times[name]) for name in (lane, benchmark["reference"])}
    ratio = means[lane] / means[benchmark["reference"]]
    sd = ratio * math.hypot(*(_deviation(times[name], mean) / mean for name, mean in means.items()))
    low, high = max(0.0, ratio - sd), ratio + sd
    found = Ratio(ratio, low, high, len(times[lane]), two_regimes=False, ratio_of_medians=ratio)
    return Said(benchmark["truth"][lane], found, stats.band(found))


def _deviation(values: Sequence[float], mean: float) -> float:
    """The sample standard deviation."""
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / max(1, len(values) - 1))


def false_alarms(benchmark: Tree) -> tuple[int, int, int]:
    """Pairs of identical lanes; those that are called different; those whose interval does not hold 1."""
    lanes = list(benchmark["truth"])
    pairs = [compared(benchmark, a, b) for i, a in enumerate(lanes) for b in lanes[i + 1 :]]
    called = sum(verdict in WRONG[1.0] for _, verdict in pairs)
    return len(pairs), called, sum(not ratio.low <= 1 <= ratio.high for ratio, _ in pairs)


# --- limits


def findings(tree: Tree) -> list[Finding]:
    """Every number that has a limit, in the order of the page."""
    return [
        *(Finding(**found) for found in tree["simulated"] or ()),
        *_same(tree["same"] or ()),
        *_slowed(tree["slowed"] or ()),
        *_overhead(tree["overhead"]),
        *_scaling(tree["scaling"]),
        *_lists(tree["lists"]),
    ]


def _same(benchmarks: Sequence[Tree]) -> Iterator[Finding]:
    """A/A: benchmarks with a false alarm, at most as many as alpha says."""
    found = [false_alarms(one) for one in whole(benchmarks)]
    if found:
        alarms = sum(called > 0 for _, called, _ in found)
        detail = f"{alarms} of {len(found)} benchmarks, {sum(pairs for pairs, _, _ in found)} pairs"
        yield Finding("identical lanes called different", alarms / len(found), ALPHA, at_least=False, detail=detail)


def _slowed(loads: Sequence[Tree]) -> Iterator[Finding]:
    """A/B: never the opposite of the truth; the truth itself where nothing else runs."""
    for load in loads:
        name = load["load"]
        said = [said_by_deadheat(one, lane) for one in whole(load["benchmarks"]) for lane in one["truth"]]
        if not said:
            continue
        wrong = sum(one.wrong for one in said) / len(said)
        detail = f"{len(said)} verdicts"
        yield Finding(f"slowed lanes, load {name}: wrong", wrong, ALPHA, at_least=False, detail=detail)
        if name == "none":
            for truth in sorted({one.truth for one in said}):
                about = [one for one in said if one.truth == truth]
                share = sum(one.right for one in about) / len(about)
                title = f"slowed lanes, true ratio {truth:.2f}: {RIGHT[truth]}"
                limit = 1 - at_most(1 - POWER, len(about))
                yield Finding(title, share, limit, at_least=True, detail=f"{len(about)} verdicts")


def extra_us(overhead: Tree, tool: str) -> list[float]:
    """What a tool adds to the C loop that rests, in microseconds, round by round; empty where it did not run."""
    rounds = overhead["rounds"]
    return [(one[tool] - one["loop"]) / 1000 for one in rounds if one.get(tool) is not None]


def _overhead(overhead: Tree | None) -> Iterator[Finding]:
    """Our launcher against the C loop."""
    if overhead and (extra := extra_us(overhead, "launcher")):
        found = stats.quartiles(extra)
        detail = f"quartiles {found.low:.0f} to {found.high:.0f}"
        yield Finding("launcher above the C loop, us", found.median, LAUNCH_BUDGET_US, at_least=False, detail=detail)


def growth(scaling: Tree, work: str) -> float | None:
    """Time of one file among the most files over that among the second most; None with fewer than two steps."""
    if len(scaling["steps"]) < 2:  # noqa: PLR2004 - a ratio needs two
        return None
    before, after = ((step[work] / step["files"]) for step in scaling["steps"][-2:])
    return float(after / before)


def _scaling(scaling: Tree | None) -> Iterator[Finding]:
    """Linear, and within seconds for 10,000 files."""
    if not scaling:
        return
    for work in LINEAR_WORK:
        if (ratio := growth(scaling, work)) is not None:
            yield Finding(f"{work.replace('_', ', ')}: time of a file", ratio, LINEAR, at_least=False)
    for step in scaling["steps"]:
        if step["files"] == MANY_FILES:
            name = f"tables over {MANY_FILES} files, warm, s"
            yield Finding(name, step["tables_warm"], MANY_FILES_SECONDS, at_least=False)


def _lists(lists: Tree | None) -> Iterator[Finding]:
    """What a person waits for."""
    for command, seconds in (lists["seconds"] if lists else {}).items():
        name = f"{command} with {lists['projects'] if lists else 0} projects, s"
        yield Finding(name, stats.median(seconds), LIST_BUDGET_SECONDS, at_least=False)
