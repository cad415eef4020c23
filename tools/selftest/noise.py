"""Is this machine quiet enough to measure? One short benchmark of identical lanes tells (`invoke doctor --noise`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools import flow, schedule, selftest_record, stats, temporary
from tools.errors import RunnerError
from tools.runners.base import Runner
from tools.runners.host import HostRunner
from tools.selftest import spinner, verdicts
from tools.stats import Noise

TWINS = {"twin-1": 0, "twin-2": 0}
RUN_SECONDS = 0.5
"""As real benchmarks: with their null arm, two lanes take about half a minute."""
BUDGET_SECONDS = 40.0
DISTURBED_SHARE = 0.1
"""More disturbed runs than this, and the machine is not quiet even if their median still is."""
TENANT = "another tenant takes the CPU: measure at another hour, or on a machine of your own"
BUSY = "runs had to wait for the CPU: stop other programs (`top` shows them), leave the last core to the lanes"
SPEED = "the CPU changes its speed: cpupower frequency-set -g performance, turbo off, a cool machine"


@dataclass(frozen=True)
class Fitness:
    """quiet, usable or noisy; what was seen; what to do about it."""

    level: Noise
    text: str
    remedy: str


def observe(runner: Runner | None = None) -> dict[str, Any]:
    """One benchmark of two identical lanes."""
    options = flow.Options(min_run_seconds=RUN_SECONDS, budget_seconds=BUDGET_SECONDS, peers=False)
    with temporary.folder("selftest") as folder:
        return verdicts.benchmark(spinner.make(folder, TWINS), runner or HostRunner(), options, TWINS)


def judge(benchmark: Mapping[str, Any]) -> Fitness:
    """What the benchmark says of the machine.

    Raises:
        RunnerError: nothing could be measured.
    """
    if benchmark["failed"] is not None:
        raise RunnerError(f"the noise could not be measured: {benchmark['failed']}")
    null = selftest_record.null_arm(benchmark)
    twins, verdict = selftest_record.compared(benchmark, *TWINS)
    walls = benchmark["walls_ns"].values()
    disturbed = benchmark["noisy_runs"] / sum(map(len, walls))
    stolen = benchmark["steal_share"]
    level = _level(null.noise, twins, benchmark, disturbed)
    text = (
        f"{level}: null arm {null.ratio:.3f} [{null.low:.3f}, {null.high:.3f}], identical lanes {twins.ratio:.3f} "
        f"({verdict}), {twins.rounds} rounds, {disturbed:.0%} of the runs disturbed, steal {stolen:.1%}"
    )
    return Fitness(level, text, "" if level is Noise.QUIET else _remedy(stolen, disturbed))


def _level(null: Noise, twins: stats.Ratio, benchmark: Mapping[str, Any], disturbed: float) -> Noise:
    """The null arm decides; a stolen CPU, or a pair that stays vague after all rounds, is noisy whatever it says."""
    vague = benchmark["stop"] != schedule.Stop.PRECISE or not stats.half_width_ok(twins)
    if null is Noise.NOISY or vague or benchmark["steal_share"] > stats.STEAL_LIMIT:
        return Noise.NOISY
    return Noise.USABLE if null is Noise.USABLE or twins.two_regimes or disturbed > DISTURBED_SHARE else Noise.QUIET


def _remedy(stolen: float, disturbed: float) -> str:
    """The likeliest cause, by what the runs themselves show."""
    if stolen > stats.STEAL_LIMIT:
        return TENANT
    return BUSY if disturbed > DISTURBED_SHARE else SPEED
