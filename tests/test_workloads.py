"""Inputs and answers: made once, made again when what decides them changes, and refused when incomplete."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import bad_lanes
from tools import caches, workloads
from tools.errors import WorkloadError
from tools.model import Project, Workload


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs of these tests stay out of the checkout."""
    monkeypatch.setattr(caches, "WORK", tmp_path / "work")
    monkeypatch.setenv("DEADHEAT_CACHE", str(tmp_path / "shared"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The project that counts lines."""
    return bad_lanes.make(tmp_path / "projects", [])


def with_workload(project: Project, **fields: object) -> Project:
    """The project with another verify workload."""
    changed: Workload = replace(project.workloads["verify"], **fields)  # type: ignore[arg-type]  # fields by name
    return replace(project, workloads={**project.workloads, "verify": changed})


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=100), st.integers(1, 300))
@example(b"", 5)
@example(b"x" * 100, (workloads.HASH_CHUNK_BYTES // 100) * 2 + 3)
def test_repeated_digest_is_that_of_the_product(answer: bytes, repeats: int) -> None:
    """The digest of N answers is XXH64 of their concatenation, without building it."""
    assert workloads.repeated_digest(answer, repeats) == xxhash.xxh64(answer * repeats).hexdigest()


def test_workload_is_made_once(project: Project) -> None:
    """A second preparation takes what is there: the generator may even be gone."""
    first = workloads.prepare(project, "verify")
    assert (first.folder / "lines.txt").read_bytes() == b"x\n" * 100
    assert first.bytes == 200
    (first.folder / "lines.txt").touch()
    assert workloads.prepare(project, "verify") == first


def test_same_seed_and_size_same_bytes(project: Project) -> None:
    """Made again from nothing, the input has the same hash."""
    first = workloads.prepare(project, "verify")
    shutil.rmtree(caches.WORK)
    assert workloads.prepare(project, "verify").sha256 == first.sha256


@pytest.mark.parametrize("fields", [{"seed": 9}, {"size": {"lines": 101}}], ids=["seed", "size"])
def test_other_seed_or_size_is_another_input(project: Project, fields: dict[str, object]) -> None:
    """Seed and sizes are part of what a workload is."""
    changed = with_workload(project, **fields)
    assert workloads.prepare(changed, "verify").folder != workloads.prepare(project, "verify").folder


@pytest.mark.parametrize("name", ["workload.py", "neighbour.py"])
def test_changed_generator_makes_again(project: Project, name: str) -> None:
    """The generator's source, and any Python file beside it that it may import, decide the input."""
    first = workloads.prepare(project, "verify")
    with (project.folder / name).open("a") as file:
        file.write("# changed\n")
    assert workloads.prepare(project, "verify").folder != first.folder


def test_failed_generator_is_one_line_and_leaves_nothing(project: Project) -> None:
    """Its last words and the command to run by hand are in the message; no half input stays."""
    (project.folder / "workload.py").write_text("import sys\nprint('made half')\nsys.exit('disk on fire')\n")
    with pytest.raises(WorkloadError, match=r"line-counter: workload.py: .*disk on fire \(run: ") as caught:
        workloads.prepare(project, "verify")
    assert "\n" not in str(caught.value)
    assert list((caches.WORK / "data" / "line-counter").iterdir()) == []


def test_checks_are_the_oracles(project: Project) -> None:
    """A declared case has its answer and count, and its arguments hold the placeholder, not this machine's path."""
    prepared = workloads.prepare(project, "verify")
    found = workloads.checks(project, prepared)
    assert [(one.name, one.items, one.declared, one.args) for one in found] == [
        ("count", 100, True, ("--input", "{data}/lines.txt"))
    ]  # fmt: skip
    assert found[0].answer_bytes() == b"100\n"
    assert found[0].digest(3) == xxhash.xxh64(b"100\n" * 3).hexdigest()
    assert list(workloads.declared_only(found)) == found


def test_further_checks_and_failures_of_the_oracle(project: Project) -> None:
    """Beyond the declared cases the oracle may ask more, also for failures."""
    oracle = (project.folder / "oracle.py").read_text()
    more = [{"name": "more", "args": ["--input", "x"], "exit_code": 2, "stderr": "x"}]
    (project.folder / "oracle.py").write_text(oracle.replace("json.dumps(index)", f"json.dumps(index + {more!r})"))
    _, further = workloads.checks(project, workloads.prepare(project, "verify"))
    assert (further.declared, further.exit_code, further.stderr) == (False, 2, "x")
    with pytest.raises(WorkloadError, match="check more has no answer"):
        further.answer_bytes()


def test_forgotten_case_is_an_error(project: Project) -> None:
    """An oracle that leaves a declared case out does not pass unnoticed."""
    oracle = (project.folder / "oracle.py").read_text()
    (project.folder / "oracle.py").write_text(oracle.replace("json.dumps(index)", "json.dumps([])"))
    with pytest.raises(WorkloadError, match="the oracle left out count"):
        workloads.checks(project, workloads.prepare(project, "verify"))


def test_failed_oracle_is_one_line_and_tried_again(project: Project) -> None:
    """A failure is not cached: the repaired oracle answers."""
    good = (project.folder / "oracle.py").read_text()
    (project.folder / "oracle.py").write_text("raise SystemExit('no answer')\n")
    with pytest.raises(WorkloadError, match=r"oracle.py: .*no answer"):
        workloads.checks(project, workloads.prepare(project, "verify"))
    (project.folder / "oracle.py").write_text(good)
    assert len(workloads.checks(project, workloads.prepare(project, "verify"))) == 1


def test_scripts_see_a_clean_environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the person's shell decides an input; hashing is not random."""
    monkeypatch.setenv("MY_SECRET", "x")
    script = "import argparse, json, os, pathlib, sys\nout = sys.argv[sys.argv.index('--out') + 1]\n"
    script += "pathlib.Path(out, 'lines.txt').write_text(json.dumps(dict(os.environ)))\n"
    (project.folder / "workload.py").write_text(script)
    seen = json.loads((workloads.prepare(project, "verify").folder / "lines.txt").read_text())
    assert "MY_SECRET" not in seen
    assert seen["PYTHONHASHSEED"] == "0"
