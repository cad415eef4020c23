"""What each load generator prints is read as it means it, and the page says what follows from the numbers."""

from __future__ import annotations

import contextlib
import copy
import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tools import caches, generators_record, generators_tables, packages, serving, tables, toolchains
from tools.errors import LauncherError, ResultError, RunnerError, TablesError, ToolchainError, UsageError
from tools.launcher.protocol import LaunchReply, LaunchRequest, Started, Usage
from tools.loads import Asked
from tools.loads.evidence import bench as benches
from tools.loads.evidence import generators, k6, main, oha, programs, redis_benchmark, vegeta, wrk
from tools.loads.evidence.base import Generator
from tools.loads.evidence.bench import Bench, Server
from tools.loads.evidence.programs import Program

MS = 1_000_000
MACHINE = {
    "id": "0123456789ab", "os": "Debian 12", "kernel": "6.1.0", "arch": "x86_64", "cpu_model": "Example | CPU",
    "cpus": 2, "memory_bytes": 8 << 30, "cpu_level": "x86-64-v3", "governor": None, "virtualization": "vm", "ci": False,
}  # fmt: skip
EVERY = (
    generators.PACE, generators.WRK, generators.VEGETA, generators.K6, generators.OHA, generators.OHA_PLAIN,
    generators.REDIS_BENCHMARK,
)  # fmt: skip

# --- recorded outputs

PACE = {
    "mode": "open", "rate_per_second": 1000, "connections": 50, "pipeline": 1, "offered": 1000, "completed": 999,
    "mismatched": 1, "errors": 0, "dropped": 0, "reconnects": 0, "wall_ns": 1_000_000_000,
    "generator_cpu_ns": 4_000_000, "latency_ns": {"p50": 1, "p90": 2, "p99": 3, "p999": 4, "max": 5, "mean": 1},
    "curve": [[0.5, 1], [0.95, 2.5], [1.0, 5]],
    "lag_ns": {"p50": 1, "p90": 1, "p99": 9, "p999": 9, "max": 9, "mean": 1}, "first_error": None,
}  # fmt: skip
WRK = b"""Running 1s test @ http://127.0.0.1:28801/
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     9.73ms    6.34ms  39.29ms   68.86%
    Req/Sec    50.02k     9.71k   69.57k    80.00%
  50222 requests in 1.01s, 7.14MB read
Requests/sec:  49588.21
Transfer/sec:      7.05MB
{"requests":50222,"duration_us":1012781,"socket":3,"status":2,"p99_us":29081,"p999_us":36250,"p50_us":8680,\
"p90_us":18281,"p95_us":22049,"max_us":39290}
"""
VEGETA = b"""{"latencies":{"total":5166138688,"mean":5192099,"50th":437108,"90th":18188275,"95th":30637339,\
"99th":63497942,"max":78490132,"min":64571},"bytes_in":{"total":0,"mean":0},"bytes_out":{"total":0,"mean":0},\
"earliest":"2026-11-22T05:15:35.261306766Z","latest":"2026-11-22T05:15:36.280740935Z",\
"end":"2026-11-22T05:15:36.281227552Z","duration":1019434169,"wait":486617,"requests":995,"rate":976.0316362321186,\
"throughput":975.5659592959802,"success":1,"status_codes":{"200":992,"503":2,"0":1},"errors":["503 Busy"]}

Value(ms)  Percentile  TotalCount  1/(1-Percentile)
0.064571   0.000000    0           1.000000
0.437108   0.500000    498         2.000000
30.637339  0.950000    945         20.000000
68.900916  0.998828    994         853.242321
71.693944  0.999023    994         1023.541453
78.490132  1.000000    995         10000000.000000
"""
K6: dict[str, Any] = {
    "state": {"isStdOutTTY": False, "isStdErrTTY": False, "testRunDurationMs": 1001.007819},
    "metrics": {
        "http_req_duration": {"type": "trend", "contains": "time", "values": {
            "p(90)": 0.582557, "p(95)": 1.414269, "p(99)": 4.150002, "p(99.9)": 7.928862000000033, "max": 8.227851,
            "med": 0.24665,
        }},
        "http_req_failed": {"type": "rate", "contains": "default", "values": {"passes": 4, "fails": 997, "rate": 0}},
        "http_reqs": {"type": "counter", "contains": "default", "values": {"count": 1001, "rate": 999.992188872203}},
        "dropped_iterations": {"type": "counter", "contains": "default", "values": {"count": 150, "rate": 149.8}},
    },
    "root_group": {"id": "d41d8cd98f00b204e9800998ecf8427e", "groups": [], "checks": [], "name": "", "path": ""},
}  # fmt: skip
OHA = {
    "summary": {
        "successRate": 1.0, "total": 1.003479441, "slowest": 0.006694239, "fastest": 0.000053239,
        "average": 0.00031779098194583755, "requestsPerSec": 993.5430256612501, "totalData": 1994, "sizePerRequest": 2,
        "sizePerSec": 1987.0860513225002,
    },
    "latencyPercentiles": {
        "p10": 0.00013395, "p25": 0.000148868, "p50": 0.000169185, "p75": 0.000197017, "p90": 0.000264324,
        "p95": 0.001230024, "p99": 0.003956733, "p99.9": 0.006694239, "p99.99": 0.006694239,
    },
    "statusCodeDistribution": {"200": 997, "503": 2},
    "errorDistribution": {"aborted due to deadline": 5, "connection closed before message completed": 3},
}  # fmt: skip
REDIS = b"""GET key:0: rps=0.0 (overall: 0.0) avg_msec=-nan (overall: -nan)\r\
GET key:0: rps=228224.0 (overall: 227314.8) avg_msec=3.005 (overall: 3.005)\r                    \r\
====== GET key:0 ======
  100000 requests completed in 0.38 seconds
  50 parallel clients
  24 bytes payload
  keep alive: 1
  host configuration "save":
  host configuration "appendonly": no
  multi-thread: no

Latency by percentile distribution:
0.000% <= 0.327 milliseconds (cumulative count 32)
50.000% <= 1.455 milliseconds (cumulative count 50032)
87.500% <= 6.159 milliseconds (cumulative count 87552)
93.750% <= 7.759 milliseconds (cumulative count 93776)
96.875% <= 9.031 milliseconds (cumulative count 96880)
99.219% <= 9.575 milliseconds (cumulative count 99248)
99.902% <= 16.135 milliseconds (cumulative count 99904)
99.951% <= 16.327 milliseconds (cumulative count 99952)
100.000% <= 16.399 milliseconds (cumulative count 100000)

Cumulative distribution of latencies:
0.000% <= 0.103 milliseconds (cumulative count 0)
99.999% <= 16.103 milliseconds (cumulative count 99999)

Summary:
  throughput summary: 262467.19 requests per second
  latency summary (msec):
          avg       min       p50       p95       p99       max
        2.964     0.320     1.455     8.103     9.527    16.399
"""


