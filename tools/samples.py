"""Samples as they are taken and as they are stored: one run of one arm, in columns.

A sample is judged at once against what is known to be true of it (digest, count, clocks, floor); the judgement is a
list of flags beside the raw numbers. Nothing is ever dropped.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tools.contract import parse_statistics
from tools.launcher.protocol import LaunchReply
from tools.loads.base import QUANTILES, LoadReport
from tools.verify import ended_badly

CPU_SLACK = 1.05
CLOCK_SLACK_NS = 5_000_000
"""The accounting tick of the kernel is 4 ms at most (HZ=250)."""
NOISY_FACTOR = 1.2
"""A run whose wall/CPU ratio is this much above the arm's best was disturbed (a convention of ours, MEASURING 10)."""
NS_PER_TICK = 10_000_000
MARKS = frozenset({"noisy", "generator-lag", "generator-busy", "saturated"})
"""Flags that say something of a run and take no verdict away by themselves."""
OF_A_CHAT = ("messages", "connects", "connect_p99_ns")


@dataclass(frozen=True)
class Expected:
    """What is true of every right run of one case."""

    digest: str
    items: int
    cpus: int
    floor_ns: float | None
    timeout_seconds: float


@dataclass
class Sample:
    """One run of one arm."""

    arm: str
    round: int
    position: int
    reply: LaunchReply
    self_ns: int | None = None
    items: int | None = None
    digest: str | None = None
    flags: list[str] = field(default_factory=list)
    reason: str | None = None
    load: LoadReport | None = None

    @property
    def failed(self) -> bool:
        """True when the run ends its arm's verdict."""
        return not MARKS.issuperset(self.flags)

    @property
    def cpu_ns(self) -> int:
        """User plus system time."""
        return self.reply.user_ns + self.reply.sys_ns


def judge(arm: str, place: tuple[int, int], reply: LaunchReply, expected: Expected, *, counts_items: bool) -> Sample:
    """A sample with everything that is wrong with it; `place` is (round, position)."""
    sample = Sample(arm, *place, reply)
    if problem := ended_badly(reply, expected.timeout_seconds):
        sample.flags, sample.reason = ["failed"], problem
        return sample
    statistics = parse_statistics(reply.stdout)
    if statistics is None:
        sample.flags, sample.reason = ["failed"], "stdout is not the statistics block"
        return sample
    sample.self_ns, sample.items, sample.digest = statistics.self_ns, statistics.items, statistics.digest
    _judge_numbers(sample, expected, counts_items=counts_items)
    return sample


def _judge_numbers(sample: Sample, expected: Expected, *, counts_items: bool) -> None:
    wall_ns = sample.reply.wall_ns
    problems: list[tuple[str, str]] = []
    if sample.digest != expected.digest:
        problems.append(("wrong-digest", f"digest {sample.digest}, verified was {expected.digest}"))
    if counts_items and sample.items != expected.items:
        problems.append(("wrong-items", f"{sample.items} items, expected {expected.items}"))
    if sample.self_ns is not None and sample.self_ns > wall_ns:
        problems.append(("self-time", f"reports {sample.self_ns} ns, the outside clock says {wall_ns} ns"))
    if sample.cpu_ns > expected.cpus * wall_ns * CPU_SLACK + CLOCK_SLACK_NS:
        problems.append(("impossible", f"{sample.cpu_ns} ns of CPU time in {wall_ns} ns on {expected.cpus} cores"))
    if expected.floor_ns is not None and wall_ns < expected.floor_ns:
        problems.append(("impossible", f"{wall_ns} ns is below the floor of {expected.floor_ns:.0f} ns"))
    sample.flags = list(dict.fromkeys(flag for flag, _ in problems))
    sample.reason = "; ".join(text for _, text in problems) or None


def flag_noise(samples: list[Sample]) -> None:
    """Mark the runs of single-threaded work that were disturbed: wall over CPU time far above the arm's best."""
    ratios: dict[str, list[tuple[float, Sample]]] = defaultdict(list)
    for sample in samples:
        if not sample.failed and sample.cpu_ns > CLOCK_SLACK_NS:
            ratios[sample.arm].append((sample.reply.wall_ns / sample.cpu_ns, sample))
    for pairs in ratios.values():
        best = min(ratio for ratio, _ in pairs)
        for ratio, sample in pairs:
            if ratio > best * NOISY_FACTOR and "noisy" not in sample.flags:
                sample.flags.append("noisy")


def columns(samples: list[Sample], *, load: bool = False) -> dict[str, list[Any]]:
    """The samples as the result file keeps them: lists of equal length."""
    replies = [sample.reply for sample in samples]
    found: dict[str, list[Any]] = {
        "arm": [sample.arm for sample in samples],
        "round": [sample.round for sample in samples],
        "position": [sample.position for sample in samples],
        **{name: [getattr(reply, name) for reply in replies] for name in (
            "wall_ns", "user_ns", "sys_ns", "max_rss_bytes", "minor_faults", "major_faults",
            "voluntary_switches", "involuntary_switches",
        )},
        "exit_kind": [str(reply.kind) for reply in replies],
        "exit_code": [reply.code for reply in replies],
        "self_ns": [sample.self_ns for sample in samples],
        "items": [sample.items for sample in samples],
        "digest": [sample.digest for sample in samples],
        "steal_ns": [reply.steal_ticks * NS_PER_TICK for reply in replies],
        "pressure_ns": [(reply.psi_some_us or 0) * 1000 for reply in replies],
        "flags": [sample.flags for sample in samples],
    }  # fmt: skip
    return found | _load_columns(samples) if load else found


def _load_columns(samples: list[Sample]) -> dict[str, list[Any]]:
    """What only runs of a load generator have; nobody counted the faults and switches of the server meanwhile."""
    unknown = ("minor_faults", "major_faults", "voluntary_switches", "involuntary_switches")
    loads = [sample.load for sample in samples]
    names = ["offered", "mismatched", "errors", "dropped", "lag_p99_ns", "generator_cpu_ns"]
    if any(load is not None and load.messages is not None for load in loads):
        names += OF_A_CHAT
    return {
        **{name: [None] * len(samples) for name in unknown},
        **{name: [getattr(load, name) if load else None for load in loads] for name in names},
        **{f"latency_{name}_ns": [load.latency_ns.get(name) if load else None for load in loads] for name in QUANTILES},
    }
