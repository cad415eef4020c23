"""Exported results are what the tools that read them expect: their own programs and schemas say so."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests import builders, sites
from tools import export, result, toolchains
from tools.caches import ROOT
from tools.errors import UsageError
from tools.record import Result

COMMITTED = sorted((ROOT / "results").rglob("*.json"))
BMF_SCHEMA = {
    "type": "object",
    "patternProperties": {".+": {
        "type": "object",
        "patternProperties": {".+": {
            "type": "object",
            "properties": {name: {"type": "number"} for name in ("value", "lower_value", "upper_value")},
            "required": ["value"],
            "additionalProperties": False,
        }},
    }},
}  # fmt: skip
"""As bencher.dev documents it, without room for more."""


def made(**changes: Any) -> Result:
    """A small result."""
    return result.from_tree(builders.tree(**changes), Path("x.json"))


def server(tmp_path: Path) -> Result:
    """The result of a server project."""
    return result.from_tree(sites.of_a_server(sites.repository(tmp_path)), Path("x.json"))


def broken() -> Result:
    """A result in which zig gave a wrong answer in its third run."""
    raw = builders.tree()
    samples = raw["cases"][0]["samples"]
    samples["flags"][[index for index, arm in enumerate(samples["arm"]) if arm == "zig"][2]] = ["wrong-digest"]
    raw["cases"][0]["states"]["zig"] = {"state": "run-failed", "reason": "wrong answer"}
    return result.from_tree(raw, Path("x.json"))


def test_an_unknown_format_lists_the_known() -> None:
    """Nothing is guessed."""
    with pytest.raises(UsageError, match=r"no format 'xml' .known: hyperfine, benchstat, bmf, csv."):
        export.export(made(), "xml")


@pytest.mark.parametrize("name", export.FORMATS)
@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_every_committed_result_can_be_exported(name: str, path: Path) -> None:
    """Every format holds every result that is here, or says why not; the same result gives the same text."""
    loaded = result.load(path)
    if name == "hyperfine" and all(case.load for case in loaded.cases):
        pytest.skip("servers are no commands that end")
    text = export.export(loaded, name)
    assert text == export.export(loaded, name)
    assert text.endswith("\n")


# --- hyperfine


def test_hyperfine_times_are_seconds_of_one_job() -> None:
    """A run of ten repeats counts a tenth; mean, median and extremes are those of the times."""
    entries = json.loads(export.export(made(), "hyperfine"))["results"]
    assert [entry["parameters"]["arm"] for entry in entries] == ["go", "rust", "zig", "sqlite3", "null"]
    go = entries[0]
    assert go["command"] == "sqlite-query-engine/scan/go"
    assert go["median"] == pytest.approx(0.09, rel=0.01)
    assert min(go["times"]) == go["min"] <= go["median"] <= go["max"] == max(go["times"])
    assert go["mean"] == pytest.approx(sum(go["times"]) / len(go["times"]))
    assert go["user"] == pytest.approx(0.9 * go["mean"], rel=0.01)
    assert len(go["times"]) == len(go["exit_codes"]) == 12


@pytest.mark.skipif(shutil.which("hyperfine") is None, reason="no hyperfine here")
def test_hyperfine_keys_are_its_own(tmp_path: Path) -> None:
    """The real program writes the same keys with the same kinds of values (newer ones also memory)."""
    out = tmp_path / "own.json"
    words = ["hyperfine", "--runs", "2", "--shell=none", "--style=none", "--parameter-list", "x", "1"]
    subprocess.run([*words, "--export-json", str(out), "true"], check=True, capture_output=True)
    theirs = json.loads(out.read_text())["results"][0]
    ours = json.loads(export.export(made(), "hyperfine"))["results"][0]
    assert set(ours) - {"memory_usage_byte"} == set(theirs) - {"memory_usage_byte"}
    assert {key: type(ours[key]) for key in theirs} == {key: type(value) for key, value in theirs.items()}


def test_hyperfine_has_no_servers(tmp_path: Path) -> None:
    """A server is no command that ends: that is said instead of inventing a time."""
    with pytest.raises(UsageError, match="no case here is one"):
        export.export(server(tmp_path), "hyperfine")


# --- benchstat


def test_benchmark_lines() -> None:
    """A line a run: name with keys, operations, values with units; what two files must share stands above."""
    lines = export.export(made(), "benchstat").splitlines()
    assert lines[:8] == [
        "goos: linux", "goarch: amd64", "pkg: sqlite-query-engine", "cpu: Example CPU",
        f"environment: {builders.ENVIRONMENT}", "runner: docker", "workload: bench", "Unit items/s better=higher",
    ]  # fmt: skip
    runs = [line for line in lines if line.startswith("Benchmark")]
    assert len(runs) == 5 * 12
    name, count, value, unit, *_ = runs[0].split(" ")
    assert (name, count, unit) == ("BenchmarkSqliteQueryEngine/case=scan/arm=go-1", "10", "ns/op")
    assert float(value) == pytest.approx(90_000_000, rel=0.01)


def test_benchmark_lines_of_a_server(tmp_path: Path) -> None:
    """An operation is a request, and its latency is a value of its own."""
    text = export.export(server(tmp_path), "benchstat")
    assert " p99-ns " in text
    assert "/arm=go-1 100 " in text


@pytest.mark.toolchain
@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_benchstat_reads_it(path: Path, tmp_path: Path) -> None:
    """The real benchstat sets programs side by side, complains about nothing, and computes our medians.

    An operation is a repeat of a batch, and a request of a server.
    """
    loaded = result.load(path)
    (tmp_path / "result.txt").write_text(export.export(loaded, "benchstat"))
    words = [str(toolchains.go_program("benchstat")), "-format", "csv", "-col", "/arm", "-row", "/case"]
    done = subprocess.run([*words, "result.txt"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "error" not in done.stderr
    assert "missing" not in done.stderr
    table = list(csv.reader(io.StringIO(done.stdout)))
    head = next(index for index, row in enumerate(table) if "sec/op" in row)
    column = table[head - 1].index("go")
    shown = {row[0]: float(row[column]) for row in table[head + 1 :][: len(loaded.cases)]}
    for case in loaded.cases:
        if case.states["go"].state != "measured":
            assert case.name not in shown
            continue
        samples = case.samples
        count = [case.repeats if case.load is None else items or 1 for items in samples.items]
        times = sorted(samples.wall_ns[index] / count[index] / 1e9 for index in samples.by_round("go").values())
        middle = (times[(len(times) - 1) // 2] + times[len(times) // 2]) / 2
        assert shown[case.name] == pytest.approx(middle, rel=1e-3)


@pytest.mark.toolchain
def test_benchstat_compares_two_files(tmp_path: Path) -> None:
    """Two results of one machine become two columns with a delta; of two machines, two tables."""
    slow = {**builders.TIMES, "zig": 1_020_000_000}
    other = builders.environment(id="b" * 12)
    texts = {
        "a": made(), "b": result.from_tree(builders.tree(slow), Path("x.json")), "c": made(environment=other),
    }  # fmt: skip
    for name, one in texts.items():
        (tmp_path / name).write_text(export.export(one, "benchstat"))
    program = str(toolchains.go_program("benchstat"))
    done = subprocess.run([program, "a", "b"], cwd=tmp_path, capture_output=True, text=True, check=True)
    zig = next(line for line in done.stdout.splitlines() if "arm=zig" in line)
    assert "+100." in zig or "+99." in zig
    apart = subprocess.run([program, "a", "c"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"environment: {'b' * 12}" in apart.stdout


# --- Bencher


def test_bmf_fits_its_schema(tmp_path: Path) -> None:
    """Batch and server results are valid, with medians between their quartiles where times are known."""
    small = [made(), server(tmp_path)]
    for one in (*small, *map(result.load, COMMITTED)):
        found = json.loads(export.export(one, "bmf"))
        jsonschema.validate(found, BMF_SCHEMA)
        spreads = [measure for each in found.values() for measure in each.values() if "lower_value" in measure]
        timed = [each for each in found.values() if "latency" in each]  # A closed loop counts, it times no reply.
        assert len(spreads) == len(timed)
        assert all(each["lower_value"] <= each["value"] <= each["upper_value"] for each in spreads)
    assert all("lower_value" in each["latency"] for one in small for each in _cases(one))


def _cases(one: Result) -> list[dict[str, Any]]:
    """The measures of every case and arm in Bencher's format."""
    return [each for each in json.loads(export.export(one, "bmf")).values() if "throughput" in each]