def asked(**changes: object) -> Asked:
    """An ordinary run."""
    plain = {
        "address": "127.0.0.1:20001", "protocol": "http", "script": "http.pace", "path": "/", "connections": 50,
        "pipeline": 1, "seconds": 10.0, "rate_per_second": 1000.0,
    }  # fmt: skip
    return Asked(**{**plain, **changes})  # type: ignore[arg-type]  # names and types as above


# --- parsers


def test_pace_has_the_quantile_of_its_curve() -> None:
    """p95 is on its curve only."""
    found = generators.PACE.parse(json.dumps(PACE).encode())
    assert (found.completed, found.mismatched, found.latency_ns["p95"], found.lag_p99_ns) == (999, 1, 2, 9)
    with pytest.raises(ValueError, match=r"without its 0\.95"):
        generators.PACE.parse(json.dumps({**PACE, "curve": [[0.5, 1]]}).encode())


def test_wrk_prints_what_its_script_says() -> None:
    """Microseconds become ns; bad statuses are wrong replies and socket errors are errors."""
    found = wrk.parse(WRK)
    assert (found.offered, found.completed, found.mismatched, found.errors) == (50225, 50220, 2, 3)
    assert found.wall_ns == 1_012_781_000
    assert (found.latency_ns["p95"], found.latency_ns["p999"]) == (22_049_000, 36_250_000)


