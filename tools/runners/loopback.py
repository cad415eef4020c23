"""Run a command in a new network namespace whose loopback is up: `python loopback.py COMMAND ...`.

Tests of server lanes talk to themselves, so a build step that is cut off keeps 127.0.0.1, as a container without a
network does. A script of its own: it runs behind `unshare`, before the command takes its place.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys

SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
REQUEST = struct.Struct("16sh22x")
"""The kernel's `struct ifreq`: the interface's name and its flags, 40 bytes."""


def raise_loopback() -> None:
    """Bring 127.0.0.1 up.

    Raises:
        OSError: this process may not.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, REQUEST.pack(b"lo", IFF_UP))


if __name__ == "__main__":
    raise_loopback()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the command's words come from the harness, no shell reads them
