"""The project of the bad chat servers, made in a temporary folder: one good lane, and one lane a fault."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tools.project import load

if TYPE_CHECKING:
    from tools.model import Project

HERE = Path(__file__).parent
PROJECT = """\
schema: 1
number: "99.3"
slug: chat-server
alias: chats
title: Chat server
group: "99 Tests"
kinds: [server, scenario]
summary: Passes messages on.
teaches: [nothing]
item: {name: delivery, plural: deliveries, definition: "a message that reached one other member"}
metric: {name: ns_per_item, unit: ns, direction: lower}
network: internal
server: {args: ["--listen", "{listen}"]}
lanes:
%(lanes)s
workloads:
  verify: {seed: 1, size: {}}
  bench: {seed: 2, size: {}}
oracle: {compare: exact, timeout_seconds: 5}
cases:
  - name: steady
    title: users who stay
    args: []
    workloads: [verify, bench]
    load: &load
      {tool: rooms, protocol: websocket, script: "{data}/steady.json", settle_seconds: 0.2, measure_seconds: 0.5}
    soak: {seconds: 3}
  - name: churn
    title: users who come and go
    args: []
    workloads: [verify, bench]
    without: &faults {%(faults)s}
    load: {<<: *load, script: "{data}/churn.json", measure_seconds: 1}
  - name: saturation
    title: more than it can do
    args: []
    workloads: [verify, bench]
    without: *faults
    load: {<<: *load, script: "{data}/saturation.json", settle_seconds: 0, measure_seconds: 0.3, saturates: true}
bad_inputs:
  - {name: bad-address, args: ["--listen", "nowhere"], stderr: "nowhere"}
limits: {memory_bytes: 536870912, timeout_seconds: 30, processes: 32, nofile: 256}
"""
LANE = "  %s: {language: python, parity: {library: own, threads: 1}}"
EXCUSE = "%s: shown in the first case"
WORKLOAD = """\
import argparse, json, pathlib
p = argparse.ArgumentParser()
for name in ("workload", "seed", "size", "out"):
    p.add_argument("--" + name)
a = p.parse_args()
def plan(name, users, rate, session=None):
    phase = {"name": name, "seconds": 1, "users": [users, users], "rate": rate, "session_seconds": session}
    content = {"path": "/chat", "room": "tests", "payload_bytes": 80, "phases": [phase]}
    pathlib.Path(a.out, name + ".json").write_text(json.dumps(content))
plan("steady", 5, 20)
plan("churn", 5, 20, 0.4)
plan("saturation", 40, 200)
"""
ORACLE = """\
import argparse, json, pathlib
p = argparse.ArgumentParser()
for name in ("program", "data", "out"):
    p.add_argument("--" + name)
a = p.parse_args()
pathlib.Path(a.out, "report.json").write_text(json.dumps({"checks": [{"name": "nothing", "failure": None}]}))
"""


def make(root: Path, faults: list[str]) -> Project:
    """A project under `root` with a lane `good` and a lane for each fault."""
    folder = root / "chat-server"
    lanes = ["good", *faults]
    for lane in lanes:
        (folder / lane).mkdir(parents=True)
        code = (HERE / "server.py").read_text().replace('FAULT = "none"', f'FAULT = "{lane}"')
        (folder / lane / "main.py").write_text(code)
    (folder / "workload.py").write_text(WORKLOAD)
    (folder / "oracle.py").write_text(ORACLE)
    (folder / "project.yaml").write_text(
        PROJECT % {"lanes": "\n".join(LANE % lane for lane in lanes), "faults": ", ".join(map(EXCUSE.__mod__, faults))}
    )
    return load(folder / "project.yaml")