def test_vegeta_reports_twice() -> None:
    """Counts are in its JSON, p99.9 in its distribution; code 0 is a request without an answer."""
    found = vegeta.parse(VEGETA)
    assert (found.offered, found.completed, found.mismatched, found.errors) == (995, 992, 2, 1)
    assert found.wall_ns == 1_019_920_786
    assert (found.latency_ns["p99"], found.latency_ns["p999"]) == (63_497_942, 71_693_944)
    assert found.first_error == "503 Busy"
    with pytest.raises(ValueError, match="no distribution"):
        vegeta.parse(VEGETA.splitlines()[0])


def test_k6_drops_what_finds_no_user() -> None:
    """Dropped iterations were due; its rate `http_req_failed` passes when a request failed."""
    found = k6.parse(json.dumps(K6).encode() + b"\n")
    assert (found.offered, found.completed, found.errors, found.dropped) == (1151, 997, 4, 150)
    assert (found.wall_ns, found.latency_ns["p50"], found.latency_ns["p999"]) == (1_001_007_819, 246_650, 7_928_862)
    whole = copy.deepcopy(K6)
    del whole["metrics"]["dropped_iterations"]
    assert k6.parse(json.dumps(whole).encode()).dropped == 0


def test_oha_counts_what_the_deadline_cut() -> None:
    """Seconds become ns; what was under way at the end was dropped, other failures are errors."""
    found = oha.parse(json.dumps(OHA, indent=2).encode())
    assert (found.offered, found.completed, found.mismatched, found.errors, found.dropped) == (1007, 997, 2, 3, 5)
    assert (found.wall_ns, found.latency_ns["p95"], found.latency_ns["p999"]) == (1_003_479_441, 1_230_024, 6_694_239)
    assert found.first_error == "connection closed before message completed"


def test_redis_benchmark_has_rows_of_its_own() -> None:
    """The first row at or above a quantile speaks; its progress lines and its second table do not."""
    found = redis_benchmark.parse(REDIS)
    assert (found.completed, found.latency_ns["p50"], found.latency_ns["p95"]) == (100_000, 1_455_000, 9_031_000)
    assert (found.latency_ns["p999"], found.latency_ns["max"]) == (16_135_000, 16_399_000)
    assert found.completed / found.wall_ns * 1e9 == pytest.approx(262467.19)


@pytest.mark.parametrize("generator", EVERY, ids=lambda one: one.name)
@pytest.mark.parametrize("stdout", [b"", b"{}", b"Segmentation fault\n", b"[1]", b'{"metrics": 3, "status_codes": 4}'])
def test_other_output_is_refused(generator: Generator, stdout: bytes) -> None:
    """A generator that says something else has measured nothing."""
    with pytest.raises(ValueError, match=r"."):
        generator.parse(stdout)


# --- commands


@pytest.mark.parametrize("generator", generators.OPEN, ids=lambda one: one.name)
def test_a_rate_is_asked_for(generator: Generator) -> None:
    """Address, connections, rate and length reach every generator, on its command line or in its files."""
    asks = asked(rate_per_second=1234.0, connections=47, seconds=8.0)
    said = " ".join([*generator.command(asks), *generator.files(asks).values()])
    assert all(word in said for word in ("127.0.0.1:20001", "1234", "47", "8"))
    closed = asked(rate_per_second=None)
    assert "1000" not in " ".join([*generator.command(closed), *generator.files(closed).values()])


def test_ways_to_ask_differ() -> None:
    """With and without the correction of oha; vegeta limits workers only without a rate; wrk and redis pipeline."""
    assert "--latency-correction" in oha.command(asked())
    assert "--latency-correction" not in oha.plain(asked())
    assert "--latency-correction" not in oha.command(asked(rate_per_second=None))
    assert "-max-workers" in vegeta.command(asked(rate_per_second=None))
    assert "-max-workers" not in vegeta.command(asked())
    assert "1, 16 do" in wrk.files(asked(pipeline=16))[wrk.SCRIPT]
    assert "request =" not in wrk.files(asked())[wrk.SCRIPT]
    words = redis_benchmark.command(asked(pipeline=16, rate_per_second=50_000.0))
    assert words[words.index("-P") :][:2] == ("-P", "16")
    assert words[words.index("-n") + 1] == "500000"


def test_scripts_are_what_pace_reads() -> None:
    """Lengths in front of each request and its reply."""
    assert benches.script((b"PING", b"OK")) == b"PACE1\n\x04\0\0\0\x02\0\0\0PINGOK"


# --- the record


