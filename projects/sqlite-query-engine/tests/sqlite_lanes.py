"""One run of a lane: start it, read its statistics, judge its manners; and the right answer beside it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

PROJECT = Path(__file__).parents[1]

STATISTICS = re.compile(
    r"--- Statistics ---\n"
    r"Total processed: (?P<items>\d+)\n"
    r"Processing time: \d+\.\d{3,}s\n"
    r"Average latency: \d+\.\d{3,}ms\n"
    r"Throughput: \d+\.\d{2,} items/sec\n"
    r"Digest: (?P<digest>[0-9a-f]{16})\n"
)
TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class Run:
    """What one run of a lane left behind; `exit_code` is None after a timeout."""

    exit_code: int | None
    stdout: str
    stderr: str
    answer: bytes | None

    @property
    def items(self) -> int | None:
        """Return the item count of the statistics block, None when there is no proper block."""
        match = STATISTICS.fullmatch(self.stdout)
        return int(match["items"]) if match else None

    @property
    def digest(self) -> str | None:
        """Return the digest of the statistics block."""
        match = STATISTICS.fullmatch(self.stdout)
        return match["digest"] if match else None


def run_lane(command: list[str], args: list[str], output: Path) -> Run:
    """Run a lane with an output file of its own, which is removed again."""
    output.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            [*command, *args, "--output", str(output)],
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Run(None, "", f"no end within {TIMEOUT_SECONDS} s", None)
    answer = output.read_bytes() if output.exists() else None
    output.unlink(missing_ok=True)
    return Run(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"), answer)


def manners(run: Run) -> str | None:
    """Return what is wrong with how a run ended (not with its answer), None when nothing is."""
    if run.exit_code is None:
        return "did not end in time"
    if run.exit_code == 0:
        if run.items is None:
            return f"statistics block is malformed: {run.stdout!r}"
        return "no output file after success" if run.answer is None else None
    if run.exit_code != 2:
        return f"exit code {run.exit_code}, stderr {run.stderr[:300]!r}"
    if not re.fullmatch(r"error: [^\n\x00-\x1f]+\n", run.stderr):
        return f"stderr is not one error line: {run.stderr[:300]!r}"
    return "something on stdout or an output file after an error" if run.stdout or run.answer is not None else None


@cache
def oracle() -> ModuleType:
    """Load this project's oracle under a name of its own: every project has an oracle.py."""
    spec = importlib.util.spec_from_file_location("sqlite_query_engine_oracle", PROJECT / "oracle.py")
    if spec is None or spec.loader is None:
        raise AssertionError("oracle.py is missing")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(PROJECT))  # for its own import
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(PROJECT))
    return module


def right_answer(path: Path, query: str, form: str) -> bytes:
    """Return SQLite's answer in the form asked for."""
    return bytes(oracle().answer_of(path, query, form))
