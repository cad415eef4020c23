"""The quick reading of aliases: what it takes, what it leaves out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tools import names


def write(root: Path, folder: str, content: bytes) -> None:
    """One project.yaml."""
    (root / folder).mkdir()
    (root / folder / "project.yaml").write_bytes(content)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"alias: a\ntitle: A title\n", ("a", "A title")),
        (b"title: 'A title'  # what it is\nalias: \"a-b\"\n", ("a-b", "A title")),
        (b"alias: a\n", ("a", "a")),
        (b"alias: a\nlanes:\n  go:\n    title: inner\n", ("a", "a")),
        (b"alias: a\r\ntitle: T\r\n", ("a", "T")),
    ],
)
def test_alias_and_title_are_read(tmp_path: Path, content: bytes, expected: tuple[str, str]) -> None:
    """Quotes, comments, order and line endings do not matter; inner keys are not mistaken."""
    write(tmp_path, "one", content)
    assert [(alias, title) for alias, title, _ in names.entries(tmp_path)] == [expected]


@pytest.mark.parametrize("content", [b"", b"title: x\n", b"alias: ../x\n", b"alias: A\n", b"alias: a b\n", b"\xff\0\n"])
def test_what_cannot_be_a_session_is_left_out(tmp_path: Path, content: bytes) -> None:
    """A file without a usable alias makes no session, and does not hurt its neighbours."""
    write(tmp_path, "broken", content)
    write(tmp_path, "fine", b"alias: fine\n")
    assert [alias for alias, _, _ in names.entries(tmp_path)] == ["fine"]


def test_a_soak_is_seen_without_reading_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only projects with a case that is run for long have a session for it."""
    write(tmp_path, "long", b"alias: long\ncases:\n  - name: one\n    soak: {seconds: 60}\n")
    write(tmp_path, "short", b'alias: short\n# soak: none\ntitle: "soak: no"\n')
    monkeypatch.setattr(names, "entries", partial(names.entries, tmp_path))
    assert names.soaked() == [("long", "long")]


def test_order_is_that_of_the_folders(tmp_path: Path) -> None:
    """The list of sessions never jumps."""
    for folder in ("c", "a", "b"):
        write(tmp_path, folder, f"alias: {folder}1\n".encode())
    assert [alias for alias, _, _ in names.entries(tmp_path)] == ["a1", "b1", "c1"]