def run(generator: str, rate: float | None = 1000.0, **changes: Any) -> dict[str, Any]:
    """A run of one second in which everything went well."""
    found = {
        "offered": 1000, "completed": 1000, "mismatched": 0, "errors": 0, "dropped": 0, "wall_ns": 1_000_000_000,
        "lag_p99_ns": None, "first_error": None, "cpu_ns": 50 * MS, "rss_bytes": 3 << 20, "server_cpu_ns": 20 * MS,
        "latency_ns": {"p50": MS, "p90": MS, "p95": MS, "p99": 2 * MS, "p999": 3 * MS, "max": 4 * MS},
    }  # fmt: skip
    return {
        "generator": generator, "rate_per_second": rate, "connections": 50, "pipeline": 1, "stops_ms": [],
        "failed": None, "found": {**found, **changes},
    }  # fmt: skip


def failed(generator: str, why: str) -> dict[str, Any]:
    """A run without numbers."""
    return {**run(generator), "found": None, "failed": why}


def latencies(p95_ms: float, p99_ms: float, p999_ms: float) -> dict[str, int]:
    """Quantiles of a run with pauses."""
    return {
        "p50": MS, "p90": MS, "p95": round(p95_ms * MS), "p99": round(p99_ms * MS), "p999": round(p999_ms * MS),
        "max": 200 * MS,
    }  # fmt: skip


def record(**changes: Any) -> dict[str, Any]:
    """A whole record."""
    stops = {"stops_ms": [200.0] * 5}
    return copy.deepcopy({
        "schema_version": 1, "created_at": "2026-11-22T06:30:00Z", "seconds": 10, "took_seconds": 430.0,
        "load_at_start": 0.1,
        "harness": {"version": "0.1.0", "commit": "a" * 40, "dirty": False, "source_sha256": "b" * 64},
        "environment": MACHINE, "cores": {"server": 1, "generator": 0},
        "programs": {"pace": "sources abc", "oha": None}, "missing": {"oha": "no network | <b>"}, "period_ms": 2000.0,
        "rates": [
            run("pace", lag_p99_ns=30_000), run("pace", 5000.0, completed=4000), run("k6", 5000.0, completed=100),
            failed("oha", "oha is not installed"), run("pace", None, completed=80_000),
            run("wrk", None, completed=90_000),
        ],
        "stalled": [
            {**run("pace", latency_ns=latencies(101, 181, 199)), **stops},
            {**run("k6", latency_ns=latencies(1, 181, 199), completed=800), **stops},
            {**run("wrk", None, latency_ns=latencies(1, 1, 1)), **stops},
            failed("vegeta", "no"),
        ],
        "http": [run("pace", None, completed=100_000, cpu_ns=1_000_000_000), failed("wrk", "gone")],
        "resp": [run("redis-benchmark", None)],
        **changes,
    })  # fmt: skip


def test_the_truth_about_pauses_is_known() -> None:
    """200 ms in every two seconds: a tenth waits evenly up to 200 ms; longer and shorter pauses mix; none is none."""
    row = {"stops_ms": [200.0] * 5}
    found = generators_record.truths(row, 2000.0)
    assert [found[name] / MS for name in ("p95", "p99", "p999")] == pytest.approx([100, 180, 198])
    assert generators_record.true_ns([100.0, 300.0], 2000.0, 0.99) / MS == pytest.approx(260)
    assert generators_record.true_ns([], 2000.0, 0.99) == 0


def test_who_leaves_requests_out_sees_the_pauses_in_part() -> None:
    """p99 alone may look right where two hundred requests of a thousand were never sent."""
    rows = record()["stalled"]
    assert all(generators_record.seen(rows[0], 2000.0).values())
    assert generators_record.seen(rows[1], 2000.0) == {"p95": False, "p99": True, "p999": True}
    assert not any(generators_record.seen(rows[2], 2000.0).values())
    assert [generators_record.unanswered(row) for row in rows[:3]] == [0, 200, None]


def test_a_rate_is_kept_or_missed() -> None:
    """99 % of it; the highest that was kept counts."""
    rows = record()["rates"]
    assert generators_record.highest_kept(rows, "pace") == rows[0]
    assert generators_record.highest_kept(rows, "k6") is None
    assert generators_record.fastest(rows, "pace") == rows[4]
    assert not generators_record.kept(rows[3])


