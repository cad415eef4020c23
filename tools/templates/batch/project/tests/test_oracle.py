"""The oracle itself, against answers that a person can count."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest


def load(name: str) -> Any:
    """Load a script of this project by its path: other projects have scripts of the same names."""
    path = Path(__file__).parent.parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"@@identifier@@_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


oracle, workload = load("oracle"), load("workload")


@pytest.mark.parametrize(
    ("text", "top", "answer"),
    [
        (b"", 20, b""),
        (b" .,-\n", 20, b""),
        (b"b B a", 20, b"b 2\na 1\n"),
        (b"b a c", 2, b"a 1\nb 1\n"),
        (b"don't r2D2", 20, b"don 1\nr2d2 1\nt 1\n"),
        ("\u00c9T\u00c9".encode(), 20, "\u00c9t\u00c9 1\n".encode()),
    ],
)
def test_answer(text: bytes, top: int, answer: bytes, tmp_path: Path) -> None:
    """Words are runs of ASCII letters, digits and high bytes; the order is by count, then by bytes."""
    path = tmp_path / "text"
    path.write_bytes(text)
    assert oracle.render(oracle.count_words(path), top) == answer


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    """The workload depends on its seed and on nothing else."""
    made = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        workload.write_text(tmp_path / name, seed, words=5000, different=300)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1] != made[2]
