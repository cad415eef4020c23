"""The flow of DESIGN section 2, as one visible list of steps: build, verify, measure, record.

Everything here orders the other modules; none of it compiles, measures or computes statistics itself.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tools import assemble, build, environment, interview, services, terminal, verify, workloads
from tools.errors import BuildError, UsageError, VerifyError
from tools.launcher.protocol import LaunchReply
from tools.loads import OWN, TOOLS
from tools.measure import Arm, Bench, CaseRun, Progress, Settings
from tools.model import Case, Lane, Packages, Peer, Project
from tools.runners.base import Arena, Built, Program, Run, Runner, Source
from tools.serving import LoadBench
from tools.soaking import SoakBench

STARTUP_RUNS = 11
INTERVIEW_PROCESSES = 256
"""An oracle of servers starts reference servers and clients beside the lane."""
NULL_SUFFIX = "null"


@dataclass(frozen=True)
class Options:
    """What a person may choose on the command line."""

    lanes: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    peers: bool = True
    workload: str = "bench"
    rounds: int | None = None
    budget_seconds: float | None = None
    """Hard where it is given; else a quarter of an hour, or what the least rounds for an interval take."""
    min_run_seconds: float = 0.5
    seed: int | None = None
    soak: bool = False
    """One long run of each program instead of rounds, in the cases that ask for it."""
    soak_seconds: float | None = None
    """Instead of what the cases say."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Lane -> the older lane that it races against, where only these pairs are claims (`tools.baseline`)."""


@dataclass
class Contender:
    """A lane or peer on its way through the flow."""

    source: Lane | Peer
    attempt: build.Attempt
    verification: verify.Verification | None = None
    startup_ns: list[int] = field(default_factory=list)
    image_bytes: int | None = None
    image_digest: str | None = None

    @property
    def name(self) -> str:
        """The arm's name."""
        return self.source.name

    @property
    def ready(self) -> bool:
        """True when it may be timed."""
        return self.attempt.built is not None and self.verification is not None and self.verification.passed

    @property
    def counts_items(self) -> bool:
        """False for peers that cannot count."""
        return not isinstance(self.source, Peer) or self.source.counts_items


@dataclass
class Benchmark:
    """Everything that one benchmark of one project found."""

    project: Project
    runner: Runner
    settings: Settings
    options: Options
    contenders: list[Contender]
    claims: int = 1
    reference: str = ""
    prepared: workloads.Prepared | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    runs: list[CaseRun] = field(default_factory=list)


Say = Callable[[str], None]


def bench(
    project: Project, runner: Runner, options: Options, say: Say, progress: Callable[[Progress], None]
) -> dict[str, Any]:
    """Build, verify and measure one project; the content of its result file.

    Raises:
        VerifyError: no lane is left that could be measured.
    """
    chosen_cases(project, options)
    contenders = build_all(project, runner, options, say, times=True)
    verify_all(project, runner, contenders, say)
    done = Benchmark(project, runner, _settings(options), options, contenders)
    if not any(one.ready and isinstance(one.source, Lane) for one in contenders):
        raise VerifyError(f"{project.slug}: no lane passed, nothing was measured")
    measure_all(done, say, progress)
    return assemble.result(done)


def verify_only(project: Project, runner: Runner, options: Options, say: Say) -> bool:
    """Build and verify one project; True when every chosen lane and peer passed."""
    contenders = build_all(project, runner, options, say)
    verify_all(project, runner, contenders, say)
    return all(one.ready for one in contenders)


def sources_of(project: Project, options: Options) -> list[Source]:
    """What the chosen lanes and the peers are built from."""
    return [build.source_of(project, arm) for arm in chosen(project, options)]


def packages_of(project: Project, options: Options) -> list[str]:
    """Debian packages that verifying and measuring need beside those of the sources: oracle, services, generators."""
    loads = [TOOLS[case.load.tool].PACKAGES for case in project.cases if case.load is not None]
    served = [arm.service.packages for arm in chosen(project, options) if isinstance(arm, Peer) and arm.service]
    needed = [project.oracle_packages, *(service.packages for service in project.services), *loads, *served]
    return [name for packages in needed for name in packages.apt]