def test_a_record_from_a_stranger_is_refused(tmp_path: Path) -> None:
    """What does not fit the schema is named with its place; no record at all is not measured yet."""
    path = tmp_path / "load-generators.json"
    assert generators_record.read(path) is None
    path.write_text(json.dumps(record()))
    assert generators_record.read(path) == record()
    wrong: dict[str, dict[str, Any]] = {
        "more": {"more": 1}, "rate": {"rates": [run("x", -1.0)]}, "seconds": {"seconds": 0},
    }  # fmt: skip
    for words, changes in wrong.items():
        path.write_text(json.dumps(record(**changes)))
        with pytest.raises(ResultError, match=words):
            generators_record.read(path)


# --- the page


def test_the_tables_say_what_the_record_says() -> None:
    """Missed rates and wrong quantiles stand out; what failed says why; nothing of a stranger is markup."""
    summary, rates, stalled, ceilings, limits = (
        generators_tables.block(f"generators-{name}", record())
        for name in ("summary", "rates", "stalled", "ceilings", "limits")
    )
    assert "Example \\| CPU" in summary
    assert "- not installed: oha: no network \\| &lt;b&gt;" in summary
    used = "0.05 | 0.02 | 3.00 MiB | 30.0 \u00b5s"
    assert f"| 1,000/s | pace | 1,000/s | 1.00 ms | 2.00 ms | 3.00 ms | {used} |" in rates
    assert "| 5,000/s | k6 | **100/s** |" in rates
    assert "| 1,000/s | oha | failed: oha is not installed | - |" in rates
    assert "| *the truth* |  |  | 100 ms | 180 ms | 198 ms | 0 |  |" in stalled
    assert "| k6 | 1,000/s | 1.00 ms | **1.00 ms** | 181 ms | 199 ms | 200 | in part |" in stalled
    assert "| wrk | as fast as it can | 1.00 ms | **1.00 ms** | **1.00 ms** | **1.00 ms** | - | no |" in stalled
    assert "| HTTP | 50 | 1 | pace | 100,000/s | 10.0 \u00b5s | 1.00 | 0.02 |" in ceilings
    assert "| HTTP | 50 | 1 | wrk | failed: gone | - | - | - |" in ceilings
    assert "| pace | 1,000/s | 50.0 \u00b5s | 20.0 k/s | 80,000/s |" in limits
    assert "| wrk | keeps no rate | - | - | 90,000/s |" in limits
    assert "| k6 | none | - | - | - |" in limits
    assert "| oha | - | - | - | - |" in limits


def test_every_table_is_a_table() -> None:
    """Each row has as many cells as its head, failed ones too; without any run there is none."""
    for name in generators_tables.BLOCKS:
        lines = [line for line in generators_tables.block(name, record()).splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in lines}) <= 1, name
    empty = record(rates=[], stalled=[], http=[], resp=[])
    for name in ("rates", "stalled", "ceilings", "limits"):
        assert generators_tables.block(f"generators-{name}", empty) == generators_tables.NOT_MEASURED
        assert generators_tables.block(f"generators-{name}", None) == generators_tables.NOT_MEASURED


def test_the_page_follows_the_record(tmp_path: Path) -> None:
    """`invoke tables` fills the page in; other numbers make it outdated, and the check says where."""
    (tmp_path / "docs").mkdir()
    for name in (*tables.REQUIRED, generators_tables.PAGE):
        (tmp_path / name).write_bytes((caches.ROOT / name).read_bytes())
    path, roots = tmp_path / generators_record.PATH, tables.Roots(tmp_path)
    path.write_text(json.dumps(record()))
    tables.update(roots, force=True)
    assert "| k6 | 1,000/s | 1.00 ms |" in (tmp_path / generators_tables.PAGE).read_text()
    tables.check(roots)
    path.write_text(json.dumps(record(rates=[run("pace", completed=1)])))
    with pytest.raises(TablesError, match=r"docs/load-generators\.md:\d+: block generators-rates is outdated"):
        tables.check(roots)


# --- the bench


def reply(**changes: Any) -> LaunchReply:
    """A program that ended well and printed nothing."""
    return replace(serving._nothing(), **{"code": 0, **changes})


