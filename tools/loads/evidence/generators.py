"""The explicit table of load generators that are compared; adding one is a module beside this and a line here."""

from __future__ import annotations

from tools.loads import pace
from tools.loads.evidence import k6, oha, own, redis_benchmark, vegeta, wrk
from tools.loads.evidence.base import Generator

PACE = Generator("pace", "pace", pace.command, own.parse)
WRK = Generator("wrk", "wrk", wrk.command, wrk.parse, wrk.files)
VEGETA = Generator("vegeta", "vegeta", vegeta.command, vegeta.parse, vegeta.files, vegeta.AFTER)
K6 = Generator("k6", "k6", k6.command, k6.parse, k6.files)
OHA = Generator("oha", "oha", oha.command, oha.parse)
OHA_PLAIN = Generator("oha, no correction", "oha", oha.plain, oha.parse)
REDIS_BENCHMARK = Generator("redis-benchmark", "redis-benchmark", redis_benchmark.command, redis_benchmark.parse)

OPEN = (PACE, VEGETA, K6, OHA)
"""Those that can be asked for a rate over HTTP."""
CLOSED = (PACE, WRK, VEGETA, K6, OHA)
STALLED = (PACE, VEGETA, K6, OHA, OHA_PLAIN, WRK)
HTTP_CEILING = (PACE, WRK)
RESP_CEILING = (PACE, REDIS_BENCHMARK)
