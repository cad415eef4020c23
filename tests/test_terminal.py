"""What a person sees: whole lines in a log, one line redrawn on a terminal, and nothing while a sample runs."""

from __future__ import annotations

import io
import math
from types import SimpleNamespace

import pytest

from tools import terminal
from tools.measure import Progress

ROUNDS = Progress("scan", "rounds", 5, 40, {"zig": math.log(1.05), "null": math.inf}, 12.4)
CLEAR = "\r\x1b[2K"


class Screen(io.StringIO):
    """A terminal that remembers everything."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Stderr is a terminal of 60 columns."""
    made = Screen()
    monkeypatch.setattr(terminal, "sys", SimpleNamespace(stderr=made))  # pytest changes the real one
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("CI", raising=False)
    return made


def test_a_log_gets_one_line_a_case(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal a case is named when its rounds begin; calibration and later rounds are silent."""
    draw = terminal.ProgressLine()
    for stage, done in (("calibrate", 0), ("fit", 1), ("rounds", 1), ("rounds", 2), ("rounds", 40)):
        draw(Progress("scan", stage, done, 40))
    draw(Progress("sort", "rounds", 1, 40))
    assert capsys.readouterr() == ("", "measure scan\nmeasure sort\n")


def test_a_terminal_gets_one_line_that_is_redrawn(screen: Screen) -> None:
    """The line shows how far, how precise and how long; it fits the terminal and has no line end."""
    terminal.ProgressLine()(ROUNDS)
    (line,) = screen.getvalue().split(CLEAR)[1:]
    assert line == "measure scan  [##..................]  rounds 5/40  zig ±5.0%  null ±?  at most 12 s left"[:59]
    assert "\n" not in screen.getvalue()


def test_redrawing_is_rare(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a fifth of a second nothing is drawn again, unless another stage begins."""
    moments = iter([10.0, 10.1, 10.15, 10.3])
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    draw = terminal.ProgressLine()
    for stage in ("fit", "fit", "rounds", "rounds"):
        draw(Progress("scan", stage, 1, 6))
    assert screen.getvalue().count(CLEAR) == 2


def test_a_line_takes_the_place_of_the_progress(screen: Screen) -> None:
    """What is said stands alone on its line: the progress is removed first."""
    terminal.ProgressLine()(ROUNDS)
    terminal.say("build   ok")
    assert screen.getvalue().endswith(f"{CLEAR}build   ok\n")


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("CI", "true")])
def test_logs_that_look_like_terminals(name: str, value: str, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dumb terminal and a CI job get no control characters."""
    monkeypatch.setenv(name, value)
    terminal.ProgressLine()(ROUNDS)
    terminal.say("done")
    assert screen.getvalue() == "measure scan\ndone\n"


def test_stdout_stays_clean(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is said goes to stderr: stdout is for what a task prints."""
    terminal.say("one\ntwo")
    assert capsys.readouterr() == ("", "one\ntwo\n")


def test_nothing_to_do_is_no_division_by_zero(screen: Screen) -> None:
    """A stage of no steps has an empty bar."""
    terminal.ProgressLine()(Progress("scan", "rounds", 0, 0))
    assert "[....................]  rounds 0/0" in screen.getvalue()


def test_foreign_text_is_folded_in_actions_and_cannot_command_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub folds a build log, and a line of it that looks like a command stays text; elsewhere it is as it is."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert terminal.folded("log", "::error::no") == "::error::no"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    first, stop, text, go, last = terminal.folded("log", "::error::no").splitlines()
    assert (first, text, last) == ("::group::log", "::error::no", "::endgroup::")
    token = stop.removeprefix("::stop-commands::")
    assert go == f"::{token}::"
    assert len(token) == 32
    assert token not in terminal.folded("log", "")
