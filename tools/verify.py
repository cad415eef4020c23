"""Prove that an arm gives the right answers before anything is timed.

A lane must pass every check of the oracle, end every bad input as the contract says, and answer `--version`. A peer
must pass the declared cases that it claims. Whatever goes wrong is recorded with its reason; nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tools.contract import error_line, parse_statistics
from tools.launcher.protocol import LaunchReply
from tools.model import BadInput, Project
from tools.runners.base import Arena, Run, Source
from tools.workloads import Check

KEPT_FAILURES = 20
ANSWER_LIMIT_BYTES = 1 << 30
SHOWN_CHARACTERS = 160
REFUSAL_SECONDS = 10.0


@dataclass
class Verification:
    """What was asked of an arm, and what it got wrong."""

    arm: str
    checks: int = 0
    bad_inputs: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """True when nothing failed and something was asked."""
        return not self.failures and self.checks > 0

    def add(self, other: Verification) -> None:
        """Take over what was asked elsewhere."""
        self.checks += other.checks
        self.bad_inputs += other.bad_inputs
        self.failures = [*other.failures, *self.failures]

    def as_record(self) -> dict[str, object]:
        """The part of the result file."""
        shown = [{"check": name[:200], "reason": reason[:1000]} for name, reason in self.failures[:KEPT_FAILURES]]
        state = "passed" if self.passed else "failed"
        return {"state": state, "checks": self.checks, "bad_inputs": self.bad_inputs, "failures": shown}


def verify(
    arena: Arena, source: Source, project: Project, checks: list[Check], *, counts_items: bool = True
) -> Verification:
    """Ask an arm everything and collect what is wrong."""
    found = answers(arena, source, project, checks, counts_items=counts_items)
    if source.role == "lane" and not _hopeless(found):
        for bad in (*project.bad_inputs, *_contract_inputs(project)):
            found.bad_inputs += 1
            found.failures += [(bad.name, reason) for reason in _bad_input(arena, source.arm, project, bad)]
            if _hopeless(found):
                return found
        found.failures += [("--version", reason) for reason in _version(arena, source, project)]
    return found


def answers(
    arena: Arena, source: Source, project: Project, checks: list[Check], *, counts_items: bool = True
) -> Verification:
    """Only the oracle's checks: all of them for a lane, the declared ones that it claims for a peer."""
    found = Verification(source.arm)
    for check in checks:
        if source.arm in check.without or not (source.role == "lane" or check.declared):
            continue
        found.checks += 1
        found.failures += [(check.name, reason) for reason in _check(arena, source.arm, project, check, counts_items)]
        if _hopeless(found):
            break
    return found


def _hopeless(found: Verification) -> bool:
    """Enough is known; an arm that hangs on every question must not hold up the others."""
    return len(found.failures) >= KEPT_FAILURES or sum("no end after" in reason for _, reason in found.failures) > 2  # noqa: PLR2004 - the third hang


def _run(
    arena: Arena, arm: str, project: Project, args: tuple[str, ...], stdin: str | None, limit: int = 1 << 20
) -> LaunchReply:
    timeout = project.limits.timeout_seconds
    return arena.run(Run(arm, args, timeout, stdin=stdin, stdout_limit_bytes=limit))


def _check(arena: Arena, arm: str, project: Project, check: Check, counts: bool) -> Iterator[str]:
    """Digest and count of one run; the bytes of --output for declared cases; a difference is shown."""
    if check.exit_code:
        yield from _bad_input(
            arena, arm, project, BadInput(check.name, check.args, check.stderr, check.exit_code, check.stdin)
        )
        return
    args = (*check.args, "--output", "{output}/answer") if check.declared else check.args
    reply = _run(arena, arm, project, args, check.stdin)
    files = arena.outputs(arm) if check.declared else {}
    if problem := ended_badly(reply, project.limits.timeout_seconds):
        yield problem
        return
    statistics = parse_statistics(reply.stdout)
    if statistics is None:
        yield f"stdout is not the statistics block: {_shown(reply.stdout)}"
        return
    if counts and check.items is not None and statistics.items != check.items:
        yield f"wrong item count: {statistics.items}, expected {check.items}"
    if check.compare == "exact" and statistics.digest == check.digest() and not check.declared:
        return
    if check.declared:
        answer = files.pop("answer", None)
        if files:
            yield f"left other files: {', '.join(sorted(files))[:SHOWN_CHARACTERS]}"
    else:
        answer = _run(arena, arm, project, (*check.args, "--output", "-"), check.stdin, ANSWER_LIMIT_BYTES).stdout
    yield from _compare(check, answer, statistics.digest)


