"""What a person sees while Deadheat works: plain lines, and one progress line redrawn only between samples."""

from __future__ import annotations

import math
import os
import secrets
import shutil
import sys
import time

from tools.measure import Progress

REDRAW_SECONDS = 0.2
BAR_CELLS = 20


def say(text: str) -> None:
    """One or more plain lines on stderr; stdout is kept for what a task prints."""
    clear()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def folded(title: str, text: str) -> str:
    """A long foreign text for `say`: GitHub Actions folds it, and takes nothing in it for a command."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return text
    token = secrets.token_hex(16)
    return f"::group::{title}\n::stop-commands::{token}\n{text}\n::{token}::\n::endgroup::"


def is_live() -> bool:
    """True where a line can be redrawn: a terminal that is not a log."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def clear() -> None:
    """Remove the progress line."""
    if is_live():
        sys.stderr.write("\r\x1b[2K")


class ProgressLine:
    """Rounds, half-widths and time left, for a terminal; a log gets one line a case."""

    def __init__(self) -> None:
        """Nothing is shown yet."""
        self._last = 0.0
        self._stage = ("", "")

    def __call__(self, now: Progress) -> None:
        """Show where we are; cheap, and never called while a sample runs."""
        if not is_live():
            if (now.case, now.stage) != self._stage and now.stage.startswith(("rounds", "soak")):
                say(f"measure {now.case}" if now.stage == "rounds" else f"measure {now.case}: {now.stage}")
            self._stage = (now.case, now.stage)
            return
        moment = time.monotonic()
        if moment - self._last >= REDRAW_SECONDS or (now.case, now.stage) != self._stage:
            self._last, self._stage = moment, (now.case, now.stage)
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write("\r\x1b[2K" + _line(now)[:width])
            sys.stderr.flush()


def _line(now: Progress) -> str:
    filled = BAR_CELLS * now.done // max(1, now.total)
    words = [
        f"measure {now.case}",
        f"[{'#' * filled}{'.' * (BAR_CELLS - filled)}]",
        f"{now.stage} {now.done}/{now.total}",
    ]
    words += [f"{arm} ±{_percent(width)}" for arm, width in now.half_widths.items()]
    if now.seconds_left is not None:
        words.append(f"at most {now.seconds_left:.0f} s left")
    return "  ".join(words)


def _percent(half_width: float) -> str:
    return f"{math.expm1(half_width) * 100:.1f}%" if half_width < 1 else "?"
