"""What the sessions of noxfile.py call: options in, one step of the flow, an exit code out."""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from tools import baseline, build, flow, plan, runners, terminal
from tools.errors import DeadheatError, UsageError
from tools.loads import OWN
from tools.model import Project
from tools.project import find, load_all
from tools.runners.base import Runner, Source

SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


class _Parser(argparse.ArgumentParser):
    """An argparse that raises our one-line errors."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}", remedy=f"see: {self.prog} -- --help")


def duration(text: str) -> float:
    """`90`, `90s`, `5m`, `1h` in seconds."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh]?)", text)
    if match is None or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 5m or 1h")
    return float(match[1]) * SECONDS[match[2]]


def names(text: str) -> tuple[str, ...]:
    """`go,zig` as names."""
    return tuple(name for name in text.split(",") if name)


def parser(program: str) -> argparse.ArgumentParser:
    """Options after `--` of the build, verify, bench and soak sessions."""
    made = _Parser(prog=f"nox -s {program}", description="Options go after `--`.", allow_abbrev=False)
    made.add_argument("--lanes", type=names, default=(), metavar="go,zig", help="only these lanes or languages")
    made.add_argument(
        "--runner", choices=sorted(runners.RUNNERS), help="default: docker where an engine answers, else host"
    )
    made.add_argument("--no-peers", action="store_true", help="leave the peers out")
    made.add_argument("--list", action="store_true", help="print the cells and stop")
    if program.startswith(("bench", "soak")):
        _measuring(made)
    if program.startswith("bench"):
        _in_rounds(made)
    if program.startswith("soak"):
        made.add_argument("--seconds", type=duration, metavar="60s", help="length of a run (default: the case's own)")
    return made


def _measuring(made: argparse.ArgumentParser) -> None:
    """Options of all sessions that measure."""
    made.add_argument("--cases", type=names, default=(), metavar="a,b", help="only these cases")
    made.add_argument("--seed", type=int, metavar="N", help="seed of the order (default: random, stored in the result)")
    made.add_argument("--no-store", action="store_true", help="show the numbers, keep nothing (a trial run)")
    made.add_argument("--no-tables", action="store_true", help="store the result, leave the Markdown tables alone")


def _in_rounds(made: argparse.ArgumentParser) -> None:
    """What only benchmarks take."""
    made.add_argument("--rounds", type=int, metavar="N", help="at most N rounds (default: 12 to 40, until precise)")
    made.add_argument(
        "--budget", type=duration, metavar="5m",
        help="time for all cases of a project (15m, or longer where the least rounds for an interval take longer)",
    )  # fmt: skip
    made.add_argument("--min-run", type=duration, default=0.5, metavar="0.5s", help="least length of one run (0.5s)")
    made.add_argument("--workload", default="bench", metavar="NAME", help="bench, or large where a project has it")
    made.add_argument("--against", metavar="REV", help="race each lane beside itself at this commit; stores nothing")
    made.add_argument(
        "--fail-on-regression", action="store_true", help="with --against: fail where a lane is shown to be slower"
    )
    made.add_argument("--store", action="store_true", help="with --against: keep it in .deadheat/against")


def session(step: str, aliases: Sequence[str], argv: Sequence[str]) -> None:
    """Run one step (build, verify, bench, soak) for some projects, all of them without aliases.

    Raises:
        DeadheatError: something failed; every project was tried.
    """
    args = parser("-".join([step, *aliases[:1]])).parse_args(list(argv))
    projects = [find(alias) for alias in aliases] or load_all()
    if args.list:
        for cell in _cells(step, projects, args):
            print(cell)  # noqa: T201 - the answer of --list
        return
    runner, why = runners.choose(args.runner)
    terminal.say(f"runner  {runner.name} ({why})")
    _provide(step, projects, runner, _options(args, step))
    action = {"build": _build, "verify": _verify, "bench": _bench, "soak": _soak}[step]
    failed = [project.alias for project in projects if not action(project, runner, args)]
    if failed:
        raise DeadheatError(f"{step} failed for {', '.join(failed)}")


def _provide(step: str, projects: Sequence[Project], runner: Runner, options: flow.Options) -> None:
    """Whatever the machine must have for all of these projects, named at once and before anything is built.

    Raises:
        ToolchainError: something is missing and cannot be installed by us.
    """
    sources = [source for project in projects for source in flow.sources_of(project, options)]
    beside = [] if step == "build" else [name for project in projects for name in flow.packages_of(project, options)]
    runner.provide(sources, beside)


def _cells(step: str, projects: Sequence[Project], args: argparse.Namespace) -> Iterator[plan.Cell]:
    """What would be worked on, with the older lanes where they race too."""
    options, runner = _options(args, step), args.runner or "auto"
    if getattr(args, "against", None) is None:
        yield from plan.cells(projects, options, runner)
        return
    for project in projects:
        with baseline.beside(project, args.against, options) as duel:
            yield from plan.cells([duel.project], replace(options, lanes=()), runner)


def _options(args: argparse.Namespace, step: str) -> flow.Options:
    common = {"lanes": args.lanes, "peers": not args.no_peers}
    if step == "soak":
        return flow.Options(**common, cases=args.cases, seed=args.seed, soak=True, soak_seconds=args.seconds)
    if step != "bench":
        return flow.Options(**common)
    for flag in ("fail_on_regression", "store"):
        if getattr(args, flag) and args.against is None:
            raise UsageError(f"--{flag.replace('_', '-')} goes with --against", remedy="add --against REV")
    if args.rounds is not None and args.rounds < 1:
        raise UsageError("--rounds must be at least 1")
    return flow.Options(
        **common, cases=args.cases, workload=args.workload, rounds=args.rounds, budget_seconds=args.budget,
        min_run_seconds=args.min_run, seed=args.seed,
    )  # fmt: skip


