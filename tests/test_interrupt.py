"""Ctrl-C and kill -9 at several moments of a benchmark: no process, container, volume, image or folder stays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import caches
from tools.runners import engine

PATIENCE_SECONDS = 60
BENCH = """\
import pathlib, sys
from tests import bad_lanes
from tools import caches, cli, flow, runners

root, runner, fault = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
shared = caches.WORK / "launcher"
caches.WORK = root / "work"
caches.WORK.mkdir()
shared.mkdir(parents=True, exist_ok=True)
(caches.WORK / "launcher").symlink_to(shared, target_is_directory=True)
project = bad_lanes.make(root / "projects", [fault])
options = flow.Options(budget_seconds=300, min_run_seconds=0.1, seed=1)

def say(text):
    print(text.split()[0], flush=True)

verify = flow.verify.verify

def verified(*words, **options):
    say("verify")
    return verify(*words, **options)

flow.verify.verify = verified

def bench():
    say("start")
    flow.bench(project, runners.choose(runner)[0], options, say, lambda now: say("measure " + now.stage))

sys.exit(cli.guarded(bench))
"""
CLEAN = "from tools import commands; commands.clean(everything=False)"
# moment -> the words that the benchmark has said by then (before and after a lane is verified), the second lane
MOMENTS = {
    "start": (["start"], "other"),
    "build": (["start", "build"], "other"),
    "arena": (["start", "build", "build"], "other"),
    "verify": (["start", "build", "build", "verify", "verify"], "hang"),
    "measure": (["start", "build", "build", *["verify"] * 4, "measure"], "other"),
}
RUNNERS = ["host", pytest.param("docker", marks=pytest.mark.docker)]


@pytest.fixture(params=RUNNERS)
def runner(request: pytest.FixtureRequest) -> str:
    """Each runner."""
    return str(request.param)


@contextlib.contextmanager
def benchmark(folder: Path, runner: str, moment: str) -> Iterator[subprocess.Popen[str]]:
    """A benchmark in a session of its own, at this moment."""
    words, second = MOMENTS[moment]
    env = os.environ | {"TMPDIR": str(folder)}
    child = subprocess.Popen(
        [sys.executable, "-c", BENCH, str(folder), runner, second],
        cwd=caches.ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    with child:
        try:
            assert child.stdout is not None
            said = [child.stdout.readline().strip() for _ in words]
            assert said == words, said
            yield child
        finally:
            child.kill()


def processes(folder: Path) -> list[str]:
    """Command lines of living processes that have to do with this folder."""
    mark = os.fsencode(folder)
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes()
            if int(path.name) != os.getpid() and (mark in command or mark in (path / "environ").read_bytes()):
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def folders(folder: Path) -> list[str]:
    """Temporary folders that were not removed."""
    return [path.name for path in folder.glob("deadheat-*")]


def objects(pid: int) -> list[str]:
    """What the engine still has of this process."""
    if not engine.answers():
        return []
    client = engine.client()
    found = {one.name: one.labels for one in client.containers.list(all=True, filters={"label": engine.OWNER})}
    found |= {one.name: one.attrs["Labels"] for one in client.volumes.list(filters={"label": engine.OWNER})}
    found |= {one["Id"]: one["Labels"] for one in client.api.images(filters={"label": engine.OWNER})}
    return [str(name) for name, labels in found.items() if f"/{pid}/" in labels[engine.OWNER]]


@pytest.mark.parametrize(
    ("moment", "number"), [*((moment, signal.SIGINT) for moment in MOMENTS), ("measure", signal.SIGTERM)]
)
def test_interrupt_leaves_nothing(tmp_path: Path, runner: str, moment: str, number: int) -> None:
    """Ctrl-C or SIGTERM ends with exit code 130 and one word, and everything that was made is gone by then."""
    with benchmark(tmp_path, runner, moment) as child:
        child.send_signal(number)
        _, err = child.communicate()
    assert (child.returncode, err) == (130, "interrupted\n")
    assert processes(tmp_path) == []
    assert folders(tmp_path) == []
    assert objects(child.pid) == []


@pytest.mark.parametrize("moment", ["build", "verify", "measure"])
def test_clean_removes_what_a_killed_run_left(tmp_path: Path, runner: str, moment: str) -> None:
    """After kill -9 programs end by themselves, and `invoke clean` removes everything else."""
    with benchmark(tmp_path, runner, moment) as child:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    end = time.monotonic() + PATIENCE_SECONDS
    while processes(tmp_path) and time.monotonic() < end:
        time.sleep(0.05)
    assert processes(tmp_path) == []
    env = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", CLEAN], cwd=caches.ROOT, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert folders(tmp_path) == []
    assert objects(child.pid) == []
