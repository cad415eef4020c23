"""What one result says against another, or one program against another of the same run: `invoke compare`.

Inside one result rounds are paired (`tools.analysis`). Two results share no rounds, so the ratio and its interval come
from two independent samples (`tools.shifts`), and programs that are the same in both runs say how far the machine
itself has moved: they are the null arm of such a comparison. Results of two machines are never divided.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from tools import changed, shifts, stats
from tools.analysis import APART, analyse
from tools.errors import UsageError
from tools.figures import metric_by_round
from tools.record import Environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tools.analysis import Analysis
    from tools.changed import Change
    from tools.record import CaseResult, Result
    from tools.stats import NullArm, Ratio, Verdict

ALPHA = 0.05
PAIRED = "rounds of one run, paired: median of the ratios, exact interval of the sign test"
UNPAIRED = (
    "two runs, which share no rounds: Hodges-Lehmann's shift of the logarithms, interval of the Mann-Whitney test;"
    " programs that are the same in both runs say how far the machine moved"
)
AN_ITEM = {"wall_ns": "ns_per_item", "cpu_ns": "cpu_ns_per_item"}
"""Metrics of a whole run, and of an item: two results may have other repeats, so they are compared an item."""
NOT_COMPARED = frozenset({"id", "memory_bandwidth_bytes_per_second", "file_bandwidth_bytes_per_second"})


@dataclass(frozen=True)
class Line:
    """B against A in one case: how many times as much of the metric B needs."""

    case: str
    a: str
    b: str
    metric: str
    plural: str
    a_cost: float
    b_cost: float
    ratio: Ratio
    verdict: Verdict
    quiet_verdict: Verdict | None
    settled: bool
    noise: NullArm | None
    """What moved although nothing was changed: the widest of all that can be said of it."""
    noise_of: str

    @property
    def slower(self) -> bool:
        """Whether B is shown to need more than A, beyond the band and beyond noise."""
        return self.ratio.ratio > 1 and self.verdict in APART and self.settled


@dataclass(frozen=True)
class Comparison:
    """All that `invoke compare` says."""

    a: str
    b: str
    method: str
    lines: tuple[Line, ...]
    changes: tuple[Change, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    """What could not be compared, and why."""

    @property
    def regressions(self) -> list[Line]:
        """The lines in which B is shown to be slower."""
        return [line for line in self.lines if line.slower]

    def as_json(self) -> dict[str, Any]:
        """Plain values for programs; an interval without ends has null in their place."""
        lines = [{name: getattr(line, name) for name in ("case", "a", "b", "metric", "a_cost", "b_cost")} | {
            "ratio": ratio_json(line.ratio),
            "verdict": str(line.verdict),
            "verdict_without_noisy_rounds": str(line.quiet_verdict) if line.quiet_verdict else None,
            "noise": finite(asdict(line.noise)) | {"of": line.noise_of} if line.noise else None,
            "slower": line.slower,
        } for line in self.lines]  # fmt: skip
        left_out = [{"what": what, "why": why} for what, why in self.left_out]
        changes = [asdict(change) for change in self.changes]
        return {
            "a": self.a, "b": self.b, "method": self.method, "lines": lines, "changes": changes, "left_out": left_out,
        }  # fmt: skip


def ratio_json(ratio: Ratio) -> dict[str, Any]:
    """A ratio as plain values."""
    return finite({"value": ratio.ratio, "low": ratio.low, "high": ratio.high, "rounds": ratio.rounds}) | {
        "two_regimes": ratio.two_regimes
    }


def finite(values: dict[str, Any]) -> dict[str, Any]:
    """The same with null for numbers that JSON does not have, and for the open ends of an interval."""
    return {
        name: None if isinstance(value, float) and (not math.isfinite(value) or value == 0) else value
        for name, value in values.items()
    }


def within(result: Result, pairs: Sequence[tuple[str, str]], cases: Sequence[str] = ()) -> Comparison:
    """Compare programs of one result, B against A for each pair.

    Raises:
        UsageError: the result has no such program or case.
    """
    for name in {name for pair in pairs for name in pair} - result.arms.keys():
        raise UsageError(f"{result.slug} has no program {name!r}", remedy="known: " + ", ".join(result.arms))
    lines, left_out = [], []
    for case in _cases(result, cases):
        analysis = analyse(result, case)
        for a, b in pairs:
            line = _paired(result, analysis, a, b)
            if line is not None:
                lines.append(line)
            else:
                left_out.append((f"{case.name}: {b} against {a}", _why(result, case, (a, b))))
    title_a, title_b = (" ".join(dict.fromkeys(pair[side] for pair in pairs)) for side in (0, 1))
    return Comparison(title_a, title_b, PAIRED, tuple(lines), (), tuple(left_out))


def baselines(result: Result) -> list[tuple[str, str]]:
    """Pairs of a result that belong together: (baseline, lane) of every lane that another is the baseline of."""
    return [(arm.name, arm.baseline_of) for arm in result.lanes if arm.baseline_of is not None]


def _paired(result: Result, analysis: Analysis, a: str, b: str) -> Line | None:
    """Compare two programs of one case, if both have a verdict."""
    found = analysis.pairs.get((b, a))
    if found is None:
        return None
    figures = analysis.figures
    return Line(
        case=analysis.case.name, a=a, b=b, metric=figures[a].metric, plural=result.item.plural,
        a_cost=figures[a].cost.median, b_cost=figures[b].cost.median, ratio=found.ratio, verdict=found.verdict,
        quiet_verdict=found.quiet_verdict, settled=found.settled, noise=analysis.null, noise_of="null arm",
    )  # fmt: skip


def _why(result: Result, case: CaseResult, arms: Iterable[str]) -> str:
    """Say which of two programs has no numbers in a case."""
    for name in arms:
        state = case.states[name]
        if state.state != "measured":
            return f"{name} is {state.state}: {state.reason or result.arms[name].reason or 'no reason given'}"
    return "peers and null arms are yardsticks, which are not compared with each other"


def across(a: Result, b: Result, cases: Sequence[str] = (), lanes: Sequence[str] = ()) -> Comparison:
    """Compare every lane of two results of one project in one environment, B against A.

    Raises:
        UsageError: the two are not of one project and environment, or neither has such a case or lane.
    """
    refuse_strangers(a, b)
    for lane in set(lanes) - {arm.name for result in (a, b) for arm in result.lanes}:
        known = ", ".join(arm.name for arm in b.lanes)
        raise UsageError(f"{b.slug} has no lane {lane!r}", remedy=f"known: {known}")
    known_cases = {case.name: case for case in b.cases}
    chosen = [case for case in _cases(a, cases, also=known_cases) if case.name in known_cases]
    names = [arm.name for arm in a.lanes if arm.name in b.arms and arm.name in (lanes or a.arms)]
    alpha = ALPHA / max(1, len(chosen) * len(names))
    lines, left_out = [], []
    for case in chosen:
        other = known_cases[case.name]
        if reason := changed.other_work(a, b, case, other):
            left_out.append((case.name, reason))
            continue
        lines += _lines(_Two(a, b, case, other, alpha), names, left_out)
    return Comparison(
        label(a), label(b), UNPAIRED, tuple(lines), tuple(changed.changes(a, b)), tuple(left_out),
    )  # fmt: skip


def label(result: Result) -> str:
    """Name a result: when, and by which commit of Deadheat."""
    commit = (result.harness.commit or "no commit")[:12]
    return f"{result.created_at[:16].replace('T', ' ')} ({commit}{', changed' if result.harness.dirty else ''})"


def refuse_strangers(a: Result, b: Result) -> None:
    """Stop where numbers must not be divided.

    Raises:
        UsageError: two projects, two environments, or shared CI runners; the message says what differs.
    """
    if a.slug != b.slug:
        raise UsageError(f"{a.slug} and {b.slug} are two jobs: there is nothing to divide")
    remedy = f"measure both here, in one run: nox -s bench-<alias> -- --against {(a.harness.commit or 'REV')[:12]}"
    if a.environment.id != b.environment.id:
        differing = [
            f"{each.name} {getattr(a.environment, each.name)!r} and {getattr(b.environment, each.name)!r}"
            for each in fields(Environment)
            if each.name not in NOT_COMPARED and getattr(a.environment, each.name) != getattr(b.environment, each.name)
        ]
        what = "; ".join(differing) or f"id {a.environment.id} and {b.environment.id}"
        raise UsageError(f"results of two environments are never divided; they differ in: {what}", remedy=remedy)
    if a.environment.ci and a.path != b.path:
        raise UsageError("numbers of two jobs on shared CI runners are never divided", remedy=remedy)


def _cases(result: Result, wanted: Sequence[str], also: Iterable[str] = ()) -> list[CaseResult]:
    """The chosen cases, or all of them."""
    known = [case.name for case in result.cases]
    for name in set(wanted) - {*known, *also}:
        raise UsageError(f"{result.slug} has no case {name!r}", remedy="known: " + ", ".join(known))
    return [case for case in result.cases if case.name in (wanted or known)]


def something(comparison: Comparison) -> Comparison:
    """The same, if it says something.

    Raises:
        UsageError: nothing could be compared; the message has every reason.
    """
    if not comparison.lines:
        reasons = "; ".join(f"{what}: {why}" for what, why in comparison.left_out) or "no case or lane in common"
        raise UsageError(f"nothing to compare: {reasons}")
    return comparison


@dataclass(frozen=True)
class _Two:
    """One case in two results."""

    a: Result
    b: Result
    case: CaseResult
    other: CaseResult
    alpha: float

    @property
    def metric(self) -> str:
        return self.case.metric or self.a.metric.name

    def values(self, name: str) -> tuple[list[float], list[float]]:
        """What a program needed in both, an item where runs may differ in their repeats."""
        return self._values(self.case, name), self._values(self.other, name)

    def _values(self, case: CaseResult, name: str) -> list[float]:
        if name not in case.states:
            return []
        return [value / _items(case, self.metric) for value in metric_by_round(case, name, self.metric).values()]

    def ratio(self, name: str) -> Ratio | None:
        """B over A for one program, if it was measured in both."""
        before, after = self.values(name)
        return shifts.shifted_ratio(after, before, self.alpha) if before and after else None


def _items(case: CaseResult, metric: str) -> int:
    """What the metric of one run is divided by."""
    return case.items * case.repeats or 1 if metric in AN_ITEM else 1


def _lines(two: _Two, names: Sequence[str], left_out: list[tuple[str, str]]) -> list[Line]:
    """Compare the lanes of one case."""
    analyses = analyse(two.a, two.case), analyse(two.b, two.other)
    nulls = [(one.null, f"null arm of {side}") for one, side in zip(analyses, "AB", strict=True) if one.null]
    same = [(name, ratio) for name in changed.unchanged(two.a, two.b) if (ratio := two.ratio(name)) is not None]
    steal = max(one.steal_share for one in analyses)
    lines = []
    for name in names:
        ratio = two.ratio(name)
        if ratio is None:
            sides = [(two.a, two.case), (two.b, two.other)]
            reasons = [_why(result, case, [name]) for result, case in sides if case.states[name].state != "measured"]
            left_out.append((f"{two.case.name}: {name}", (reasons or ["no run that counts"])[0]))
            continue
        controls = [(_moved(one), f"{other}, unchanged") for other, one in same if other != name]
        noise, of = _widest([*nulls, *controls]) if controls else (None, "")
        before, after = two.values(name)
        lines.append(Line(
            case=two.case.name, a=name, b=name, metric=AN_ITEM.get(two.metric, two.metric),
            plural=two.a.item.plural, a_cost=stats.median(before), b_cost=stats.median(after), ratio=ratio,
            verdict=stats.decide(ratio, noise, steal), quiet_verdict=None, settled=True, noise=noise, noise_of=of,
        ))  # fmt: skip
    return lines


def _moved(ratio: Ratio) -> NullArm:
    """What a program that nobody changed says of the machine."""
    return stats.NullArm(ratio.ratio, ratio.low, ratio.high)


def _widest(found: Sequence[tuple[NullArm, str]]) -> tuple[NullArm, str]:
    """The noise that stands farthest from 1."""
    return max(found, key=lambda one: abs(math.log(one[0].ratio)))
