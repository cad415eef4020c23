"""The project of the bad lanes, made in a temporary folder: one good lane, and one lane a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.project import load

if TYPE_CHECKING:
    from pathlib import Path

    from tools.model import Project

HERE = __import__("pathlib").Path(__file__).parent
PROJECT = """\
schema: 1
number: "99.1"
slug: line-counter
alias: lines
title: Line counter
group: "99 Tests"
kinds: [batch]
summary: Counts lines.
teaches: [nothing]
item: {name: line, plural: lines, definition: "a line feed"}
metric: {name: wall_ns, unit: ns, direction: lower}
lanes:
%(lanes)s
workloads:
  verify: {seed: 1, size: {lines: 100}}
  bench: {seed: 2, size: {lines: 100000}}
oracle: {compare: exact}
cases:
  - {name: count, title: count lines, args: ["--input", "{data}/lines.txt"], workloads: [verify, bench]}
bad_inputs:
  - {name: missing-file, args: ["--input", "{data}/none.txt"], stderr: "none.txt"}
limits: {memory_bytes: 268435456, timeout_seconds: %(timeout)s, processes: 32}
"""
LANE = "  %s: {language: python, parity: {library: own, threads: 1}, packages: {run: {pip: [xxhash==4.1.0]}}}"
WORKLOAD = """\
import argparse, json, pathlib
p = argparse.ArgumentParser()
for name in ("workload", "seed", "size", "out"):
    p.add_argument("--" + name)
a = p.parse_args()
pathlib.Path(a.out, "lines.txt").write_text("x\\n" * json.loads(a.size)["lines"])
"""
ORACLE = """\
import argparse, json, pathlib
p = argparse.ArgumentParser()
for name in ("workload", "data", "cases", "out"):
    p.add_argument("--" + name)
a = p.parse_args()
lines = pathlib.Path(a.data, "lines.txt").read_bytes().count(10)
pathlib.Path(a.out, "0.answer").write_text(f"{lines}\\n")
cases = json.loads(pathlib.Path(a.cases).read_text())
index = [{**c, "answer": "0.answer", "items": lines, "compare": "exact"} for c in cases]
pathlib.Path(a.out, "index.json").write_text(json.dumps(index))
"""


def make(root: Path, faults: list[str], timeout_seconds: float = 20) -> Project:
    """A project under `root` with a lane `good` and a lane for each fault."""
    folder = root / "line-counter"
    lanes = ["good", *faults]
    for lane in lanes:
        (folder / lane).mkdir(parents=True)
        code = (HERE / "lane.py").read_text().replace('FAULT = "none"', f'FAULT = "{lane}"')
        (folder / lane / "main.py").write_text(code)
    (folder / "workload.py").write_text(WORKLOAD)
    (folder / "oracle.py").write_text(ORACLE)
    text = PROJECT % {"lanes": "\n".join(LANE % lane for lane in lanes), "timeout": timeout_seconds}
    (folder / "project.yaml").write_text(text)
    return load(folder / "project.yaml")
