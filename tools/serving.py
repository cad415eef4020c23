"""Measure a case of servers: all arms run at once, idle but for the one under load, in balanced order.

The steps and their reasons are in MEASURING 12. Every server gets the same: a fresh process, the preparation, one pass
of the whole script in which every reply is compared, a settling load, then one load run a round. A server answers on
the core of the lanes, the generator works beside it. Capacity comes from a closed loop, latency only from an open one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from tools import services, stats
from tools.errors import RunnerError, ServiceError
from tools.launcher.protocol import Kind, LaunchReply, Usage
from tools.loads import TOOLS, Asked, LoadReport, Tool, comparing
from tools.measure import Arm, Bench, CaseRun, Progress
from tools.model import Case, Load, Peer, Service
from tools.runners.base import TOOLBOX, Run
from tools.samples import Expected, Sample
from tools.services import Running
from tools.workloads import Check

GRACE_SECONDS = 30.0
RATE_REACHED = 0.99
LAG_LIMIT_NS, LAG_SHARE = 1_000_000, 0.05
GENERATOR_SHARE = 0.70
"""Of its core; MEASURING 12. A closed loop may use more, as long as the server is the one that is busy."""
SERVER_BUSY = 0.90
REACHED_P99_NS = 100_000_000
"""A step of saturation is reached when nearly everything came, and in time."""
DISTURBED_SHARE = 0.25
"""An arm of which more rounds than this had a generator that was too slow has no latency."""


def asked_of(case: Case, arm: str, address: str, rate: float | None, data: str) -> Asked:
    """What the generator does to this arm; a peer may speak another protocol."""
    load = load_of(case)
    protocol, _, script = load.scripts.get(arm, (load.protocol, load.prepare, load.script))
    return Asked(
        address=address,
        protocol=protocol,
        script=script.replace("{data}", data),
        path=load.path,
        connections=load.connections,
        pipeline=load.pipeline,
        seconds=load.measure_seconds,
        rate_per_second=rate,
    )


def load_of(case: Case) -> Load:
    """The load of a case that has one."""
    assert case.load is not None  # noqa: S101 - only such cases come here
    return case.load


@dataclass
class LoadBench(Bench):
    """The measuring of one case of servers, step by step."""

    peers: dict[str, Peer] = field(default_factory=dict)
    capacities: dict[str, dict[str, float]] = field(default_factory=dict)
    """Case -> lane -> requests a second, of the closed loops measured so far."""
    rate: float | None = None
    digest: str = ""
    servers: dict[str, Running] = field(default_factory=dict)

    def measure(self, case: Case, check: Check, arms: list[Arm], deadline: float) -> CaseRun:
        """Start the servers, prepare, check, settle, then rounds until precise; stop the servers."""
        run = CaseRun(case, check)
        for arm in arms:
            if reason := case.without.get(arm.name):
                run.states[arm.name] = ("excluded", reason)
        self.rate = run.rate = self._rate(case)
        self.digest = check.digest()
        rng = random.Random(f"{self.settings.seed}/{case.name}")  # noqa: S311 - an order, not a secret
        with ExitStack() as stack:
            self.servers = {}
            for arm in run.alive(arms):
                self._start(run, arm, stack)
            for arm in run.alive(arms):
                self._settle(run, arm)
            self._round(run, run.alive(arms), list(range(len(run.alive(arms)))), rng, run.warmups, 0)
            self._rounds(run, arms, rng, deadline)
            for arm in arms:
                self._stop(run, arm)
        self._judge_generator(run, arms)
        sampled = {sample.arm for sample in run.samples}
        for arm in run.alive(arms):
            run.states[arm.name] = (
                ("measured", None) if arm.name in sampled else ("not-run", "no lane was left to race")
            )
        self._remember_capacity(run, arms)
        return run

    def _rate(self, case: Case) -> float | None:
        """Requests a second of an open loop; None for a closed one.

        Raises:
            ServiceError: the case whose capacity it depends on measured none.
        """
        asked = load_of(case).rate
        if asked is None or asked.per_second is not None:
            return asked.per_second if asked else None
        found = self.capacities.get(asked.of or "")
        if not found:
            raise ServiceError(f"{case.name}: no capacity of {asked.of} to take a share of", remedy="measure it too")
        return float(f"{min(found.values()) * (asked.share or 1.0):.3g}")

    def _start(self, run: CaseRun, arm: Arm, stack: ExitStack) -> None:
        """A server that does not get ready loses its verdict; the others go on."""
        peer = self.peers.get(arm.name)
        try:
            if peer is not None and peer.service is not None:
                service: Service = replace(peer.service, name=arm.name)
                extra = run.case.peer_args.get(arm.name, ())
                found = stack.enter_context(services.running(self.arena, arm.name, service, self.project, extra))
            else:
                found = stack.enter_context(services.lane(self.arena, arm.name, self.project, run.case.args))
        except RunnerError as error:
            run.fail(arm.name, "run-failed", error.message)
            return
        self.servers[arm.name] = found

    def _settle(self, run: CaseRun, arm: Arm) -> None:
        """Prepare, compare every reply of the script once, and run the load for a while without counting."""
        load = load_of(run.case)
        self.report(Progress(run.case.name, "settle", len(self.servers), len(self.servers)))
        if problem := replies_wrong(self, run.case, arm.name, self.servers[arm.name]):
            run.fail(arm.name, "run-failed", problem)
        elif load.settle_seconds:
            self._load(run.case, arm.name, load.settle_seconds)

    def _load(self, case: Case, arm: str, seconds: float) -> tuple[LaunchReply, LoadReport | str]:
        """One run of the generator: how it ended, and its report or what is wrong with it."""
        tool = TOOLS[load_of(case).tool]
        data = self.arena.places(TOOLBOX).data
        asked = replace(asked_of(case, arm, self.servers[arm].address, self.rate, data), seconds=seconds)
        words = tool.command(asked)
        reply = self.arena.run(Run(tool.ARM, words[1:], seconds + GRACE_SECONDS, command=words[:1]))
        return reply, understood(tool, reply)

    def _expected(self, run: CaseRun, repeats: int) -> Expected:
        """A load run has no number of items that is right, only replies that are."""
        del run, repeats
        return Expected(self.digest, 0, self.settings.cpus, None, self.project.limits.timeout_seconds)

    def _sample(
        self, run: CaseRun, arm: Arm, expected: Expected, repeats: int, padding: int, place: tuple[int, int]
    ) -> Sample:
        """One load run against one server, with what the server used meanwhile."""
        del expected, repeats, padding
        server = self.servers[arm.name]
        try:
            before = server.usage()
            reply, found = self._load(run.case, arm.name, load_of(run.case).measure_seconds)
            after = server.usage()
        except RunnerError as error:
            ended = services.why(server.stop()) if server.name in self.servers else error.message
            sample = Sample(arm.name, *place, _nothing(), flags=["failed"], reason=f"the server ended: {ended}")
            run.fail(arm.name, "run-failed", sample.reason or "")
            return sample
        sample = judged(arm.name, place, (reply, before, after), found, load_of(run.case), self.rate)
        if not sample.failed:
            sample.digest = self.digest
        else:
            run.fail(arm.name, "run-failed", f"{sample.reason}")
        return sample

    def _stop(self, run: CaseRun, arm: Arm) -> None:
        """A lane drains on SIGTERM and ends with exit code 0, alone."""
        server = self.servers.get(arm.name)
        if server is None:
            return
        reply = server.stop()
        if arm.name not in self.peers and arm in run.alive([arm]) and not reply.ok:
            run.fail(arm.name, "run-failed", f"after SIGTERM: {services.why(reply)}")

    def _judge_generator(self, run: CaseRun, arms: list[Arm]) -> None:
        """Latencies that the generator itself made are no latencies of the server."""
        if self.rate is None and not load_of(run.case).by_the_clock:
            return
        for arm in run.alive(arms):
            if reason := generator_at_fault([sample for sample in run.samples if sample.arm == arm.name]):
                run.fail(arm.name, "load-invalid", reason)

    def _remember_capacity(self, run: CaseRun, arms: list[Arm]) -> None:
        if self.rate is not None or load_of(run.case).by_the_clock:
            return
        lanes = {arm.name for arm in run.alive(arms) if arm.role == "lane"}
        rates = {lane: [_per_second(one) for one in run.samples if one.arm == lane] for lane in lanes}
        self.capacities[run.case.name] = {lane: stats.median(found) for lane, found in rates.items() if found}

    def problem(self, case: Case, arm: Arm) -> str | None:
        """What is wrong with the replies to the script of a case, from a fresh server; None if nothing is."""
        run = CaseRun(case, Check(case.name, case.args))
        with ExitStack() as stack:
            self.servers = {}
            self._start(run, arm, stack)
            if arm.name in self.servers:
                if found := replies_wrong(self, case, arm.name, self.servers[arm.name]):
                    return found
                self._stop(run, arm)
        return run.states.get(arm.name, ("", None))[1]

    def value(self, run: CaseRun, sample: Sample) -> float:
        """What the verdict of this case rests on."""
        metric = run.case.measures(self.project.metric.name)
        report = sample.load
        if report is None:
            return 0.0
        if metric == "latency_p99_ns":
            return float(report.latency_ns.get("p99") or 0)
        return (sample.cpu_ns if metric == "cpu_ns_per_item" else sample.reply.wall_ns) / max(1, report.completed)


def generator_at_fault(samples: Sequence[Sample]) -> str | None:
    """Why the runs of one arm say more of the generator than of the server; None while few of them do."""
    late = [sample for sample in samples if {"generator-lag", "generator-busy"} & set(sample.flags)]
    if len(late) <= DISTURBED_SHARE * len(samples):
        return None
    return f"{late[0].reason}; so in {len(late)} of {len(samples)} rounds"


def understood(tool: Tool, reply: LaunchReply) -> LoadReport | str:
    """What a load generator said, or what is wrong with it."""
    if not reply.ok:
        return f"the load generator failed: {services.why(reply)}"
    try:
        return tool.parse(reply.stdout)
    except ValueError as error:
        return str(error)


def replies_wrong(bench: LoadBench, case: Case, arm: str, server: Running) -> str | None:
    """Send the preparation and the script once, comparing every reply; what was wrong, or None."""
    load = load_of(case)
    protocol, prepare, script = load.scripts.get(arm, (load.protocol, load.prepare, load.script))
    if protocol == "dns":
        return None  # the project's oracle compares answers; dnsperf only counts their codes
    tool, data = comparing(load.tool), bench.arena.places(TOOLBOX).data
    for name in filter(None, (prepare, script)):
        asked = replace(asked_of(case, arm, server.address, None, data), script=name.replace("{data}", data))
        words = tool.once(replace(asked, protocol=protocol))
        reply = bench.arena.run(Run(tool.ARM, words[1:], bench.project.limits.timeout_seconds, command=words[:1]))
        found = understood(tool, reply)
        if isinstance(found, str):
            return f"{name}: {found}"
        if found.mismatched or found.errors or found.dropped:
            return (
                f"{name}: {found.mismatched} wrong replies, {found.errors} errors, {found.dropped} without reply"
                f" of {found.offered}: {found.first_error}"
            )
    return None


def judged(
    arm: str,
    place: tuple[int, int],
    seen: tuple[LaunchReply, Usage, Usage],
    found: LoadReport | str,
    load: Load,
    rate: float | None,
) -> Sample:
    """A load run with everything that is wrong with it; times are the server's own."""
    reply, before, after = seen
    user_ns, sys_ns = after.user_ns - before.user_ns, after.sys_ns - before.sys_ns
    server = replace(reply, user_ns=user_ns, sys_ns=sys_ns, max_rss_bytes=after.peak_rss_bytes)
    if isinstance(found, str):
        return Sample(arm, *place, server, flags=["failed"], reason=found)
    sample = Sample(arm, *place, replace(server, wall_ns=found.wall_ns), items=found.completed, load=found)
    timed = rate is not None or load.by_the_clock
    missed = _missed(sample, found, load, rate)
    problems = [*_wrong(found, load), *missed, *_behind(found, load), *_late(sample, found, timed=timed)]
    sample.flags = list(dict.fromkeys(flag for flag, _ in problems))
    sample.reason = "; ".join(text for _, text in problems) or None
    return sample


