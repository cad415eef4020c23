"""Steps on this machine that are cut off from the network, and what it must have for them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import packages, toolchains
from tools.model import Packages
from tools.process import check
from tools.runners import host
from tools.runners.base import Source

TALK = """
import socket
print([name for _, name in socket.if_nameindex()])
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
    client.sendall(b"heard")
    print(server.accept()[0].recv(5).decode())
"""


def test_a_step_without_a_network_talks_to_itself() -> None:
    """Nothing but loopback is there, and it works: tests of server lanes need it."""
    prefix = host._offline()
    if not prefix:
        pytest.skip("this kernel gives no namespaces")
    interfaces, said = check([*prefix, sys.executable, "-c", TALK]).decode().splitlines()
    assert "lo" in interfaces
    assert "eth" not in interfaces
    assert said == "heard"


def test_what_is_missing_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilers, libraries to build with, and services: one command, before anything is built."""
    asked: list[tuple[set[str], str]] = []
    monkeypatch.setattr(packages, "ensure", lambda apt, purpose: asked.append((set(apt), purpose)))
    monkeypatch.setattr(toolchains, "lacking", lambda language: ["rustc-web"] if language == "rust" else [])
    lanes = [
        Source("chat", "rust", "lane", "rust", Path("rust")),
        Source("chat", "zig", "lane", "zig", Path("zig"), build_packages=Packages(("libwebsockets-dev",))),
    ]
    host.HostRunner().provide(lanes, ["nginx-light"])
    assert asked == [({"rustc-web", "libwebsockets-dev", "nginx-light"}, "this machine")]