class FakeLauncher:
    """Answers like a launcher whose programs do what a test says."""

    def __init__(self, answer: Callable[[LaunchRequest], LaunchReply]) -> None:
        """Nothing was asked yet."""
        self.answer = answer
        self.asked: list[LaunchRequest] = []
        self.signals: list[tuple[int, int]] = []
        self.lives_for = 3
        self.server_lives = True

    def run(self, request: LaunchRequest) -> LaunchReply:
        """A program runs to its end."""
        self.asked.append(request)
        return self.answer(request)

    def start(self, request: LaunchRequest) -> Started | LaunchReply:
        """A program is ready; one that fails has ended already."""
        found = self.run(request)
        return Started(len(self.asked), 7, 1, b"") if found.ok else found

    def usage(self, started: Started) -> Usage:
        """10 ms more each time; a generator lives for some looks, a server as long as it may."""
        if started.id == 0:
            if not self.server_lives:
                raise LauncherError("the launcher refused: the program has ended")
        else:
            self.lives_for -= 1
            if self.lives_for < 0:
                raise LauncherError("the launcher refused: the program has ended")
        return Usage(10 * MS, 0, 1, 1, threads=1)

    def signal(self, started: Started, number: int) -> None:
        """Remember it."""
        self.signals.append((started.id, number))

    def wait(self, started: Started, timeout_ms: int) -> LaunchReply:
        """How it ended."""
        del started, timeout_ms
        return self.answer(self.asked[-1])


SERVER = Server(Started(0, 1, 1, b""), "127.0.0.1:1")


def bench_of(folder: Path, answer: Callable[[LaunchRequest], LaunchReply], seconds: float = 1e6) -> Bench:
    """A bench over a fake launcher, with every program at /bin/NAME."""
    installed = {name: Program(Path("/bin") / name, "1") for name in programs.NAMES}
    launcher: Any = FakeLauncher(answer)
    return Bench(launcher, folder, installed, 1, 0, time.monotonic() + seconds)


def launcher_of(bench: Bench) -> FakeLauncher:
    """The fake behind a bench."""
    found: Any = bench.client
    assert isinstance(found, FakeLauncher)
    return found


def test_who_never_sleeps_worked_while_it_did_not_wait(tmp_path: Path) -> None:
    """All of a core is pace's by the launcher; what it needed of it is in its report."""
    bench = bench_of(tmp_path, lambda _: reply(stdout=json.dumps(PACE).encode(), user_ns=500 * MS))
    assert bench.run(generators.PACE, asked(), SERVER)["found"]["cpu_ns"] == 4 * MS


def test_a_run_is_kept_with_what_it_used(tmp_path: Path) -> None:
    """Numbers of the generator, its CPU time and memory as the launcher saw them, on its own core."""
    bench = bench_of(tmp_path, lambda _: reply(stdout=json.dumps(K6).encode(), user_ns=5 * MS, max_rss_bytes=77))
    row = bench.run(generators.K6, asked(), SERVER)
    assert (row["failed"], row["found"]["dropped"], row["found"]["cpu_ns"]) == (None, 150, 5 * MS)
    assert row["found"]["rss_bytes"] == 77
    [request] = launcher_of(bench).asked
    assert (request.argv[0], request.cpus, request.cwd) == ("/bin/k6", "0", str(tmp_path))
    assert "constant-arrival-rate" in (tmp_path / k6.SCRIPT).read_text()


def test_vegeta_is_read_from_its_reports(tmp_path: Path) -> None:
    """What prints the answer runs afterwards and is not counted."""

    def answer(request: LaunchRequest) -> LaunchReply:
        first, _, rest = VEGETA.partition(b"\n\n")
        if request.argv[1] == "attack":
            return reply(user_ns=5 * MS)
        return reply(stdout=first if "-type=json" in request.argv else rest, user_ns=900 * MS)

    row = bench_of(tmp_path, answer).run(generators.VEGETA, asked(), SERVER)
    assert (row["failed"], row["found"]["completed"], row["found"]["cpu_ns"]) == (None, 992, 5 * MS)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (reply(code=3, stderr=b"cannot connect"), "k6: exit code 3: cannot connect"),
        (reply(stdout=b"{}"), "k6 printed something else"),
    ],
    ids=["fails", "garbage"],
)
def test_what_goes_wrong_is_a_row(answer: LaunchReply, why: str, tmp_path: Path) -> None:
    """The reason stands where the numbers would be, and the next run goes on."""
    row = bench_of(tmp_path, lambda _: answer).run(generators.K6, asked(), SERVER)
    assert row["found"] is None
    assert why in row["failed"]


