"""The oracle, the workloads and the random queries themselves; no lane is needed."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from random_queries import Maker
from sqlite_lanes import PROJECT, oracle, right_answer

if TYPE_CHECKING:
    from pathlib import Path

VALUES = {
    "null": None,
    "0": 0,
    "-9223372036854775808": -(2**63),
    "1.0": 1.0,
    "-0.0": -0.0,
    "0.0001": 1e-4,
    "1e-05": 1e-5,
    "1000000000000000.0": 1e15,
    "1e+16": 1e16,
    "9e999": float("inf"),
    "-9e999": float("-inf"),
    '"a\\"b\\\\c"': 'a"b\\c',
    '"\\b\\t\\n\\f\\r\\u0000\\u001f"': "\b\t\n\f\r\0\x1f",
    '"\x7fé😀\u2028"': "\x7fé😀\u2028",
    '{"blob":"00ff"}': b"\x00\xff",
}


@pytest.mark.parametrize("text", VALUES)
def test_json_value(text: str) -> None:
    """A value has exactly one canonical text."""
    assert oracle().json_value(VALUES[text]) == text


def test_csv() -> None:
    """NULL and the empty text differ, and fields with separators are quoted."""
    row = (None, "", "a,b", 'q"q', "l\nl", b"\x00", 1.5, 2)
    assert oracle().render_csv(["n", "e,", "c", "q", "l", "b", "r", "i"], [row]) == (
        b'n,"e,",c,q,l,b,r,i\n,"","a,b","q""q","l\nl",x\'00\',1.5,2\n'
    )


def make_verify(folder: Path) -> None:
    """Make a small verify workload, as the harness does."""
    size = '{"rows": 300}'
    command = ["workload.py", "--workload", "verify", "--seed", "1", "--size", size, "--out", str(folder)]
    subprocess.run([sys.executable, *command], cwd=PROJECT, check=True)


@pytest.fixture(scope="module")
def verify(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the verify workload."""
    folder = tmp_path_factory.mktemp("verify")
    make_verify(folder)
    return folder


def test_workload_is_deterministic(verify: Path, tmp_path: Path) -> None:
    """The same seed and size make the same bytes."""
    make_verify(tmp_path)
    names = sorted(path.relative_to(verify) for path in verify.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert [name for name in names if (verify / name).read_bytes() != (tmp_path / name).read_bytes()] == []


def test_sound_databases_are_sound(verify: Path) -> None:
    """SQLite finds nothing wrong in any database that lanes must read."""
    for path in verify.glob("*.db"):
        with closing(oracle().open_database(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], path.name


def test_every_check_has_an_answer(verify: Path, tmp_path: Path) -> None:
    """The oracle answers all its checks; there are hundreds, with names of their own."""
    index = oracle().build_index(verify, [], tmp_path, with_checks=True)
    assert len({entry["name"] for entry in index}) == len(index) > 600
    for entry in index:
        assert entry.get("exit_code") == 2 or (tmp_path / entry["answer"]).exists()


def test_every_case_counts_its_items() -> None:
    """Each case of project.yaml has its count of items, and no other case has one."""
    text = (PROJECT / "project.yaml").read_text(encoding="utf-8")
    cases = text[text.index("\ncases:") : text.index("\npeers:")]
    assert sorted(re.findall(r"- name: (\S+)", cases)) == sorted(oracle().CASE_ITEMS)


@pytest.mark.parametrize("seed", range(1, 9))
def test_random_queries_have_one_answer(seed: int, tmp_path: Path) -> None:
    """A query of the generator has the same answer without any index: what SQLite leaves open is not asked."""
    maker = Maker(seed)
    path, bare = tmp_path / "random.db", tmp_path / "bare.db"
    maker.write(path)
    drop_indexes(path, bare)
    for _ in range(60):
        query = maker.query()
        answers = [answer_lines(file, query.sql, query.form) for file in (path, bare)]
        if not query.ordered:
            answers = [sorted(lines) for lines in answers]
        assert answers[0] == answers[1], query.sql


def drop_indexes(source: Path, target: Path) -> None:
    """Copy a database without its indexes."""
    shutil.copy(source, target)
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql NOTNULL").fetchall()
        for (name,) in names:
            connection.execute(f"DROP INDEX {name}")


def answer_lines(path: Path, sql: str, form: str) -> list[bytes]:
    """Return the lines of SQLite's answer, or of its refusal."""
    try:
        return right_answer(path, sql, form).splitlines()
    except sqlite3.OperationalError as error:
        return [str(error).encode()]
