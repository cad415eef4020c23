"""What follows a benchmark in a CI job, and how wide and colourful tables are."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from tests import builders
from tools import publish, screen


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_the_page_of_a_job_gets_the_tables_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where GitHub gives a file for it, each project's tables are appended."""
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    publish.show(builders.tree())
    publish.show(builders.tree())
    text = page.read_text()
    assert text.startswith("before\n## sqlite-query-engine\n")
    assert text.count("| Place | Program |") == 2


def test_elsewhere_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable only the terminal gets tables."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    publish.step_summary("text")


def test_a_page_that_cannot_be_written_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A benchmark of hours is not lost for a page."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    publish.step_summary("text")
    assert capsys.readouterr().err.startswith("summary cannot write ")


def test_a_result_that_is_too_long_for_the_page_is_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub would drop a summary of more than 1 MiB: then a line a case has to do."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setattr(publish, "SUMMARY_BYTES", 10)
    publish.show(builders.tree())
    text = (tmp_path / "summary.md").read_text()
    assert "| Job | Case |" in text
    assert "| Place | Program |" not in text


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"CI": "true"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour(variables: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal has colour unless NO_COLOR, CI or a dumb terminal speak against it."""
    for name in ("NO_COLOR", "FORCE_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **variables}.items():
        monkeypatch.setenv(name, value)
    stream = Screen()
    monkeypatch.setattr(sys, "stdout", stream)
    screen.console().print("word", style="green")
    assert ("\x1b[32m" in stream.getvalue()) is coloured


def test_a_table_is_as_wide_as_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines fold inside their cells instead of at the edge."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    stream = Screen()
    monkeypatch.setattr(sys, "stdout", stream)
    console = screen.console()
    console.print(screen.table(("name", "words"), [("a", "many words " * 10)], numbers_from=2))
    assert console.width == 40
    plain = re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue())
    assert max(map(len, plain.splitlines())) == 40


def test_a_pipe_gets_the_width_of_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal the width is fixed, so that output is the same everywhere."""
    screen.console().print("x" * 200)
    assert capsys.readouterr().out.splitlines()[0] == "x" * screen.LOG_COLUMNS


def test_foreign_text_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither escape codes nor markup nor a change of writing direction get through."""
    screen.console().print(screen.table(("a",), [("\x1b[2J[red]x[/red]\u202ey",)]))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "[red]x[/red]" in out