def build_all(project: Project, runner: Runner, options: Options, say: Say, *, times: bool = False) -> list[Contender]:
    """Build the chosen lanes and the peers; failures are kept as such."""
    found = []
    for arm in chosen(project, options):
        start = time.monotonic()
        attempt = build.build(runner, build.source_of(project, arm), times=times)
        how = "cached" if attempt.cached else f"{time.monotonic() - start:.1f} s"
        became = f"ok, {how}" if attempt.built else f"FAILED: {attempt.reason}"
        say(f"build   {project.slug}/{arm.name}@{runner.name}: {became}")
        if attempt.log:
            say(terminal.folded(f"log of {project.slug}/{arm.name}", attempt.log.rstrip()))
        found.append(Contender(arm, attempt))
    return found


def verify_all(project: Project, runner: Runner, contenders: Sequence[Contender], say: Say) -> None:
    """Ask every program everything that the oracle knows, in the arena in which it will be timed."""
    prepared = workloads.prepare(project, "verify")
    checks = workloads.checks(project, prepared)
    programs = [Program(one.name, one.attempt.built) for one in contenders if one.attempt.built]
    if project.server is not None:
        _interview_all(project, runner, contenders, prepared)
    with (
        runner.arena([*_toolbox(project, runner), *programs], prepared.folder, project.limits) as arena,
        services.all_services(arena, project),
    ):
        for one in contenders:
            if one.attempt.built is None:
                continue
            source = one.attempt.source
            heard = one.verification
            one.verification = verify.verify(arena, source, project, checks, counts_items=one.counts_items)
            if heard is not None:
                one.verification.add(heard)
        _verify_loads(project, arena, prepared.workload.name, contenders)
    for one in contenders:
        if one.attempt.built is not None:
            say(_verdict_line(project, runner, one))


def _interview_all(
    project: Project, runner: Runner, contenders: Sequence[Contender], prepared: workloads.Prepared
) -> None:
    """The oracle of servers, as many lanes at once as there are cores, each in a sandbox with the reference servers."""
    limits = replace(project.limits, processes=max(project.limits.processes, INTERVIEW_PROCESSES))
    lanes = [(one, one.attempt.built) for one in contenders if one.attempt.built and isinstance(one.source, Lane)]
    at_once = len(os.sched_getaffinity(0))
    for first in range(0, len(lanes), at_once):
        with ExitStack() as stack:
            begun = []
            for one, built in lanes[first : first + at_once]:
                program = interview.program(Program(one.name, built), project)
                arena = stack.enter_context(runner.arena([program], prepared.folder, limits))
                begun.append((one, interview.Interview(arena, one.attempt.source, project)))
            for one, asked in begun:
                one.verification = asked.hear()


def _verify_loads(project: Project, arena: Arena, workload: str, contenders: Sequence[Contender]) -> None:
    """Every declared case of servers: all replies of its script are compared, for lanes and peers alike."""
    cases = [case for case in project.cases if case.load is not None and workload in case.workloads]
    if not cases:
        return
    peers = {name: peer for name, peer in project.peers.items() if peer.service}
    for one in contenders:
        if one.attempt.built is None or one.verification is None:
            continue
        bench_one = LoadBench(arena, project, Settings(seed=0), 1, None, _quiet, peers=peers)
        for case in cases:
            if one.name not in case.without:
                one.verification.checks += 1
                if problem := bench_one.problem(case, Arm(one.name, "lane")):
                    one.verification.failures.append((case.name, problem))


def _quiet(progress: Progress) -> None:
    """Verification shows no progress line."""


def _toolbox(project: Project, runner: Runner) -> list[Program]:
    """Services and load generators of a project, as more programs; nothing for batch projects.

    Raises:
        BuildError: a load generator of ours does not build.
    """
    loads = [case.load for case in project.cases if case.load is not None]
    if not loads and not project.services:
        return []
    names = {"pace", *(load.tool for load in loads if load.tool in OWN)}
    arms = {name: Program(OWN[name].ARM, _generator(runner, name), cores="beside") for name in sorted(names)}
    needed = [service.packages for service in project.services] + [TOOLS[load.tool].PACKAGES for load in loads]
    apt = tuple(name for packages in needed for name in packages.apt)
    pip = tuple(name for packages in needed for name in packages.pip)
    arms["pace"] = replace(arms["pace"], packages=Packages(apt, pip))
    return list(arms.values())