def test_without_program_or_time_nothing_starts(tmp_path: Path) -> None:
    """A generator that is not installed, and a run that would not end in time, are rows that say so."""
    bench = bench_of(tmp_path, lambda _: reply())
    del bench.programs["oha"]
    assert bench.run(generators.OHA, asked(), SERVER)["failed"] == "oha is not installed"
    late = bench_of(tmp_path, lambda _: reply(), seconds=5.0)
    assert "no time left" in late.run(generators.K6, asked(), SERVER)["failed"]
    assert launcher_of(bench).asked == launcher_of(late).asked == []


def test_a_stalled_server_always_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped while the generator lives and continued each time, also when the pause is cut short."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    bench = bench_of(tmp_path, lambda _: reply(stdout=json.dumps(K6).encode()))
    row = bench.run(generators.K6, asked(), SERVER, stalled=True)
    assert len(row["stops_ms"]) == 3
    assert launcher_of(bench).signals == [(0, signal.SIGSTOP), (0, signal.SIGCONT)] * 3

    def interrupted(seconds: float) -> None:
        if seconds == benches.PAUSE_SECONDS:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    bench = bench_of(tmp_path, lambda _: reply(stdout=json.dumps(K6).encode()))
    with pytest.raises(KeyboardInterrupt):
        bench.run(generators.K6, asked(), SERVER, stalled=True)
    assert launcher_of(bench).signals == [(0, signal.SIGSTOP), (0, signal.SIGCONT)]


def test_a_server_that_dies_ends_the_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row says so, and the generator does not go on alone."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    bench = bench_of(tmp_path, lambda _: reply())
    launcher = launcher_of(bench)
    usual = launcher.signal

    def refuse(started: Started, number: int) -> None:
        usual(started, number)
        if started.id == 0:
            raise LauncherError("the program has ended")

    monkeypatch.setattr(launcher, "signal", refuse)
    row = bench.run(generators.K6, asked(), SERVER, stalled=True)
    assert row["failed"] == "the program has ended"
    assert launcher.signals[-1] == (1, signal.SIGKILL)


def test_an_interrupt_stays_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C closes the connection to the launcher; that the servers cannot be stopped any more does not hide it."""

    def gone(*_: object) -> None:
        raise LauncherError("the connection to the launcher is closed")

    def interrupted(started: Started, number: int) -> None:
        del started, number
        for name in ("signal", "wait", "usage", "start", "run"):
            monkeypatch.setattr(launcher, name, gone)
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", lambda _: None)
    bench = bench_of(tmp_path, lambda _: reply())
    launcher = launcher_of(bench)
    monkeypatch.setattr(launcher, "usage", lambda _: Usage(1, 1, 1, 1, threads=1))
    monkeypatch.setattr(launcher, "signal", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main.stalled(bench, 1)


def test_servers_are_stopped_whatever_happens(tmp_path: Path) -> None:
    """An error in its block ends nginx by SIGTERM; a redis-server that does not start is an error with its log."""
    bench = bench_of(tmp_path, lambda _: reply())
    with pytest.raises(ValueError, match="mine"), bench.nginx():
        raise ValueError("mine")
    assert (1, signal.SIGTERM) in launcher_of(bench).signals
    assert launcher_of(bench).asked[0].cpus == "1"
    bad = bench_of(tmp_path, lambda _: reply(code=1, stderr=b"Address in use"))
    with pytest.raises(RunnerError, match=r"redis-server did not start: exit code 1: Address in use"), bad.redis():
        pass


# --- the command


@contextlib.contextmanager
def fake_server() -> Iterator[Server]:
    """A server that is there."""
    yield SERVER


@pytest.fixture
def quiet_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench on which every run finds the same at once."""
    bench = bench_of(tmp_path, lambda _: reply())
    monkeypatch.setattr(bench, "nginx", fake_server)
    monkeypatch.setattr(bench, "redis", fake_server)

    def found(generator: Generator, asks: Asked, server: Server, *, stalled: bool = False) -> dict[str, Any]:
        del server
        row = run(generator.name, asks.rate_per_second) | {"stops_ms": [200.0] if stalled else []}
        return row | {"connections": asks.connections, "pipeline": asks.pipeline}

    monkeypatch.setattr(bench, "run", found)
    monkeypatch.setattr(benches, "opened", lambda *_: contextlib.nullcontext(bench))
    return bench