def _wrong(found: LoadReport, load: Load) -> list[tuple[str, str]]:
    """What takes the verdict away from a server: wrong replies and errors."""
    problems = []
    if found.mismatched:
        problems.append(("wrong-replies", f"{found.mismatched} of {found.offered} replies were wrong"))
    lost = found.errors + (0 if load.saturates else found.dropped)
    if lost > load.error_budget * found.offered or not found.completed:
        what = "deliveries" if load.tool == "rooms" else "requests"
        problems.append(("load-errors", f"{lost} of {found.offered} {what} failed: {found.first_error}"))
    return problems


def _missed(sample: Sample, found: LoadReport, load: Load, rate: float | None) -> list[tuple[str, str]]:
    """A rate that a server could not keep up with; or that was never sent, although the server had time for it."""
    asked = (rate or 0) * load.measure_seconds
    if found.completed >= RATE_REACHED * asked:
        return []
    idle = sample.cpu_ns < SERVER_BUSY * found.wall_ns
    if found.completed == found.offered and idle:
        return [("generator-lag", f"the generator sent {found.offered} of {asked:.0f} requests, and all were answered")]
    return [("rate-missed", f"{found.completed} answers in {load.measure_seconds:g} s at {rate:g}/s")]


def _behind(found: LoadReport, load: Load) -> list[tuple[str, str]]:
    """Whether a step of saturation was too much: the deliveries a second still count."""
    p99_ns = found.latency_ns.get("p99") or 0
    if not load.saturates or (found.completed >= RATE_REACHED * found.offered and p99_ns < REACHED_P99_NS):
        return []
    return [("saturated", f"{found.completed} of {found.offered} deliveries came, p99 {p99_ns / 1e6:.0f} ms")]


