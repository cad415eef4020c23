"""Loads the scripts of this project; the lanes come from projects/conftest.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

PROJECT = Path(__file__).resolve().parent.parent


def load(name: str) -> ModuleType:
    """Import one of the project's own scripts under a name that no other project has."""
    full_name = f"csv_stream_aggregator_{name}"
    if full_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(full_name, PROJECT / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[full_name] = module
        spec.loader.exec_module(module)
    return sys.modules[full_name]


@pytest.fixture(scope="session")
def oracle() -> Any:
    """Return the project's oracle as a module."""
    return load("oracle")


@pytest.fixture(scope="session")
def workload() -> Any:
    """Return the project's workload maker as a module."""
    return load("workload")
