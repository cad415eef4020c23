"""The one door to helper processes: clean environment, plain words on failure, and nobody survives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import process
from tools.errors import CommandError

FAMILY = """\
import subprocess, sys, time
words = [sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]]
subprocess.Popen(words)
if len(sys.argv) > 2:
    subprocess.Popen(words, process_group=0)
    subprocess.Popen(words, start_new_session=True)
print("started", flush=True)
open(sys.argv[1], "w").close()
time.sleep(600)
"""
INTERRUPTED = """\
import sys
from tools import process
process.run([sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
"""


def named(mark: str) -> list[int]:
    """Living processes that have this word in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if folder.name.isdigit() and mark.encode() in words:
            found.append(int(folder.name))
    return found


def wait_for(path: Path, child: subprocess.Popen[bytes]) -> None:
    """Until the file is there; a child that ends first is a failure."""
    while not path.exists():
        assert child.poll() is None
        os.sched_yield()


@pytest.mark.parametrize("loose", [[], ["loose"]], ids=["plain", "own session"])
def test_timeout_kills_the_tree(tmp_path: Path, loose: list[str]) -> None:
    """After a timeout neither children nor grandchildren live, even those that left the session."""
    mark = str(tmp_path / "started")
    with pytest.raises(CommandError, match=r"no end after 2 s"):
        process.run([sys.executable, "-c", FAMILY, mark, *loose], timeout_seconds=2)
    assert named(mark) == []


@pytest.mark.parametrize("loose", [[], ["loose"]], ids=["plain", "own session"])
def test_interrupt_kills_the_tree(tmp_path: Path, loose: list[str]) -> None:
    """Ctrl-C reaches only the harness (helpers have their own session), and the harness ends the tree."""
    mark = str(tmp_path / "started")
    words = [sys.executable, "-c", INTERRUPTED, FAMILY, mark, *loose]
    child = subprocess.Popen(words, start_new_session=True, stderr=subprocess.PIPE)
    wait_for(Path(mark), child)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    assert b"KeyboardInterrupt" in err
    assert named(mark) == []


def test_interrupt_during_the_start_kills_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between the fork and the moment where we know the child does not leave the child alone."""
    mark = str(tmp_path / "started")
    start = subprocess.Popen

    def slow(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        child = start(*args, **options)
        wait_for(Path(mark), child)
        signal.raise_signal(signal.SIGINT)
        return child

    monkeypatch.setattr(subprocess, "Popen", slow)
    with pytest.raises(KeyboardInterrupt):
        process.run([sys.executable, "-c", FAMILY, mark])
    assert named(mark) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_output_and_exit_code_are_kept() -> None:
    """Whatever the exit code, both streams come back whole, and stdin arrives."""
    script = "import sys; data = sys.stdin.read(); print(data * 100000); sys.stderr.write('e' * 100000); sys.exit(7)"
    done = process.run([sys.executable, "-c", script], stdin=b"xy")
    assert (done.returncode, len(done.stdout), len(done.stderr)) == (7, 200_001, 100_000)


def test_failure_shows_the_last_line() -> None:
    """A failed command is one line with its exit code and its last words; more of its output is kept aside."""
    with pytest.raises(CommandError) as caught:
        process.check([sys.executable, "-c", "import sys; print('out'); sys.exit('first\\nlast words')"])
    assert str(caught.value).endswith("exit code 1: last words")
    assert caught.value.tail == "out\nfirst\nlast words\n"


def test_silent_failure_says_so() -> None:
    """A command that fails without a word is not an empty message."""
    with pytest.raises(CommandError, match="false: exit code 1: no output"):
        process.check(["false"])


def test_tail_is_short_and_text() -> None:
    """Only the end of a long output is kept, and foreign bytes do not hurt."""
    tail = process.tail_text(b"\xff" * 10 + b"x" * 100_000)
    assert tail == "x" * process.TAIL_BYTES
    assert process.tail_text(b"\xff") == "\ufffd"


def test_missing_program_is_named(tmp_path: Path) -> None:
    """A program that is not there, or may not be run, is one line with its name."""
    with pytest.raises(CommandError, match="no-such-program: cannot start: No such file or directory"):
        process.run(["no-such-program"])
    (tmp_path / "text").write_text("x")
    with pytest.raises(CommandError, match="text: cannot start: Permission denied"):
        process.run([tmp_path / "text"])


def test_no_shell_sees_a_value() -> None:
    """Arguments arrive as they are."""
    words = ["$(id)", "`id`", "; id", "*", "a b", ""]
    script = "import json, sys; print(json.dumps(sys.argv[1:]))"
    assert process.check([sys.executable, "-c", script, *words]).decode().count("id") == 3


def test_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper sees a few known variables; proxy settings only where something is fetched."""
    monkeypatch.setenv("CFLAGS", "-O0")
    monkeypatch.setenv("https_proxy", "http://proxy.invalid")
    monkeypatch.delenv("LANG", raising=False)
    script = "import os; print('\\n'.join(sorted(os.environ)))"
    seen = set(process.check([sys.executable, "-c", script]).decode().split())
    assert seen <= {*process.KEPT_ENVIRONMENT, "LC_CTYPE"}
    assert process.clean_environment()["LANG"] == "C.UTF-8"
    assert "https_proxy" not in process.clean_environment()
    assert process.clean_environment(network=True)["https_proxy"] == "http://proxy.invalid"
    assert process.clean_environment({"PATH": "/x"})["PATH"] == "/x"
