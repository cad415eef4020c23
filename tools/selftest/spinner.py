"""A project whose lanes are one C program, apart from work that we inject: the truth is known beforehand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tools import files, process, project
from tools.launcher.client import TARGETS
from tools.model import Project
from tools.runners import host

HERE = Path(__file__).parent
JOB = HERE / "job"
SLUG = "spinner"
MARK = "#define EXTRA_PERMILLE 0 "
LANE = "  {name}: {{language: c, parity: {{library: own, threads: 1}}}}\n"
COMPILE_SECONDS = 300


def make(root: Path, extra_permille: Mapping[str, int]) -> Project:
    """The project under `root`: a lane for each name, with so many thousandths of its work on top."""
    folder = root / SLUG
    source = (JOB / "main.c").read_text(encoding="utf-8")
    contents = {folder / name: (JOB / name).read_text(encoding="utf-8") for name in ("workload.py", "oracle.py")}
    for lane, extra in extra_permille.items():
        contents[folder / lane / "main.c"] = source.replace(MARK, f"#define EXTRA_PERMILLE {extra} ")
    lanes = "".join(LANE.format(name=name) for name in extra_permille)
    contents[folder / "project.yaml"] = (JOB / "project.yaml").read_text(encoding="utf-8") + lanes
    files.atomic_write_all(contents)
    return project.load(folder / "project.yaml")


def compiled(name: str, folder: Path) -> Path:
    """A program of `programs/`, static like the launcher.

    Raises:
        CommandError: the compiler refuses it.
        ToolchainError: there is no compiler.
    """
    target = TARGETS[os.uname().machine]
    program = folder / name
    words = ("-target", target, "-O2", "-static", "-s", "-Wall", "-Wextra", "-Werror")
    process.check(
        [host.zig(), "cc", *words, HERE / "programs" / f"{name}.c", "-o", program], timeout_seconds=COMPILE_SECONDS
    )
    return program
