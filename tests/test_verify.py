"""Verification with a scripted arena: each wrong behaviour of a lane gives its reason, a right one gives none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests import bad_lanes
from tests.fakes import REPLY, FakeArena, Script, block
from tools import verify
from tools.launcher.protocol import Kind, LaunchReply
from tools.model import Project
from tools.runners.base import Built, Program, Run, Source
from tools.verify import Verification
from tools.workloads import Check, repeated_digest

ANSWER = b"3\n"
Change = Callable[[LaunchReply], LaunchReply]


class Arena(FakeArena):
    """The well-behaved arena, with changes to some replies and to the files that are left."""

    def __init__(self, source: Source, data: Path) -> None:
        """One lane."""
        built = Built(source, "fake", data / "lines.txt", "", "", "", "")
        super().__init__([Program(source.arm, built)], data, {"good": Script(noise=0)})
        self.when: Callable[[list[str]], bool] = lambda _: False
        self.change: Change = lambda reply: reply
        self.leaves: dict[str, bytes] | None = None

    def run(self, run: Run) -> LaunchReply:
        """The good reply, changed where asked."""
        reply = super().run(run)
        if not self.when(list(run.args)):
            return reply
        if self.leaves is not None:
            self.left = dict(self.leaves)
        return self.change(reply)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The project that counts lines."""
    return bad_lanes.make(tmp_path / "projects", [])


@pytest.fixture
def source(project: Project) -> Source:
    """Its lane."""
    return Source(project.slug, "good", "lane", "python", project.folder / "good")


@pytest.fixture
def checks(tmp_path: Path) -> list[Check]:
    """A declared case, a further check, and a check that must fail."""
    (tmp_path / "lines.txt").write_bytes(b"x\n" * 3)
    (tmp_path / "answer").write_bytes(ANSWER)
    args, answer = ("--input", "{data}/lines.txt"), tmp_path / "answer"
    return [
        Check("count", args, answer, 3, declared=True),
        Check("further", args, answer, 3),
        Check("absent", ("--input", "{data}/none.txt"), exit_code=2, stderr="none.txt"),
    ]


@pytest.fixture
def arena(source: Source, checks: list[Check], tmp_path: Path) -> Arena:
    """Where the lane runs."""
    assert checks
    return Arena(source, tmp_path)


def reasons(found: Verification) -> dict[str, str]:
    """Check -> reason."""
    return dict(found.failures)


def is_good(args: list[str]) -> bool:
    """A run of the job."""
    return args[:2] == ["--input", "{data}/lines.txt"] and "--repeats" not in args


def is_declared(args: list[str]) -> bool:
    """A run of the declared case."""
    return is_good(args) and args[-1] == "{output}/answer"


def is_bad(args: list[str]) -> bool:
    """The bad input of project.yaml."""
    return args[:2] == ["--input", "{data}/none.txt"]


def test_good_lane_passes(arena: Arena, source: Source, project: Project, checks: list[Check]) -> None:
    """Every check, every bad input and the version are asked, and nothing is wrong."""
    found = verify.verify(arena, source, project, checks)
    assert found.failures == []
    assert found.passed
    assert (found.checks, found.bad_inputs) == (3, 1 + 4)
    assert found.as_record() == {"state": "passed", "checks": 3, "bad_inputs": 5, "failures": []}


