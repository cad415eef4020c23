"""What the samples of one case say: computed on reading, never stored.

Lanes of equal parity are ranked together; peers and the null arm are yardsticks and never win. An arm with a failed
run has no verdict. Where runs that were flagged as noisy change a verdict, both verdicts are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from tools import stats
from tools.figures import Figures, figures, metric_by_round
from tools.record import NOISE_FLAGS
from tools.stats import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from tools.model import Parity
    from tools.record import CaseResult, Result
    from tools.stats import NullArm, Place, Ratio

APART = {Verdict.DIFFERENT, Verdict.STRUCTURAL}
FAR_FROM_FLOOR = 20.0  # a convention of ours (MEASURING.md 14): beyond this the project README says why


@dataclass(frozen=True)
class Comparison:
    """How many times as much of the metric A needs as B, and what may be said of it."""

    a: str
    b: str
    ratio: Ratio
    verdict: Verdict
    quiet_verdict: Verdict | None
    """The verdict without noisy rounds, if it is another one."""
    rounds: tuple[float, ...] = ()
    """A over B, round by round: what is shown when there are two regimes."""

    @property
    def settled(self) -> bool:
        """Whether the quiet rounds do not contradict all rounds: fewer rounds may say less, but not something else."""
        said = {self.verdict, self.quiet_verdict}
        return self.quiet_verdict not in {Verdict.TIE, *APART} or said <= APART or len(said) == 1


@dataclass(frozen=True)
class Group:
    """Lanes of equal parity, ranked together."""

    parity: Parity
    leader: str
    places: tuple[Place, ...]
    to_leader: Mapping[str, Comparison]

    @property
    def winner(self) -> str | None:
        """The lane that beats all others of at least two; a shared first place has no winner."""
        return stats.winner(self.places) if sum(len(place.lanes) for place in self.places) > 1 else None

    @property
    def tied(self) -> tuple[str, ...]:
        """The lanes that are shown to tie for the first place."""
        first = self.places[0]
        return first.lanes if first.settled and len(first.lanes) > 1 else ()

    def place_of(self, lane: str) -> Place:
        """Find the place that a lane has or shares."""
        return next(place for place in self.places if lane in place.lanes)


@dataclass(frozen=True)
class Analysis:
    """Everything that tables, values and claims say about one case."""

    case: CaseResult
    figures: Mapping[str, Figures]
    null: NullArm | None
    steal_share: float
    pairs: Mapping[tuple[str, str], Comparison]
    groups: tuple[Group, ...]
    reference: str

    @property
    def first_place(self) -> tuple[str | None, frozenset[str]]:
        """Who wins the main group, or who ties for it: what two runs must agree in to confirm each other."""
        group = self.main_group
        return (group.winner, frozenset(group.tied)) if group else (None, frozenset())

    def group_of(self, lane: str) -> Group | None:
        """Find the group that a lane is ranked in."""
        return next((group for group in self.groups if lane in group.to_leader), None)

    @property
    def main_group(self) -> Group | None:
        """The group of the reference lane, which stands for the case in short tables."""
        return self.group_of(self.reference) or next(iter(self.groups), None)


def analyse(result: Result, case: CaseResult) -> Analysis:
    """Compute the statistics of one case."""
    metric = case.metric or result.metric.name
    values = {arm: rounds for arm in result.arms if (rounds := metric_by_round(case, arm, metric))}
    judge = _Judge(result, case, values)
    groups: dict[Parity, list[str]] = {}
    for lane in result.lanes:
        if lane.name in values and lane.parity is not None:
            groups.setdefault(lane.parity, []).append(lane.name)
    yardsticks = [name for name in values if result.arms[name].role == "peer"]
    lanes = [lane for group in groups.values() for lane in group]
    pairs = {}
    for a, b in [*combinations(lanes, 2), *((lane, peer) for lane in lanes for peer in yardsticks)]:
        for first, second in ((a, b), (b, a)):
            if (found := judge.compare(first, second)) is not None:
                pairs[first, second] = found
    return Analysis(
        case=case,
        figures={arm: figures(case, arm, metric) for arm in values},
        null=judge.null,
        steal_share=judge.steal_share,
        pairs=pairs,
        groups=tuple(_group(parity, names, pairs, values) for parity, names in groups.items()),
        reference=result.plan.reference,
    )


def null_arm(result: Result, case: CaseResult) -> NullArm | None:
    """Measure only the noise of a case, for pages that want it of every result."""
    names = {name for arm in result.arms.values() if arm.role == "null" and arm.of for name in (arm.name, arm.of)}
    metric = case.metric or result.metric.name
    return _Judge(result, case, {name: metric_by_round(case, name, metric) for name in names}).null


class _Judge:
    """Compares two arms behind the noise gate of their case."""

    def __init__(self, result: Result, case: CaseResult, values: Mapping[str, Mapping[int, float]]) -> None:
        """Measure the noise of the run once."""
        self.values = values
        self.alpha = result.plan.alpha / result.plan.claims
        self.bound = _generator_bound(case, case.metric or result.metric.name)
        self.noisy: dict[str, set[int]] = {}
        samples = case.samples
        for arm_name, turn, flags in zip(samples.arm, samples.round, samples.flags, strict=True):
            if flags & NOISE_FLAGS:
                self.noisy.setdefault(arm_name, set()).add(turn)
        total_ns = sum(case.samples.wall_ns) * result.environment.cpus
        self.steal_share = sum(case.samples.steal_ns) / total_ns if total_ns else 0.0
        self.null: NullArm | None = None
        for arm in result.arms.values():
            if arm.role == "null" and arm.of and (both := self._paired(arm.of, arm.name, frozenset())):
                self.null = stats.null_arm(*both, self.alpha)

    def compare(self, a: str, b: str) -> Comparison | None:
        """Compare two arms with all rounds, and again without the noisy ones; None if they share no round."""
        paired = self._paired(a, b, frozenset())
        if paired is None:
            return None
        ratio = stats.paired_ratio(*paired, self.alpha)
        verdict = stats.decide(ratio, self.null, self.steal_share)
        if {a, b} <= self.bound:  # both are as fast as the load generator, which says nothing of them
            return Comparison(a, b, ratio, Verdict.WITHHELD, None, tuple(x / y for x, y in zip(*paired, strict=True)))
        other = self._quiet_verdict(a, b)
        rounds = tuple(first / second for first, second in zip(*paired, strict=True))
        return Comparison(a, b, ratio, verdict, other if other is not verdict else None, rounds)

    def _quiet_verdict(self, a: str, b: str) -> Verdict | None:
        """Decide from the rounds in which neither arm was disturbed; None if all were quiet or too few remain."""
        disturbed = self.noisy.get(a, set()) | self.noisy.get(b, set())
        quiet = self._paired(a, b, disturbed) if disturbed else None
        if quiet is None:
            return None
        ratio = stats.paired_ratio(*quiet, self.alpha)
        return stats.decide(ratio, self.null, self.steal_share) if math.isfinite(ratio.half_width) else None

    def _paired(self, a: str, b: str, without: AbstractSet[int]) -> tuple[list[float], list[float]] | None:
        """List the metric of two arms over the rounds that both ran."""
        rounds = sorted((self.values.get(a, {}).keys() & self.values.get(b, {}).keys()) - without)
        return (
            ([self.values[a][turn] for turn in rounds], [self.values[b][turn] for turn in rounds]) if rounds else None
        )


def _generator_bound(case: CaseResult, metric: str) -> frozenset[str]:
    """Name the arms whose capacity is that of the load generator in most rounds."""
    if case.load is None or metric != "ns_per_item":
        return frozenset()
    arms = set(case.samples.arm)
    return frozenset(arm for arm in arms if (found := figures(case, arm).load) is not None and found.generator_bound)


def _group(
    parity: Parity,
    lanes: list[str],
    pairs: Mapping[tuple[str, str], Comparison],
    values: Mapping[str, Mapping[int, float]],
) -> Group:
    """Rank lanes of equal parity by their paired ratio to one of them."""
    anchor = lanes[0]
    costs = {lane: _cost(lane, anchor, pairs, values) for lane in lanes}

    def verdict(a: str, b: str) -> Verdict:
        comparison = pairs.get((a, b))
        if comparison is None:
            return Verdict.UNRESOLVED
        return comparison.verdict if comparison.settled else Verdict.UNRESOLVED

    places = tuple(stats.ranks(costs, verdict))
    leader = places[0].lanes[0]
    others = {lane: pairs[lane, leader] for lane in lanes if (lane, leader) in pairs}
    self_ratio = stats.Ratio(1.0, 1.0, 1.0, len(values[leader]), two_regimes=False, ratio_of_medians=1.0)
    return Group(parity, leader, places, {leader: Comparison(leader, leader, self_ratio, Verdict.TIE, None), **others})


def _cost(
    lane: str, anchor: str, pairs: Mapping[tuple[str, str], Comparison], values: Mapping[str, Mapping[int, float]]
) -> float:
    """Give the cost of a lane relative to the anchor; by medians where the two share no round."""
    if lane == anchor:
        return 1.0
    if (lane, anchor) in pairs:
        return pairs[lane, anchor].ratio.ratio
    return stats.median(list(values[lane].values())) / stats.median(list(values[anchor].values()))