def _late(sample: Sample, found: LoadReport, *, timed: bool) -> list[tuple[str, str]]:
    """What makes a run say more of the generator than of the server."""
    problems = []
    p99_ns = found.latency_ns.get("p99") or 0
    if timed and found.lag_p99_ns is not None and found.lag_p99_ns > max(LAG_LIMIT_NS, LAG_SHARE * p99_ns):
        problems.append(("generator-lag", f"the generator was {found.lag_p99_ns / 1e6:.2f} ms late (p99)"))
    share = (found.generator_cpu_ns or 0) / max(1, found.wall_ns)
    server_share = sample.cpu_ns / max(1, found.wall_ns)
    ceiling = share > GENERATOR_SHARE if timed else share > SERVER_BUSY > server_share
    if ceiling:
        text = f"the generator used {share:.0%} of its core, the server {server_share:.0%}"
        problems.append(("generator-busy", text))
    return problems


def _per_second(sample: Sample) -> float:
    return (sample.items or 0) / max(1, sample.reply.wall_ns) * 1e9


def _nothing() -> LaunchReply:
    """The columns of a run that came to nothing."""
    return LaunchReply(
        kind=Kind.EXITED, code=1, wall_ns=0, user_ns=0, sys_ns=0, max_rss_bytes=0, minor_faults=0, major_faults=0,
        voluntary_switches=0, involuntary_switches=0, leftover=0, unkilled=0, oom_kills=0, steal_ticks=0,
        total_ticks=0, dropped_bytes=0, stdout=b"", stderr=b"",
    )  # fmt: skip