WRONG: list[tuple[str, Callable[[list[str]], bool], Change, str, str]] = [
    ("exit code", is_good, lambda r: replace(r, code=1, stderr=b"error: disk\n"), "count", "exit code 1: 'error: disk"),
    ("signal", is_good, lambda r: replace(r, kind=Kind.SIGNALLED, code=11), "count", "crashed with signal 11"),
    ("hang", is_good, lambda r: replace(r, kind=Kind.TIMEOUT), "count", "no end after 20 s"),
    ("flood", is_good, lambda r: replace(r, kind=Kind.FLOOD), "count", "printed more than the limit"),
    ("memory", is_good, lambda r: replace(r, kind=Kind.OOM), "count", "ran out of the memory limit"),
    ("children", is_good, lambda r: replace(r, leftover=2), "count", "left 2 processes behind"),
    ("no block", is_declared, lambda r: replace(r, stdout=b"3\n"), "count", r"not the statistics block: '3\\n'"),
    ("extra line", is_declared, lambda r: replace(r, stdout=r.stdout + b"ok\n"), "count", "not the statistics block"),
    ("count", is_good, lambda r: replace(r, stdout=block(4, 0.0, repeated_digest(ANSWER, 1))) if b"---" in r.stdout
     else r, "further", "wrong item count: 4, expected 3"),
    ("digest", is_good, lambda r: replace(r, stdout=block(3, 0.0, "0" * 16)) if b"---" in r.stdout else r, "further",
     f"digest {'0' * 16} is not that of the answer"),
    ("bad input accepted", is_bad, lambda _: replace(REPLY, stdout=block(0, 0.0, "0" * 16)), "missing-file",
     "exit code 0, expected 2"),
    ("bad exit code", is_bad, lambda r: replace(r, code=1), "missing-file", "exit code 1, expected 2; stderr: "),
    ("bad input crash", is_bad, lambda r: replace(r, kind=Kind.SIGNALLED, code=6), "missing-file", "signal 6"),
    ("bad input hang", is_bad, lambda r: replace(r, kind=Kind.TIMEOUT), "missing-file", "no end after 20 s"),
    ("two lines", is_bad, lambda r: replace(r, stderr=r.stderr * 2), "missing-file", "stderr is not one line"),
    ("no line", is_bad, lambda r: replace(r, stderr=b""), "missing-file", "not one line `error: ...`: nothing"),
    ("panic", is_bad, lambda r: replace(r, stderr=b"panic: x\n"), "missing-file", "stderr is not one line"),
    ("text missing", is_bad, lambda r: replace(r, stderr=b"error: bad\n"), "missing-file",
     "stderr does not say 'none.txt'"),
    ("stdout", is_bad, lambda r: replace(r, stdout=b"\x1b[2J"), "missing-file", r"printed on stdout: '\\x1b[2J'"),
    ("oracle's bad input", is_bad, lambda r: replace(r, code=3), "absent", "exit code 3, expected 2"),
    ("unknown option", lambda a: a[0] == "--no-such-option", lambda _: REPLY, "unknown option", "expected 2"),
    ("no arguments", lambda a: a[0] == "--output", lambda _: REPLY, "no arguments", "expected 2"),
    ("repeats 0", lambda a: "0" in a, lambda _: REPLY, "repeats 0", "expected 2"),
    ("repeats many", lambda a: "many" in a, lambda r: replace(r, stderr=b"error: x\n"), "repeats not a number",
     "does not say 'many'"),
    ("version", lambda a: a == ["--version"], lambda r: replace(r, stdout=b"1.0\n"), "--version",
     r"printed '1.0\\n', expected 'line-counter python\\n'"),
    ("version code", lambda a: a == ["--version"], lambda r: replace(r, code=1), "--version", "printed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("when", "change", "check", "words"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_wrong_behaviour_has_its_reason(  # noqa: PLR0913, PLR0917 - four fixtures and a table row
    arena: Arena, source: Source, project: Project, checks: list[Check],
    when: Callable[[list[str]], bool], change: Change, check: str, words: str,
) -> None:  # fmt: skip
    """One wrong behaviour ends as one reason beside the check that found it."""
    arena.when, arena.change = when, change
    found = verify.verify(arena, source, project, checks)
    assert not found.passed
    assert words in reasons(found)[check]
    assert "\n" not in reasons(found)[check]


def test_wrong_answer_shows_the_first_difference(
    arena: Arena, source: Source, project: Project, checks: list[Check]
) -> None:
    """The line that differs is named with both sides."""
    arena.when, arena.leaves = is_declared, {"answer": b"4\n"}
    assert reasons(verify.verify(arena, source, project, checks))["count"] == "wrong answer: line 1: '4', expected '3'"


def test_missing_and_further_files_are_reasons(
    arena: Arena, source: Source, project: Project, checks: list[Check]
) -> None:
    """--output must make its file, and nothing else."""
    arena.when, arena.leaves = is_declared, {"core": b""}
    found = verify.verify(arena, source, project, checks)
    assert [reason for name, reason in found.failures if name == "count"] == [
        "left other files: core", "--output was not written"
    ]  # fmt: skip


def test_output_of_a_refused_input_is_a_reason(
    arena: Arena, source: Source, project: Project, checks: list[Check]
) -> None:
    """A lane that fails leaves no file."""
    arena.when, arena.leaves = is_bad, {"answer": b"", ".tmp": b""}
    assert reasons(verify.verify(arena, source, project, checks))["missing-file"] == (
        "left an output file: .tmp, answer"
    )


def test_order_matters_only_where_the_oracle_says(tmp_path: Path) -> None:
    """An unordered check takes the same lines in any order, and no other lines."""
    (tmp_path / "two").write_bytes(b"a\nb\n")
    check = Check("x", (), tmp_path / "two", 2)
    unordered = replace(check, compare="unordered")
    assert list(verify._compare(unordered, b"b\na\n", "")) == []
    assert list(verify._compare(check, b"b\na\n", "")) == ["wrong answer: line 1: 'b', expected 'a'"]
    assert list(verify._compare(unordered, b"b\nb\n", "")) != []
    assert list(verify._compare(check, b"a\nb\nc\n", "")) == ["wrong answer: line 3: 'c', expected nothing"]


def test_hanging_lane_is_given_up(arena: Arena, source: Source, project: Project, checks: list[Check]) -> None:
    """After the third hang no more is asked, so that one lane cannot hold up the others."""
    arena.when, arena.change = lambda _: True, lambda reply: replace(reply, kind=Kind.TIMEOUT)
    found = verify.verify(arena, source, project, checks * 50)
    assert len(found.failures) == 3
    assert not found.passed


def test_failures_are_kept_in_bounds(arena: Arena, source: Source, project: Project, checks: list[Check]) -> None:
    """A lane that fails everything fills neither memory nor the record."""
    arena.when, arena.change = lambda _: True, lambda r: replace(r, code=9, stderr=b"x" * 100_000)
    record = verify.verify(arena, source, project, checks * 50).as_record()
    assert record["state"] == "failed"
    assert isinstance(record["failures"], list)
    assert len(record["failures"]) == verify.KEPT_FAILURES
    assert all(len(one["reason"]) <= 1000 for one in record["failures"])


def test_peer_is_asked_only_what_it_claims(arena: Arena, source: Source, project: Project, checks: list[Check]) -> None:
    """A peer answers the declared cases; it has no bad inputs and no version to prove."""
    peer = replace(source, role="peer")
    found = verify.verify(arena, peer, project, checks)
    assert (found.checks, found.bad_inputs, found.passed) == (1, 0, True)


def test_arm_that_was_asked_nothing_has_not_passed(
    arena: Arena, source: Source, project: Project, checks: list[Check]
) -> None:
    """Excluded from every case, an arm is not right by default."""
    found = verify.answers(arena, source, project, [replace(one, without={"good": "why"}) for one in checks])
    assert (found.checks, found.passed) == (0, False)