def test_bmf_values() -> None:
    """Latency in ns of the whole job once, throughput a second, size in bytes, build time in seconds."""
    found = json.loads(export.export(made(), "bmf"))
    go = found["sqlite-query-engine/scan/go"]
    assert go["latency"]["value"] == pytest.approx(90_000_000, rel=0.01)
    assert go["throughput"]["value"] == pytest.approx(100 / 0.9, rel=0.01)
    assert go["memory"]["value"] == 3 << 20
    assert found["sqlite-query-engine/go"] == {"file-size": {"value": 1_500_000.0}, "build-time": {"value": 9.0}}


# --- CSV


def test_csv_has_every_run() -> None:
    """A line a run with all columns of the file; a run that counts for nobody is there with its flag."""
    rows = list(csv.DictReader(io.StringIO(export.export(broken(), "csv"))))
    assert len(rows) == 5 * 12
    assert [row["flags"] for row in rows if row["flags"]] == ["wrong-digest"]
    assert {row["state"] for row in rows if row["arm"] == "zig"} == {"run-failed"}
    assert rows[0]["project"] == "sqlite-query-engine"
    assert rows[0]["latency_p99_ns"] == ""
    assert int(rows[0]["wall_ns"]) > 0


def test_csv_of_a_server(tmp_path: Path) -> None:
    """Columns of loads are filled where there is one."""
    rows = list(csv.DictReader(io.StringIO(export.export(server(tmp_path), "csv"))))
    assert all(int(row["latency_p99_ns"]) > 0 for row in rows)


@pytest.mark.parametrize("name", ["hyperfine", "benchstat", "bmf"])
def test_who_has_no_verdict_is_in_no_statistics(name: str) -> None:
    """Formats that cannot say why leave out the numbers of an arm that failed."""
    text = export.export(broken(), name)
    assert "scan/rust" in text or "case=scan/arm=rust" in text
    assert "scan/zig" not in text
    assert "arm=zig" not in text
