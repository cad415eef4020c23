"""Every way in which Deadheat stops with a message: one class a cause, each with its exit code and remedy.

Exit codes: 1 a step failed, 2 bad usage or bad input, 130 interrupted; 3 is kept for a defect of ours (a traceback).
"""

from __future__ import annotations


class DeadheatError(Exception):
    """Base of all expected failures: one line for the person, and what to do about it."""

    exit_code = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        """Keep the message (one line) and the remedy (one line, or None)."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Message and remedy as a person reads them."""
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


class UsageError(DeadheatError):
    """An option or a name on the command line is wrong."""

    exit_code = 2


class ProjectError(DeadheatError):
    """A project.yaml or a file that it names is wrong."""

    exit_code = 2


class ResultError(DeadheatError):
    """A result file is wrong."""

    exit_code = 2


class TablesError(DeadheatError):
    """A Markdown document and the results do not fit together."""


class WriteError(DeadheatError):
    """A file cannot be written: full disk, read-only tree, missing permission."""


class ScaffoldError(DeadheatError):
    """A new project cannot be made."""

    exit_code = 2


class ToolchainError(DeadheatError):
    """A compiler or a system package is missing."""


class BuildError(DeadheatError):
    """A lane, a peer or the launcher does not build."""


class WorkloadError(DeadheatError):
    """The inputs or the oracle's answers cannot be made."""


class VerifyError(DeadheatError):
    """A lane gave a wrong answer."""


class RunnerError(DeadheatError):
    """A runner (host or Docker) cannot do its work."""


class LauncherError(RunnerError):
    """The launcher program is gone or speaks another protocol."""


class CommandError(DeadheatError):
    """A helper command failed; `tail` keeps the end of what it printed."""

    def __init__(self, message: str, *, tail: str = "", remedy: str | None = None) -> None:
        """Keep the end of the output for logs."""
        super().__init__(message, remedy=remedy)
        self.tail = tail


class ServiceError(RunnerError):
    """A server that the lanes need does not start, or ended in the middle."""