def _generator(runner: Runner, name: str) -> Built:
    """One of our own load generators.

    Raises:
        BuildError: it does not build.
    """
    attempt = build.build(runner, build.tool(name, OWN[name].FOLDER, "rust"))
    if attempt.built is None:
        raise BuildError(f"the load generator does not build: {attempt.reason}", remedy=attempt.log.strip() or None)
    return attempt.built


def measure_all(done: Benchmark, say: Say, progress: Callable[[Progress], None]) -> None:
    """Verify the workload's cases, time start-up, then measure case after case within the budget."""
    project, options = done.project, done.options
    done.prepared = workloads.prepare(project, options.workload)
    known = [*workloads.checks(project, done.prepared), *workloads.load_checks(project, done.prepared)]
    checks = {one.name: one for one in known if one.declared}
    peers = {name: peer for name, peer in project.peers.items() if peer.service}
    cases = [case for case in chosen_cases(project, options) if case.name in checks]
    ready = [one for one in done.contenders if one.ready]
    programs, arms = _line_up(ready, options.beside, null=not options.soak)
    done.claims = len(cases) * _claims(arms, options.beside)
    done.reference = arms[0].name
    programs = [*_toolbox(project, done.runner), *programs]
    with (
        done.runner.arena(programs, done.prepared.folder, project.limits) as arena,
        services.all_services(arena, project),
    ):
        _check_workload(done, arena, [checks[case.name] for case in cases if case.load is None], say)
        arms = [_timed_startup(arena, arm, ready) for arm in arms if _still_ready(arm, ready)]
        done.environment = environment.describe(done.runner, arena.isolation)
        bandwidth = done.environment["memory_bandwidth_bytes_per_second"]
        settings = replace(done.settings, cpus=_cpus(done))
        bench_one = Bench(arena, project, settings, done.claims, bandwidth, progress)
        kind = partial(SoakBench, seconds=options.soak_seconds) if options.soak else LoadBench
        load_one = kind(arena, project, settings, done.claims, bandwidth, progress, peers=peers)
        end = time.monotonic() + done.settings.budget_seconds
        for index, case in enumerate(cases):
            share = max(0.0, end - time.monotonic()) / (len(cases) - index)
            asked = load_one if case.load is not None else bench_one
            done.runs.append(asked.measure(case, checks[case.name], arms, time.monotonic() + share))
        for one in ready:
            one.image_bytes, one.image_digest = arena.image_bytes(one.name), arena.image_digest(one.name)


def chosen(project: Project, options: Options) -> list[Lane | Peer]:
    """The lanes that were asked for, in the project's order, then the peers."""
    if unknown := set(options.lanes) - project.lanes.keys() - {lane.language for lane in project.lanes.values()}:
        raise UsageError(
            f"{project.alias} has no lane {', '.join(sorted(unknown))}", remedy="known: " + ", ".join(project.lanes)
        )
    lanes = [
        lane for lane in project.lanes.values()
        if not options.lanes or lane.name in options.lanes or lane.language in options.lanes
    ]  # fmt: skip
    return [*lanes, *(project.peers.values() if options.peers else ())]


def chosen_cases(project: Project, options: Options) -> list[Case]:
    """The cases of the workload that were asked for, all unless some are named.

    Raises:
        UsageError: a case is unknown, or takes its rate from one that was not asked for.
    """
    possible = [case for case in project.cases if case.soak or not options.soak]
    known = {case.name: case for case in possible if options.workload in case.workloads}
    if unknown := set(options.cases) - known.keys():
        missing = ", ".join(sorted(unknown))
        raise UsageError(f"{project.alias} has no such case: {missing}", remedy="known: " + ", ".join(known))
    found = [case for name, case in known.items() if not options.cases or name in options.cases]
    for case in found:
        of = case.load.rate.of if case.load and case.load.rate else None
        if of and options.cases and of not in options.cases:
            raise UsageError(
                f"{project.alias}: {case.name} takes its rate from what {of} reaches",
                remedy=f"--cases {of},{case.name}",
            )
    return found


