"""Lanes whose truth is known, through the whole pipeline: built, verified, calibrated, timed in rounds, recorded.

Nothing here judges: the runs of every arm go into the record, and what they say is computed on reading.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tools import build, flow, temporary, workloads
from tools.errors import DeadheatError
from tools.measure import Progress
from tools.model import DATA, Project
from tools.runners.base import Runner
from tools.runners.host import HostRunner
from tools.selftest import spinner
from tools.selftest.workbench import Workbench, loads

REFERENCE = "base"
TWINS = {"twin-1": 0, "twin-2": 0, "twin-3": 0}
SLOWED = {"plus-0": 0, "plus-3": 30, "plus-15": 150, "plus-150": 1500}
"""Lanes and their injected work in thousandths."""
BUDGET_SECONDS = 40.0
"""For the rounds of one benchmark: a loaded machine needs more rounds, but not for ever."""
RIVAL = "hyperfine"
HYPERFINE_RUNS = 12
"""As many as the least number of rounds."""

Say = Callable[[str], None]


def same(count: int, options: flow.Options, say: Say, runner: Runner | None = None) -> list[dict[str, Any]]:
    """A/A: benchmarks of three identical lanes."""
    found = []
    with temporary.folder("selftest") as folder:
        project = spinner.make(folder, TWINS)
        for number in range(1, count + 1):
            say(f"same       benchmark {number} of {count}")
            found.append(benchmark(project, runner or HostRunner(), options, TWINS))
    return found


def slowed(
    counts: Mapping[str, int], options: flow.Options, bench: Workbench, say: Say, absent: dict[str, str]
) -> list[dict[str, Any]]:
    """A/B: benchmarks of slowed lanes, with nothing and with something beside them; also under hyperfine."""
    found = []
    project = spinner.make(bench.folder, {REFERENCE: 0, **SLOWED})
    for load in loads():
        taken = []
        for number in range(1, counts.get(load.name, 0) + 1):
            say(f"slowed     load {load.name}: benchmark {number} of {counts[load.name]}")
            with bench.background(load):
                one = benchmark(project, HostRunner(), options, SLOWED)
                one["hyperfine_ns"] = _rival(project, one["repeats"], bench, absent)
            taken.append(one)
        if taken:
            found.append({"load": load.name, "benchmarks": taken})
    return found


def benchmark(
    project: Project, runner: Runner, options: flow.Options, extra_permille: Mapping[str, int]
) -> dict[str, Any]:
    """One benchmark as the record keeps it."""
    try:
        content = flow.bench(project, runner, options, _silent, _unseen)
    except DeadheatError as error:
        return _empty(str(error), extra_permille)
    return observed(content, extra_permille)


def observed(content: Mapping[str, Any], extra_permille: Mapping[str, int]) -> dict[str, Any]:
    """What the record keeps of a result: the wall times of every arm, round by round."""
    case, plan = content["cases"][0], content["plan"]
    states = case["states"].items()
    bad = [f"{arm}: {one['state']}: {one['reason']}" for arm, one in states if one["state"] != "measured"]
    if bad:
        return _empty("; ".join(bad), extra_permille)
    samples = case["samples"]
    null = f"{plan['reference']}-{flow.NULL_SUFFIX}"
    walls: dict[str, list[int]] = {}
    for arm, wall_ns in zip(samples["arm"], samples["wall_ns"], strict=True):
        walls.setdefault("null" if arm == null else arm, []).append(wall_ns)
    total_ns = sum(samples["wall_ns"]) * content["environment"]["cpus"]
    return {
        **_empty(None, extra_permille),
        "reference": plan["reference"],
        "alpha": plan["alpha"],
        "claims": plan["claims"],
        "stop": case["stop"],
        "steal_share": sum(samples["steal_ns"]) / total_ns,
        "noisy_runs": sum("noisy" in flags for flags in samples["flags"]),
        "walls_ns": walls,
        "repeats": case["repeats"],
    }


def _empty(failed: str | None, extra_permille: Mapping[str, int]) -> dict[str, Any]:
    """A benchmark without runs."""
    return {
        "failed": failed and failed[:1000],
        "reference": REFERENCE,
        "alpha": 0.05,
        "claims": 1,
        "stop": "failed",
        "steal_share": 0.0,
        "noisy_runs": 0,
        "truth": {lane: round(1 + extra / 1000, 3) for lane, extra in extra_permille.items()},
        "walls_ns": {},
        "hyperfine_ns": None,
        "repeats": 0,
    }


def _rival(project: Project, repeats: int, bench: Workbench, absent: dict[str, str]) -> dict[str, list[float]] | None:
    """The same programs with the same repeats under hyperfine; once it is known to be absent, nobody asks again."""
    if repeats == 0 or RIVAL in absent:
        return None
    try:
        return bench.hyperfine_ns(commands(project, repeats, HostRunner()), HYPERFINE_RUNS)
    except DeadheatError as error:
        absent[RIVAL] = str(error)
        return None


def commands(project: Project, repeats: int, runner: Runner) -> dict[str, str]:
    """The command line of every lane, as it was timed."""
    data = workloads.prepare(project, "bench").folder
    args = [word.replace(DATA, str(data)) for word in project.cases[0].args]
    found = {}
    for name, lane in project.lanes.items():
        built = build.build(runner, build.source_of(project, lane)).built
        assert built is not None  # noqa: S101 - it was timed just now
        assert built.binary is not None  # noqa: S101 - a compiled lane
        found[name] = shlex.join([str(Path(built.binary)), *args, "--repeats", str(repeats)])
    return found


def _silent(text: str) -> None:
    """The pipeline's own lines are not shown."""


def _unseen(progress: Progress) -> None:
    """Nor is its progress."""