def _build(project: Project, runner: Runner, args: argparse.Namespace) -> bool:
    built = flow.build_all(project, runner, _options(args, "build"), terminal.say)
    for one in built:
        if one.attempt.built and one.attempt.built.binary:
            terminal.say(f"program {project.slug}/{one.name}@{runner.name}: {one.attempt.built.binary}")
    return all(one.attempt.built for one in built)


def _verify(project: Project, runner: Runner, args: argparse.Namespace) -> bool:
    return flow.verify_only(project, runner, _options(args, "verify"), terminal.say)


def _bench(project: Project, runner: Runner, args: argparse.Namespace) -> bool:
    """Measure, store, show, rewrite the tables; a project in which nothing could be timed is a failure."""
    if args.workload not in project.workloads:
        raise UsageError(
            f"{project.alias} has no workload {args.workload!r}", remedy="known: " + ", ".join(project.workloads)
        )
    if args.against is not None:
        return _against(project, runner, args, _options(args, "bench"))
    return _kept(project, runner, args, "bench")


def _soak(project: Project, runner: Runner, args: argparse.Namespace) -> bool:
    """Run every program for long, store, show, rewrite the tables."""
    return _kept(project, runner, args, "soak")


def _kept(project: Project, runner: Runner, args: argparse.Namespace, step: str) -> bool:
    """Measure one project, store, show; true when every lane could be timed."""
    content = _measured(project, runner, _options(args, step), step)
    if content is None:
        return False
    from tools import publish  # noqa: PLC0415 - heavy imports come after the last timed run (MEASURING 16)

    publish.show(content)
    if not args.no_store:
        publish.store(content, tables=not args.no_tables)
    return all(arm["state"] == "measured" for arm in content["arms"].values() if arm["role"] == "lane")


def _against(project: Project, runner: Runner, args: argparse.Namespace, options: flow.Options) -> bool:
    """Race the lanes against their older selves; what could not be compared is said."""
    with baseline.beside(project, args.against, options) as duel:
        for lane, why in duel.left_out:
            terminal.say(f"against {project.slug}/{lane}: left out: {why}")
        if not duel.pairs:
            return True
        content = _measured(duel.project, runner, replace(options, lanes=(), beside=duel.pairs), "bench")
    if content is None:
        return False
    from tools import publish  # noqa: PLC0415 - as above

    return publish.against(content, duel, keep=args.store, strict=args.fail_on_regression)


def _measured(project: Project, runner: Runner, options: flow.Options, step: str) -> dict[str, Any] | None:
    """The content of a result, or None where nothing could be timed, which is said."""
    try:
        content = flow.bench(project, runner, options, terminal.say, terminal.ProgressLine())
    except UsageError:
        raise
    except DeadheatError as error:
        terminal.say(f"{step:7} {project.slug}: {error}")
        return None
    terminal.clear()
    return content


def lane_steps(what: str, argv: Sequence[str]) -> None:
    """Run the own tests or lints of the load generators and lanes on the host, or where asked.

    Raises:
        DeadheatError: some failed; every lane was tried.
    """
    args = parser(what).parse_args(list(argv))
    runner, _ = runners.choose(args.runner or "host")
    sources = _lane_sources(args.lanes)
    runner.provide(sources, ())
    failed = []
    for source in sources:
        try:
            build.check(runner, source, what)
            terminal.say(f"{what:7} {source.id}: ok")
        except DeadheatError as error:
            failed.append(source.id)
            terminal.say(f"{what:7} {source.id}: FAILED: {error}")
    if failed:
        raise DeadheatError(f"{what} failed for {', '.join(failed)}")


def provide_lanes() -> None:
    """See to it that this machine can build every lane, before tests that take long say one by one that it cannot.

    Raises:
        DeadheatError: packages are missing; one command names them all.
    """
    runners.choose("host")[0].provide(_lane_sources(()), ())


def _lane_sources(chosen: Sequence[str]) -> list[Source]:
    """Our load generators and the chosen lanes (all without a choice) of every project."""
    sources = [build.tool(name, tool.FOLDER, "rust") for name, tool in OWN.items()]
    for project in load_all():
        lanes = tuple(chosen) if set(chosen) & lanes_of(project) else ()
        sources += flow.sources_of(project, flow.Options(lanes=lanes, peers=False))
    return sources


def lanes_of(project: Project) -> set[str]:
    """Names and languages by which lanes can be chosen."""
    return {*project.lanes, *(lane.language for lane in project.lanes.values())}


def guarded(action: Callable[[], None]) -> int:
    """Run an action; expected failures become one line on stderr and an exit code.

    0 done, 1 failed, 2 bad usage or input, 130 interrupted (Ctrl-C, SIGTERM, a closed terminal). A traceback is a
    defect of ours.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        action()
    except DeadheatError as error:
        terminal.say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        terminal.say("interrupted")
        return 130
    return 0


def relative(path: Path) -> str:
    """A path as a person would type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


if __name__ == "__main__":
    sys.exit("use nox or invoke")
