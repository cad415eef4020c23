"""The launcher: a small static C program that starts lanes and measures them, and the client that speaks with it."""

from __future__ import annotations

from tools.launcher.client import LauncherClient, build_launcher, launcher_command, local_launcher
from tools.launcher.protocol import (
    Hello,
    Kind,
    LaunchReply,
    LaunchRequest,
    Rlimits,
    Started,
    Usage,
)

__all__ = [
    "Hello",
    "Kind",
    "LaunchReply",
    "LaunchRequest",
    "LauncherClient",
    "Rlimits",
    "Started",
    "Usage",
    "build_launcher",
    "launcher_command",
    "local_launcher",
]
