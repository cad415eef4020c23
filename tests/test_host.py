"""Steps on this machine that are cut off from the network."""

from __future__ import annotations

import sys

import pytest

from tools.process import check
from tools.runners import host

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
