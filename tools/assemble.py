"""Put what one benchmark found into the shape of schemas/result.schema.json: raw numbers and what they are bound to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools import __version__, languages, stats
from tools.caches import ROOT
from tools.errors import CommandError
from tools.files import sha256_file, sha256_tree
from tools.languages.base import Language
from tools.measure import Calibration, CaseRun
from tools.model import Lane, Peer
from tools.process import run
from tools.samples import Sample, columns
from tools.workloads import Prepared

if TYPE_CHECKING:
    from tools.flow import Benchmark, Contender

SCHEMA_VERSION = 4
TEST_MARKS = ("_test.", "/tests/", "test_")


def result(done: Benchmark) -> dict[str, Any]:
    """The content of one result file."""
    project, prepared = done.project, done.prepared
    assert prepared is not None  # noqa: S101 - measuring is over
    return {
        "schema_version": SCHEMA_VERSION,
        "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "project": {
            "slug": project.slug,
            "number": project.number,
            "item": asdict(project.item),
            "metric": asdict(project.metric),
        },
        "harness": harness(),
        "environment": done.environment,
        "plan": _plan(done),
        "workloads": {prepared.workload.name: _workload(prepared)},
        "arms": _arms(done),
        "cases": [_case(one, done, prepared) for one in done.runs],
    }  # fmt: skip


def harness() -> dict[str, Any]:
    """Which Deadheat this was."""
    return {
        "version": __version__,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", "tools", "schemas")),
        "source_sha256": sha256_tree(ROOT / "tools"),
    }


def _git(*words: str) -> str | None:
    """What git says, or None where there is no git or no repository."""
    try:
        done = run(["git", "-C", ROOT, *words])
    except CommandError:
        return None
    return done.stdout.decode().strip() or None if done.returncode == 0 else None


def _plan(done: Benchmark) -> dict[str, Any]:
    settings = done.settings
    return {
        "seed": settings.seed,
        "workload": done.options.workload,
        "rounds_min": settings.rounds_min,
        "rounds_max": settings.rounds_max,
        "budget_seconds": settings.budget_seconds,
        "half_width": settings.half_width,
        "min_run_seconds": settings.min_run_seconds,
        "claims": done.claims,
        "alpha": settings.alpha,
        "reference": done.reference,
        "lanes": [one.name for one in done.contenders if isinstance(one.source, Lane)],
    }


def _workload(prepared: Prepared) -> dict[str, Any]:
    workload = prepared.workload
    return {"sha256": prepared.sha256, "bytes": prepared.bytes, "seed": workload.seed, "size": workload.size}


def _arms(done: Benchmark) -> dict[str, Any]:
    arms = {one.name: _arm(one, done) for one in done.contenders}
    null = f"{done.reference}-null"
    arms[null] = arms[done.reference] | {"role": "null", "of": done.reference}
    return arms


def _arm(one: Contender, done: Benchmark) -> dict[str, Any]:
    built, source = one.attempt.built, one.source
    state, reason = _state(one, done)
    verified = one.verification.as_record() if one.verification else None
    return {
        "role": "lane" if isinstance(source, Lane) else "peer",
        "of": None,
        "language": source.language or None,
        "variant": getattr(source, "variant", None),
        "title": getattr(source, "title", None) or source.name,
        "parity": asdict(source.parity) if source.parity else None,
        "baseline_of": getattr(source, "baseline_of", None),
        "state": state,
        "reason": reason,
        "source_sha256": built.source_sha256 if built else None,
        "lock_sha256": built.lock_sha256 if built else None,
        "binary_sha256": built.binary_sha256 if built else None,
        "toolchain": built.toolchain if built else None,
        "flags": [flag[:400] for flag in built.flags] if built else [],
        "image_digest": one.image_digest,
        "binary_bytes": built.binary_bytes if built else None,
        "image_bytes": one.image_bytes,
        "cold_build_ns": built.cold_build_ns if built else None,
        "incremental_build_ns": built.incremental_build_ns if built else None,
        "lines_of_code": lines_of_code(source.folder, languages.get(source.language)) if source.language else None,
        "startup_ns": one.startup_ns,
        "counts_items": one.counts_items,
        "verification": verified or {"state": "not-run", "checks": 0, "bad_inputs": 0, "failures": []},
        "notes": {"equal": source.equal, "unequal": source.unequal} if isinstance(source, Peer) else {},
    }


def _state(one: Contender, done: Benchmark) -> tuple[str, str | None]:
    """What became of an arm over the whole benchmark."""
    if one.attempt.built is None:
        return "build-failed", one_line(one.attempt.reason)
    if not one.ready:
        failures = one.verification.failures if one.verification else []
        first = f"{failures[0][0]}: {failures[0][1]}" if failures else "not verified"
        return "verify-failed", one_line(first)
    states = {run.states[one.name][0] for run in done.runs if one.name in run.states}
    return ("measured" if "measured" in states else next(iter(sorted(states)), "not-run")), None


def _case(one: CaseRun, done: Benchmark, prepared: Prepared) -> dict[str, Any]:
    case, check = one.case, one.check
    bandwidth = done.environment["memory_bandwidth_bytes_per_second"]
    return {
        "name": case.name,
        "title": case.title,
        "headline": case.headline,
        "workload": prepared.workload.name,
        "args": list(case.args),
        "items": check.items or 0,
        "repeats": one.repeats,
        "answer_sha256": _sha256(check.answer),
        "digest": check.digest(one.repeats),
        "bytes_per_item": case.bytes_per_item,
        "floor_ns": one.floor_ns,
        "floor_basis": f"memory, {bandwidth / 1e9:.1f} GB/s" if one.floor_ns is not None else None,
        "states": _states(one, done),
        "calibration": [_calibration(found) for found in one.calibrations],
        "memory": _memory(one.warmups, one.samples if case.load else ()),
        "stop": one.stop,
        "warmups": columns(one.warmups, load=case.load is not None),
        "samples": columns(one.samples, load=case.load is not None),
        "metric": case.measures(done.project.metric.name),
        "load": _load(one) if case.load else None,
        "soak": {"seconds": case.load.measure_seconds, "series": one.soak} if case.load and done.options.soak else None,
    }


def _load(one: CaseRun) -> dict[str, Any]:
    """What drove the servers, and the curve of latencies of each arm."""
    load = one.case.load
    assert load is not None  # noqa: S101 - the caller looked
    plain = ("tool", "protocol", "connections", "pipeline", "settle_seconds", "measure_seconds", "error_budget")
    found = {name: getattr(load, name) for name in plain} | {
        "rate_per_second": one.rate,
        "curves": _curves(one.samples),
    }
    if load.tool == "rooms" and one.check.answer is not None:
        found["plan"] = _planned(json.loads(one.check.answer.read_bytes()), saturates=load.saturates)
        found["connections"] = max(max(phase["users"]) for phase in found["plan"]["phases"])
    return found


def _planned(raw: Mapping[str, Any], *, saturates: bool) -> dict[str, Any]:
    """What the users did; the phases were stretched to the length of a run."""
    names = ("name", "seconds", "users", "rate", "session_seconds")
    phases = [{name: phase.get(name) for name in names} for phase in raw["phases"]]
    return {"saturates": saturates, "payload_bytes": raw["payload_bytes"], "phases": phases}


def _curves(samples: Sequence[Sample]) -> dict[str, list[list[float]]]:
    """Of each arm, the median over its rounds of every quantile of latency."""
    found: dict[str, dict[float, list[float]]] = {}
    for sample in samples:
        if sample.load is not None and not sample.failed:
            for quantile, latency_ns in sample.load.curve:
                found.setdefault(sample.arm, {}).setdefault(quantile, []).append(latency_ns)
    return {arm: [[q, stats.median(values)] for q, values in sorted(of.items())] for arm, of in found.items()}


def _calibration(found: Calibration) -> dict[str, Any]:
    """The times; the shares follow from them."""
    return {name: value for name, value in asdict(found).items() if name != "shares"}


def _states(one: CaseRun, done: Benchmark) -> dict[str, Any]:
    """The state of every arm in this case, also of those that never came to it."""
    absent = {contender.name: _state(contender, done) for contender in done.contenders}
    why = "a soak has no null arm" if done.options.soak else "the reference lane did not run"
    absent[f"{done.reference}-null"] = ("not-run", why)
    states = {name: one.states.get(name, found) for name, found in absent.items()}
    return {name: {"state": state, "reason": reason and one_line(reason)} for name, (state, reason) in states.items()}


def _memory(warmups: Sequence[Sample], loads: Sequence[Sample]) -> dict[str, Any]:
    """Peak memory from the untimed round: the launcher is small, so the figure is the program's own.

    A server lives through all rounds, so that its last round knows its peak.
    """
    if loads:
        return {
            sample.arm: {"max_rss_bytes": sample.reply.max_rss_bytes, "source": "proc"}
            for sample in loads
            if not sample.failed
        }
    return {
        sample.arm: {"max_rss_bytes": sample.reply.max_rss_bytes, "source": "rusage"}
        for sample in warmups
        if not sample.failed
    }


def lines_of_code(folder: Path, language: Language) -> int:
    """Lines that are neither blank nor comments, tests left out as far as file names tell."""
    count = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix in language.SUFFIXES and not any(mark in f"/{path.relative_to(folder)}" for mark in TEST_MARKS):
            lines = (line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
            count += sum(bool(line) and not line.startswith(language.COMMENT) for line in lines)
    return count


def one_line(text: str) -> str:
    """Foreign text as one printable line of bounded length."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:1000]


def _sha256(answer: Path | None) -> str:
    assert answer is not None  # noqa: S101 - declared cases have an answer
    return sha256_file(answer)