def _settings(options: Options) -> Settings:
    seed = options.seed if options.seed is not None else secrets.randbelow(1 << 32)
    base = Settings(seed=seed, min_run_seconds=options.min_run_seconds, budget_is_hard=False)
    if options.budget_seconds is not None:
        base = replace(base, budget_seconds=options.budget_seconds, budget_is_hard=True)
    if options.soak:
        return replace(base, rounds_min=1, rounds_max=1)
    if options.rounds is None:
        return base
    return replace(base, rounds_min=min(base.rounds_min, options.rounds), rounds_max=options.rounds)


def _claims(arms: Sequence[Arm], beside: Mapping[str, str]) -> int:
    """How many ratios of a case are claims: every pair of lanes, every lane with every peer; or only these pairs."""
    lanes = sum(arm.role == "lane" for arm in arms)
    return max(1, len(beside) or math.comb(lanes, 2) + lanes * (len(arms) - lanes - 1))


def _line_up(ready: Sequence[Contender], beside: Mapping[str, str], *, null: bool) -> tuple[list[Program], list[Arm]]:
    """Lanes first (the first is the reference), the null arm behind its lane, then the peers."""
    others = {**beside, **{older: lane for lane, older in beside.items()}}
    programs, arms = [], []
    for one in ready:
        assert one.attempt.built is not None  # noqa: S101 - `ready` says so
        role = "lane" if isinstance(one.source, Lane) else "peer"
        programs.append(Program(one.name, one.attempt.built))
        arms.append(Arm(one.name, role, counts_items=one.counts_items, beside=others.get(one.name)))
        if null and len(arms) == 1:
            programs.append(Program(f"{one.name}-{NULL_SUFFIX}", one.attempt.built))
            arms.append(Arm(f"{one.name}-{NULL_SUFFIX}", "null", of=one.name))
    return programs, arms


def _check_workload(done: Benchmark, arena: Arena, checks: list[workloads.Check], say: Say) -> None:
    """The answers on the workload that will be timed: digest, count and bytes of every case."""
    for one in done.contenders:
        if one.ready and one.verification is not None:
            found = verify.answers(arena, one.attempt.source, done.project, checks, counts_items=one.counts_items)
            one.verification.checks += found.checks
            one.verification.failures += found.failures
            if found.failures:
                say(_verdict_line(done.project, done.runner, one))


def _still_ready(arm: Arm, ready: Sequence[Contender]) -> bool:
    return any(one.ready and one.name in {arm.name, arm.of} for one in ready)


def _timed_startup(arena: Arena, arm: Arm, ready: Sequence[Contender]) -> Arm:
    """The arm with the median time of doing nothing (`--version`), which is reported and never subtracted."""
    if any(one.name == arm.name and isinstance(one.source, Peer) and one.source.service for one in ready):
        return arm  # a packaged server has its own idea of a version
    replies: list[LaunchReply] = [arena.run(Run(arm.name, ("--version",), 60.0)) for _ in range(STARTUP_RUNS)]
    times = sorted(reply.wall_ns for reply in replies)
    for one in ready:
        if one.name == arm.name:
            one.startup_ns = [reply.wall_ns for reply in replies]
    return replace(arm, startup_ns=times[len(times) // 2])


def _cpus(done: Benchmark) -> int:
    pinned = done.environment["pinned_cpus"]
    return len(pinned) or int(done.environment["cpus"])


def _verdict_line(project: Project, runner: Runner, one: Contender) -> str:
    found = one.verification
    name = f"{project.slug}/{one.name}@{runner.name}"
    if found is None:
        return f"verify  {name}: not run"
    if found.passed:
        return f"verify  {name}: ok, {found.checks} checks, {found.bad_inputs} bad inputs"
    lines = [f"verify  {name}: FAILED {len(found.failures)} of {found.checks + found.bad_inputs} checks"]
    lines += [f"        {check}: {reason}" for check, reason in found.failures[:5]]
    return "\n".join(lines)