def _compare(check: Check, answer: bytes | None, digest: str) -> Iterator[str]:
    if answer is None:
        yield "--output was not written"
        return
    expected = check.answer_bytes()
    if check.compare == "unordered":
        answer, expected = _sorted_lines(answer), _sorted_lines(expected)
    if answer != expected:
        yield f"wrong answer: {_difference(answer, expected)}"
    elif check.compare == "exact" and digest != check.digest():
        yield f"digest {digest} is not that of the answer, {check.digest()}"


def _bad_input(arena: Arena, arm: str, project: Project, bad: BadInput) -> Iterator[str]:
    """Exit code, one line on stderr that says what, nothing on stdout, no output file."""
    if project.server is None:
        reply = _run(arena, arm, project, (*bad.args, "--output", "{output}/answer"), bad.stdin)
    else:  # a server that accepts what it must refuse would run for ever
        reply = arena.run(Run(arm, bad.args, REFUSAL_SECONDS, stdin=bad.stdin))
    left = arena.outputs(arm)
    if reply.kind != "exited":
        yield ended_badly(reply, project.limits.timeout_seconds) or ""
        return
    if reply.code != bad.exit_code:
        yield f"exit code {reply.code}, expected {bad.exit_code}; stderr: {_shown(reply.stderr)}"
        return
    line = error_line(reply.stderr)
    if line is None:
        yield f"stderr is not one line `error: ...`: {_shown(reply.stderr)}"
    elif bad.stderr not in f"error: {line}":
        yield f"stderr does not say {bad.stderr!r}: {_shown(reply.stderr)}"
    if reply.stdout:
        yield f"printed on stdout: {_shown(reply.stdout)}"
    if left:
        yield f"left an output file: {', '.join(sorted(left))[:SHOWN_CHARACTERS]}"


def _contract_inputs(project: Project) -> list[BadInput]:
    """Usage errors that every lane of every project must refuse."""
    usage = [
        BadInput("unknown option", ("--no-such-option",), "--no-such-option"),
        BadInput("no arguments", (), ""),
    ]
    if project.server is not None:
        return usage
    good = project.cases[0].args
    return [
        *usage,
        BadInput("repeats 0", (*good, "--repeats", "0"), "repeats"),
        BadInput("repeats not a number", (*good, "--repeats", "many"), "many"),
    ]


def _version(arena: Arena, source: Source, project: Project) -> Iterator[str]:
    reply = _run(arena, source.arm, project, ("--version",), None)
    expected = f"{project.slug} {source.language}\n".encode()
    if (reply.kind, reply.code) != ("exited", 0) or reply.stdout != expected:
        yield f"--version printed {_shown(reply.stdout)}, expected {_shown(expected)}"


def ended_badly(reply: LaunchReply, timeout_seconds: float) -> str | None:
    """Why a run that should have succeeded did not, in words; None if it did."""
    match reply.kind:
        case "exited" if reply.code == 0 and reply.leftover:
            return f"left {reply.leftover} processes behind"
        case "exited" if reply.code == 0:
            return None
        case "exited":
            return f"exit code {reply.code}: {_shown(reply.stderr)}"
        case "signalled":
            return f"crashed with signal {reply.code}: {_shown(reply.stderr)}"
        case "timeout":
            return f"no end after {timeout_seconds:g} s"
        case "flood":
            return "printed more than the limit"
        case "oom":
            return "ran out of the memory limit"
        case _:
            return f"could not be started: {_shown(reply.stderr)}"


def _difference(answer: bytes, expected: bytes) -> str:
    """The first line that differs."""
    ours, theirs = answer.split(b"\n"), expected.split(b"\n")
    for number, (left, right) in enumerate(zip(ours, theirs, strict=False), start=1):
        if left != right:
            return f"line {number}: {_shown(left)}, expected {_shown(right)}"
    return f"{len(ours) - 1} lines, expected {len(theirs) - 1}"


def _sorted_lines(content: bytes) -> bytes:
    return b"\n".join(sorted(content.split(b"\n")))


def _shown(content: bytes) -> str:
    """Foreign bytes as one short printable line."""
    text = content[: SHOWN_CHARACTERS * 2].decode("utf-8", "replace").encode("unicode_escape").decode()
    return repr(text[:SHOWN_CHARACTERS]) if text else "nothing"
