"""The project of the bad servers, made in a temporary folder: one good lane, and one lane a fault."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tools.project import load

if TYPE_CHECKING:
    from tools.model import Project

HERE = Path(__file__).parent
PROJECT = """\
schema: 1
number: "99.2"
slug: ping-server
alias: pings
title: Ping server
group: "99 Tests"
kinds: [server]
summary: Answers pings.
teaches: [nothing]
item: {name: ping, plural: pings, definition: "a PING and its PONG"}
metric: {name: ns_per_item, unit: ns, direction: lower}
network: internal
server: {args: ["--listen", "{listen}"]}
%(services)slanes:
%(lanes)s
workloads:
  verify: {seed: 1, size: {}}
  bench: {seed: 2, size: {}}
oracle: {compare: exact, timeout_seconds: 5}
cases:
  - name: capacity
    title: pings as fast as they come
    args: []
    workloads: [verify, bench]
    load: &load
      {tool: pace, protocol: resp, script: "{data}/ping.pace", connections: 4,
       settle_seconds: 0.2, measure_seconds: 0.3}
  - name: latency
    title: pings by the clock
    args: []
    workloads: [verify, bench]
    load: {<<: *load, rate: 200, measure_seconds: 0.5}
bad_inputs:
  - {name: bad-address, args: ["--listen", "nowhere"], stderr: "nowhere"}
limits: {memory_bytes: 268435456, timeout_seconds: 20, processes: 32, nofile: 28}
"""
LANE = "  %s: {language: python, parity: {library: own, threads: 1}}"
WORKLOAD = """\
import argparse, pathlib, struct
p = argparse.ArgumentParser()
for name in ("workload", "seed", "size", "out"):
    p.add_argument("--" + name)
a = p.parse_args()
one = struct.pack("<II", 6, 7) + b"PING\\r\\n+PONG\\r\\n"
pathlib.Path(a.out, "ping.pace").write_bytes(b"PACE1\\n" + one * 10)
"""
ORACLE = """\
import argparse, json, pathlib, socket, subprocess, sys
p = argparse.ArgumentParser()
for name in ("program", "data", "out"):
    p.add_argument("--" + name)
a = p.parse_args()
words = [a.program, "--listen", "127.0.0.1:0"]
server = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE)
host, _, port = server.stdout.readline().decode().split()[-1].rpartition(":")
with socket.create_connection((host, int(port)), timeout=5) as client:
    client.sendall(b"PING\\r\\n")
    reply = client.recv(100)
server.kill()
failure = None if reply == b"+PONG\\r\\n" else f"PING got {reply!r}"
pathlib.Path(a.out, "report.json").write_text(json.dumps({"checks": [{"name": "ping", "failure": failure}]}))
"""


def make(root: Path, faults: list[str], services: str = "") -> Project:
    """A project under `root` with a lane `good` and a lane for each fault."""
    folder = root / "ping-server"
    lanes = ["good", *faults]
    for lane in lanes:
        (folder / lane).mkdir(parents=True)
        code = (HERE / "server.py").read_text().replace('FAULT = "none"', f'FAULT = "{lane}"')
        (folder / lane / "main.py").write_text(code)
    (folder / "workload.py").write_text(WORKLOAD)
    (folder / "oracle.py").write_text(ORACLE)
    text = PROJECT % {"lanes": "\n".join(LANE % lane for lane in lanes), "services": services}
    (folder / "project.yaml").write_text(text)
    return load(folder / "project.yaml")
