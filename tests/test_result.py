"""Reading and writing one result file."""

from __future__ import annotations

import dataclasses
import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests import builders
from tools import publish, result
from tools.checks import SCHEMA_PATH
from tools.errors import ResultError, WriteError
from tools.files import leftovers
from tools.record import State

if TYPE_CHECKING:
    from pathlib import Path


def test_write_names_the_file_after_its_content(tmp_path: Path) -> None:
    """A result is stored as results/<slug>/<UTC time>_<environment id>.json and reads back as it was."""
    raw = builders.tree()
    path = result.write(raw, tmp_path)
    assert path == tmp_path / "sqlite-query-engine" / "20261120T205030Z_0123456789ab.json"
    assert json.loads(path.read_bytes()) == raw


def test_load_gives_frozen_dataclasses(tmp_path: Path) -> None:
    """A loaded result has typed parts, tuples for lists, and cannot be changed."""
    loaded = result.load(builders.stored(tmp_path))
    case = loaded.headline
    assert [arm.name for arm in loaded.lanes] == ["go", "rust", "zig"]
    assert loaded.arms["null"].of == "rust"
    assert loaded.arms["go"].startup_ns == (900_000, 1_000_000, 1_100_000)
    assert len(case.samples.wall_ns) == 5 * 12
    assert sorted(case.samples.by_round("go")) == list(range(12))
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.slug = "other"  # type: ignore[misc]  # that it is frozen is the test


def test_write_refuses_to_overwrite(tmp_path: Path) -> None:
    """A second result of the same second and environment is an error, and the first one stays."""
    path = builders.stored(tmp_path)
    before = path.read_bytes()
    other = builders.tree(harness={**builders.tree()["harness"], "version": "9"})
    with pytest.raises(WriteError, match="File exists"):
        result.write(other, tmp_path)
    assert path.read_bytes() == before
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("change", [{"schema_version": 5}, {"surprise": 1}, {"created_at": "2026-02-30T00:00:00Z"}])
def test_write_refuses_what_it_would_not_read(tmp_path: Path, change: dict[str, Any]) -> None:
    """An invalid tree is never stored."""
    with pytest.raises(ResultError):
        result.write(builders.tree(**change), tmp_path)
    assert list(tmp_path.rglob("*")) == []


def test_write_refuses_nan(tmp_path: Path) -> None:
    """A number that JSON does not have is an error of ours."""
    raw = builders.tree()
    raw["plan"]["half_width"] = float("nan")
    with pytest.raises(ResultError, match="not JSON compliant"):
        result.write(raw, tmp_path)


def test_what_was_refused_is_kept_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that took an hour are not lost for one number that cannot be; the message says where they are."""
    monkeypatch.setattr(result, "set_aside", partial(result.set_aside, root=tmp_path))
    raw = builders.tree(surprise=1)
    kept = result.result_path(raw, tmp_path)
    with pytest.raises(ResultError, match=re.escape(f"the runs are kept in {kept}")):
        publish.store(raw, tables=False)
    assert json.loads(kept.read_bytes()) == raw


def test_load_lists_every_problem(tmp_path: Path) -> None:
    """Loading a broken file names all that is wrong with it, not just the first."""
    path = builders.stored(tmp_path)
    raw = json.loads(path.read_bytes())
    raw["cases"][0]["samples"]["digest"][3] = "f" * 16
    raw["cases"][0]["samples"]["items"][5] = 1
    path.write_text(json.dumps(raw))
    with pytest.raises(ResultError) as caught:
        result.load(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert "$.cases[0].samples.digest[3]" in lines[0]
    assert "$.cases[0].samples.items[5]" in lines[1]


def test_the_schema_and_the_code_name_the_same_version() -> None:
    """The version that the code writes is the newest that the schema takes, and older files stay readable."""
    known = json.loads(SCHEMA_PATH.read_text())["properties"]["schema_version"]["enum"]
    assert known == list(range(1, result.SCHEMA_VERSION + 1))


def test_older_files_called_an_invalid_load_a_failure(tmp_path: Path) -> None:
    """What versions 2 and 3 kept as a failed run is read as what it was; real failures stay failures."""
    raw = builders.tree()
    raw["cases"][0]["states"]["go"] = {"state": "run-failed", "reason": "load invalid: the generator was late"}
    raw["cases"][0]["states"]["zig"] = {"state": "run-failed", "reason": "digest differs"}
    states = result.load(builders.stored(tmp_path, raw)).cases[0].states
    assert states["go"] == State("load-invalid", "the generator was late")
    assert states["zig"].state == "run-failed"
