"""oha: closed loop, or a rate with or without its correction for coordinated omission."""

from __future__ import annotations

from tools.loads.base import Asked, LoadReport
from tools.loads.evidence.base import PROGRAM, as_object, ns, url

NAMES = {"p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99", "p999": "p99.9"}
DEADLINE = "aborted due to deadline"
"""How it names requests that were under way when the time was up."""


def command(asked: Asked) -> tuple[str, ...]:
    """One run in which latency counts from the moment when a request was due."""
    return (*plain(asked)[:-1], *(() if asked.rate_per_second is None else ("--latency-correction",)), url(asked))


def plain(asked: Asked) -> tuple[str, ...]:
    """The same without the correction: latency counts from the moment when a connection took the request."""
    rate = () if asked.rate_per_second is None else ("-q", f"{asked.rate_per_second:g}")
    return (PROGRAM, "--no-tui", "--output-format", "json", "-c", str(asked.connections), "-z",
            f"{asked.seconds:g}s", "--wait-ongoing-requests-after-deadline", *rate, url(asked))  # fmt: skip


def parse(stdout: bytes) -> LoadReport:
    """Its JSON; times are in seconds.

    Raises:
        ValueError: it printed something else.
    """
    raw = as_object("oha", stdout)
    try:
        codes, failures, quantiles = raw["statusCodeDistribution"], raw["errorDistribution"], raw["latencyPercentiles"]
        good, answers = int(codes.get("200", 0)), sum(codes.values())
        cut = int(failures.get(DEADLINE, 0))
        errors = sum(failures.values()) - cut
        return LoadReport(
            offered=answers + errors + cut,
            completed=good,
            mismatched=answers - good,
            errors=errors,
            dropped=cut,
            wall_ns=round(raw["summary"]["total"] * 1e9),
            latency_ns={
                **{name: ns(quantiles[key], 1e9) for name, key in NAMES.items()},
                "max": ns(raw["summary"]["slowest"], 1e9),
            },
            first_error=next((text for text in failures if text != DEADLINE), None),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"oha printed something else: {error}") from error
