"""The oracle itself, against answers that its authors and a person can check."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from typing import Any


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


def test_answer(tmp_path: Path) -> None:
    """A line for each key in the order of the list, with the length and the XXH64 of its file."""
    (tmp_path / "none").write_bytes(b"")
    (tmp_path / "one").write_bytes(b"a")
    expected = b"one 1 d24ec4f1a98c6e5b\nnone 0 ef46db3751d8e999\none 1 d24ec4f1a98c6e5b\n"
    assert oracle.render(["one", "none", "one"], tmp_path) == expected
    assert oracle.render([], tmp_path) == b""


def test_same_seed_same_files() -> None:
    """The workload depends on its seed and on nothing else."""
    made = [workload.site(random.Random(seed), 30) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


def test_every_listed_file_is_there() -> None:
    """Lists of the checks name only files that the site has."""
    edge = workload.edge_site(random.Random(1))
    assert all(key in edge for keys in workload.lists(edge, random.Random(2)).values() for key in keys)
