"""What tests of the toolkit share: without a Docker engine, the tests that need one say so and are skipped."""

from __future__ import annotations

import signal

import pytest

from tools.runners import engine

# A background job of a shell inherits "ignore" for Ctrl-C, and so would every program that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip docker-marked tests where no engine answers; the engine is asked only if there are any."""
    marked = [item for item in items if item.get_closest_marker("docker")]
    if marked and not engine.answers():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no Docker engine answers"))