def test_everything_is_asked_once(quiet_bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """Three rates of four generators, five closed loops, six with pauses, sixteen ceilings; the record is valid."""
    tree = main.record(3, quiet_bench.programs, {})
    assert [len(tree[part]) for part in ("rates", "stalled", "http", "resp")] == [17, 6, 8, 8]
    assert {row["rate_per_second"] for row in tree["resp"]} == {None}
    generators_record.refuse_problems(tree, "x")
    assert capsys.readouterr().err.count("\n") == 39


def test_a_missing_server_is_a_row_each(quiet_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-server the ceilings over HTTP are still there."""

    @contextlib.contextmanager
    def refuse() -> Iterator[Server]:
        raise RunnerError("redis-server is not installed")
        yield SERVER

    monkeypatch.setattr(quiet_bench, "redis", refuse)
    rows = main.ceilings(quiet_bench, 1, "resp")
    assert [row["failed"] for row in rows] == ["redis-server is not installed"] * 8
    generators_record.refuse_problems(record(resp=rows), "x")


def test_the_page_follows_only_its_own_record(
    quiet_bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record elsewhere leaves the documents alone."""
    updated: list[Path] = []

    def update(roots: tables.Roots) -> list[Path]:
        updated.append(roots.root)
        return []

    monkeypatch.setattr(main, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "update", update)
    monkeypatch.setattr(programs, "provide", lambda _: (quiet_bench.programs, {"oha": "no network"}))
    (tmp_path / "docs").mkdir()
    assert main.main(["--seconds", "1", "--out", str(tmp_path / "other.json")]) == 0
    kept = generators_record.read(tmp_path / "other.json")
    assert kept is not None
    assert kept["missing"] == {"oha": "no network"}
    assert updated == []
    assert main.main(["--seconds", "1"]) == 0
    assert updated == [tmp_path]
    assert (tmp_path / generators_record.PATH).exists()


def test_check_and_install_measure_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`--check` compares the documents; `--install` stops before the first run."""
    called: list[str] = []

    def provide(_: object) -> tuple[dict[str, Program], dict[str, str]]:
        called.append("provide")
        return {}, {}

    monkeypatch.setattr(tables, "check", lambda: called.append("check"))
    monkeypatch.setattr(programs, "provide", provide)
    monkeypatch.setattr(main, "record", lambda *_: called.append("record"))
    assert main.main(["--check", "--out", str(tmp_path / "x.json")]) == 0
    assert main.main(["--install"]) == 0
    assert called == ["check", "provide"]


def test_nothing_measured_is_nothing_stored(quiet_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher that is lost at the start costs the run, never the last record."""

    def refuse(*_: object, **__: object) -> dict[str, Any]:
        return failed("pace", "the launcher is gone")

    monkeypatch.setattr(quiet_bench, "run", refuse)
    with pytest.raises(RunnerError, match="no generator found anything: the launcher is gone"):
        main.record(1, quiet_bench.programs, {})


@pytest.mark.parametrize("seconds", ["0", "61", "1.5", "ten"])
def test_seconds_are_whole_and_few(seconds: str) -> None:
    """Seconds of wrk are whole, and nobody waits an hour."""
    with pytest.raises((SystemExit, UsageError)):
        main.parsed(["--seconds", seconds])


def test_what_does_not_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others go on; without nginx or pace nothing can be compared."""

    def refuse(*_: object) -> Path:
        raise ToolchainError("cannot build it", remedy="run: this")

    monkeypatch.setattr(toolchains, "go_program", lambda name: Path("/cache") / name)
    monkeypatch.setattr(toolchains, "cargo_program", refuse)
    found, missing = programs.provide(("vegeta", "oha"))
    assert found["vegeta"].version.startswith("v12.")
    assert missing == {"oha": "cannot build it (run: this)"}
    monkeypatch.setattr(packages, "ensure", refuse)
    with pytest.raises(ToolchainError, match="cannot build it"):
        programs.provide(("nginx",))
