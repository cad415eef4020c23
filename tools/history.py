"""How the results of a project went over time: one line a lane, case and environment, with the places where it changed.

What is followed is the ratio to a peer of the same run: a machine that is slower today is slower for both. A stretch
ends where the yardstick changes (another peer program, other inputs), and only within a stretch is anything compared.
Environments are never mixed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from tools import shifts, stats
from tools.analysis import analyse
from tools.compare import ratio_json
from tools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from tools.analysis import Analysis, Comparison
    from tools.record import CaseResult, Environment, Result
    from tools.stats import NullArm, Ratio, Verdict

STEP_ALPHA = 0.01
"""What the comparison of one result with the one before may err; a reader looks at many of them."""
BARS = "▁▂▃▄▅▆▇"
"""An odd number: noise around the middle stays in one bar."""
GAP, CUT = " ", "|"


@dataclass(frozen=True)
class Moment:
    """A lane in one result."""

    created_at: str
    file: str
    commit: str | None
    dirty: bool
    metric: str
    cost: float
    null: NullArm | None
    steal_share: float
    to_peer: Comparison | None
    """The lane over the peer, paired by rounds."""
    yardstick: Hashable
    """What must be the same before two moments are compared."""
    since: Ratio | None = None
    """The ratio to the peer over that of the moment before, where both have the same yardstick."""
    step: Verdict | None = None
    changed: bool = False
    """Whether a new level begins here."""


@dataclass(frozen=True)
class Series:
    """One lane in one case and environment, the oldest result first."""

    environment: Environment
    case: str
    lane: str
    peer: str | None
    plural: str
    moments: tuple[Moment, ...]

    @property
    def values(self) -> list[float | None]:
        """What the sparkline draws: the ratio to the peer, or without a peer the cost itself."""
        if self.peer is None:
            return [moment.cost for moment in self.moments]
        return [moment.to_peer.ratio.ratio if moment.to_peer else None for moment in self.moments]

    @property
    def sparkline(self) -> str:
        """A bar a result, by factors; a bar stands before each new level. Noise of a few per cent stays flat."""
        known = [math.log(value) for value in self.values if value]
        if not known:
            return ""
        middle, reach = (min(known) + max(known)) / 2, max((max(known) - min(known)) / 2, math.log(stats.TIE_BAND))
        bars = []
        for value, moment in zip(self.values, self.moments, strict=True):
            share = (math.log(value) - middle + reach) / (2 * reach) if value else None
            bar = GAP if share is None else BARS[min(len(BARS) - 1, int(share * len(BARS)))]
            bars.append(f"{CUT if moment.changed else ''}{bar}")
        return "".join(bars)

    def as_json(self) -> dict[str, Any]:
        """Plain values for programs."""
        return {
            "environment": self.environment.id, "runner": self.environment.runner, "case": self.case,
            "lane": self.lane, "peer": self.peer, "sparkline": self.sparkline,
            "moments": [_moment_json(moment) for moment in self.moments],
        }  # fmt: skip


def _moment_json(moment: Moment) -> dict[str, Any]:
    return {
        "created_at": moment.created_at, "file": moment.file, "commit": moment.commit, "dirty": moment.dirty,
        "metric": moment.metric, "cost": moment.cost,
        "to_peer": ratio_json(moment.to_peer.ratio) if moment.to_peer else None,
        "verdict": str(moment.to_peer.verdict) if moment.to_peer else None,
        "since_last": ratio_json(moment.since) if moment.since else None,
        "step": str(moment.step) if moment.step else None, "changed": moment.changed,
    }  # fmt: skip


def of(results: Iterable[Result], case: str | None = None, lanes: Sequence[str] = ()) -> list[Series]:
    """The series of a project's results, of the chosen case or the headline of the newest result.

    Raises:
        UsageError: no result has such a case or lane.
    """
    found = sorted(results, key=lambda one: (one.created_at, one.path.name))
    if not found:
        return []
    name = case or found[-1].headline.name
    with_case = [(one, each) for one in found for each in one.cases if each.name == name]
    if not with_case:
        known = ", ".join(dict.fromkeys(each.name for one in found for each in one.cases))
        raise UsageError(f"{found[-1].slug} has no case {name!r}", remedy=f"known: {known}")
    all_lanes = dict.fromkeys(lane.name for one, _ in reversed(with_case) for lane in one.lanes)
    if unknown := set(lanes) - all_lanes.keys():
        raise UsageError(
            f"{found[-1].slug} has no lane {', '.join(sorted(unknown))}", remedy="known: " + ", ".join(all_lanes)
        )
    groups: dict[str, list[tuple[Result, CaseResult, Analysis]]] = {}
    for one, each in with_case:
        groups.setdefault(one.environment.id, []).append((one, each, analyse(one, each)))
    series = [_series(group, lane) for group in groups.values() for lane in lanes or all_lanes]
    return [one for one in series if one.moments]


def _series(group: Sequence[tuple[Result, CaseResult, Analysis]], lane: str) -> Series:
    """Follow one lane through the results of one environment."""
    peer = _peer([(result, analysis) for result, _, analysis in group], lane)
    moments = [
        moment(result, case, analysis, lane, peer) for result, case, analysis in group if lane in analysis.figures
    ]
    newest = group[-1][0]
    return Series(
        newest.environment, group[-1][1].name, lane, peer, newest.item.plural,
        tuple(followed(moments, shared=newest.environment.ci)),
    )  # fmt: skip


def _peer(group: Sequence[tuple[Result, Analysis]], lane: str) -> str | None:
    """The peer that most results have beside the lane, the first of the newest among equals."""
    newest = [arm.name for arm in group[-1][0].arms.values() if arm.role == "peer"]
    counts = {name: sum((lane, name) in analysis.pairs for _, analysis in group) for name in newest}
    best = max(counts, key=lambda name: counts[name], default=None)
    return best if best is not None and counts[best] else None


def moment(result: Result, case: CaseResult, analysis: Analysis, lane: str, peer: str | None) -> Moment:
    """One lane in one result, measured against a peer."""
    figures = analysis.figures[lane]
    other = result.arms.get(peer or "")
    program = (other.binary_sha256, other.lock_sha256, other.toolchain, other.source_sha256) if other else None
    return Moment(
        created_at=result.created_at, file=result.path.name, commit=result.harness.commit, dirty=result.harness.dirty,
        metric=figures.metric, cost=figures.cost.median, null=analysis.null, steal_share=analysis.steal_share,
        to_peer=analysis.pairs.get((lane, peer)) if peer else None,
        yardstick=(program, result.workloads[case.workload].sha256, case.args, figures.metric),
    )  # fmt: skip


def followed(moments: Sequence[Moment], *, shared: bool = False) -> list[Moment]:
    """The same moments, each compared with the one before, with the places where a new level begins.

    On shared CI runners no two jobs are compared one by one (`shared`); a level that holds over many of them counts.
    """
    found: list[Moment] = []
    for _, stretch in groupby(moments, key=lambda one: (one.yardstick, one.to_peer is not None)):
        part = list(stretch)
        if part[0].to_peer is not None:
            part = _marked(part if shared else _stepped(part))
        found += part
    return found


def _marked(part: list[Moment]) -> list[Moment]:
    """Mark the changes of level among moments with one yardstick."""
    logs = [math.log(one.to_peer.ratio.ratio) for one in part if one.to_peer is not None]
    changes = set(shifts.change_points(logs))
    return [replace(one, changed=index in changes) for index, one in enumerate(part)]


def _stepped(part: list[Moment]) -> list[Moment]:
    """Compare each moment with the one before."""
    return [part[0], *(_step(before, after) for before, after in pairwise(part))]


def _step(before: Moment, after: Moment) -> Moment:
    """Compare two moments by the rounds of both; the noisier null arm of the two is the gate."""
    assert before.to_peer is not None and after.to_peer is not None  # noqa: S101, PT018 - the stretch says so
    since = shifts.shifted_ratio(after.to_peer.rounds, before.to_peer.rounds, STEP_ALPHA)
    steal = max(before.steal_share, after.steal_share)
    nulls = [null for null in (before.null, after.null) if null is not None]
    widest = max(nulls, key=lambda null: abs(math.log(null.ratio))) if len(nulls) > 1 else None
    return replace(after, since=since, step=stats.decide(since, widest, steal))
