"""Make the databases that sqlite-query-engine is verified and measured on.

    python workload.py --workload bench --seed 2 --size '{"rows": 1000000}' --out DIR

bench   metrics.db: metrics (with two indexes), documents (wide rows, overflow chains), rollup
        (WITHOUT ROWID).
large   metrics.db: metrics only, without indexes: a scan far larger than any cache.
verify  a small metrics.db of the same shape, and the edge cases of verify_databases.py.

The same seed and size give the same logical content on any machine. The bytes of a file may differ
between SQLite versions (the header names the version that wrote it), the answers may not.

Two properties matter for the oracle:
- Every REAL is a multiple of 1/8 below 2^20, so a sum of them is exact in a double: naive, pairwise
  or compensated summation in any order gives the same bits, and no engine is wrong for its order.
- One REAL in eight is whole. SQLite stores those as integers inside the REAL column; a reader that
  forgets to convert them back answers 81 where SQLite answers 81.0.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import verify_databases

BASE_TS = 1_700_000_000
"""The time stamp of the first sample; every host reports once in ten seconds."""
HOSTS = 250
CORPUS_WORDS = 24_000
PRIMES = (2147483629, 2147483587, 2147483579, 2147483563, 2147483549, 2147483543)

METRICS_TABLE = """
CREATE TABLE metrics(
  id INTEGER PRIMARY KEY,
  ts INTEGER NOT NULL,
  host TEXT NOT NULL,
  region TEXT,
  cpu_pct REAL,
  mem_pct REAL,
  disk_io INTEGER,
  status TEXT,
  note TEXT
)"""

DOCUMENTS_TABLE = """
CREATE TABLE documents(
  id INTEGER PRIMARY KEY,
  title TEXT NOT NULL,
  body TEXT NOT NULL,
  updated INTEGER
)"""

ROLLUP_TABLE = """
CREATE TABLE rollup(
  host TEXT NOT NULL,
  bucket INTEGER NOT NULL,
  samples INTEGER NOT NULL,
  cpu_sum REAL,
  cpu_max REAL,
  PRIMARY KEY(host, bucket)
) WITHOUT ROWID"""


def noise(column: int, seed: int) -> str:
    """Return an SQL expression over `i`: a hash of the row number, 0 .. 2^31, one per column.

    j^3 modulo primes, of a j that strides through 2^24, needs no XOR (SQLite has none), stays inside
    63 bits, names `i` only three times (a flattened subquery would compute it anew for every
    mention) and, unlike a linear congruence, shows no pattern that a branch predictor could learn.
    """
    first, second = PRIMES[column], PRIMES[(column + 1) % len(PRIMES)]
    j = f"((i+{(seed % 64) * 100_003 + column * 7_919})*69621%16777213)"
    return f"(({j}*{j}%{first})*{j}%{second})"


def metrics_columns(seed: int) -> str:
    """Return the SELECT list that turns row number `i` into one row of metrics."""
    cpu, mem, disk, mood, text = (noise(column, seed) for column in range(5))
    return f"""
  i,
  {BASE_TS} + (i-1)/{HOSTS}*10 + {disk}%10,
  CASE (i-1)%5 WHEN 0 THEN 'db-' WHEN 1 THEN 'cache-' ELSE 'web-' END || substr(1000+(i-1)%{HOSTS},2),
  CASE WHEN (i-1)%{HOSTS} = 17 THEN NULL ELSE
    CASE (i-1)%{HOSTS}/63 WHEN 0 THEN 'eu-west' WHEN 1 THEN 'eu-north' WHEN 2 THEN 'us-east' ELSE 'ap-south' END END,
  CASE WHEN {cpu}%101 = 7 THEN NULL ELSE {cpu}/101%801/8.0 END,
  CASE WHEN {mem}%211 = 7 THEN NULL ELSE {mem}/211%801/8.0 END,
  CASE WHEN {disk}/16%53 = 7 THEN NULL ELSE {disk} >> ({mood}%30) END,
  CASE WHEN {mood}%1000 < 900 THEN 'ok' WHEN {mood}%1000 < 970 THEN 'warn'
       WHEN {mood}%1000 < 990 THEN 'crit' END,
  CASE {text}%8
    WHEN 0 THEN 'cpu throttled on core ' || ({text}/8%64) || ', governor asked for ' || ({text}/512%4000) || ' MHz'
    WHEN 1 THEN 'disk queue is ' || ({text}/8%900) || ' deep on /dev/nvme0n1, oldest request waits for '
                || ({text}/8%77) || ' ms'
    WHEN 2 THEN 'gc pause of ' || ({text}/8%3000) || ' ms in service checkout-' || ({text}/8%40)
                || ', heap after collection fell'
    WHEN 3 THEN NULL
    ELSE 'sample accepted; agent 4.2.' || ({text}/8%10) || '; sequence ' || ({text}/8)
         || '; clock skew below limit' END"""


def create(path: Path) -> sqlite3.Connection:
    """Open a new database for fast, unjournalled writing (a half-written one is thrown away)."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA page_size = 4096")
    connection.execute("PRAGMA auto_vacuum = NONE")  # Debian's default is FULL
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -131072")
    return connection


def fill_metrics(connection: sqlite3.Connection, rows: int, seed: int) -> None:
    """Fill metrics by one INSERT ... SELECT over a cross join of two counters."""
    connection.execute(METRICS_TABLE)
    connection.execute("CREATE TEMP TABLE counter(n INTEGER PRIMARY KEY)")
    connection.execute(
        "INSERT INTO counter WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n+1 FROM c WHERE n < ?) SELECT n FROM c",
        (max(999, rows // 1000),),
    )
    numbers = "SELECT high.n*1000+low.n+1 AS i FROM counter high CROSS JOIN counter low WHERE low.n < 1000"
    connection.execute(
        f"INSERT INTO metrics SELECT {metrics_columns(seed)} FROM ({numbers}) WHERE i <= ?",
        (rows,),
    )
    connection.execute("DROP TABLE counter")


def corpus(seed: int) -> str:
    """Return about 200 kB of deterministic words; the bodies of documents are slices of it."""
    stems = ("query", "page", "leaf", "naïve", "index", "row", "quota", "zephyr", 'a "quoted" word', "tail\n", "ключ")
    state = seed * 2 + 1
    words = []
    for _ in range(CORPUS_WORDS):
        state = (state * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
        words.append(stems[(state >> 33) % len(stems)] + (str(state >> 55) if state >> 63 else ""))
    return " ".join(words)


def fill_documents(connection: sqlite3.Connection, documents: int, seed: int) -> None:
    """Fill documents: most bodies need an overflow chain, one in eight fits its leaf page."""
    text = corpus(seed)
    connection.execute(DOCUMENTS_TABLE)
    start, length = noise(0, seed), noise(1, seed)
    connection.execute(
        "INSERT INTO documents WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < ?) "
        f"SELECT i, 'Document ' || i, substr(?, 1+{start}%60000, CASE i%8 WHEN 0 THEN {length}%300 "
        f"ELSE 2000+{length}%16000 END), {BASE_TS} + {start}%86400 FROM c",
        (documents, text),
    )


def fill_rollup(connection: sqlite3.Connection) -> None:
    """Fill rollup: five-minute sums per host, clustered by their primary key."""
    connection.execute(ROLLUP_TABLE)
    connection.execute(
        "INSERT INTO rollup SELECT host, ts/300*300, COUNT(*), SUM(cpu_pct), MAX(cpu_pct) FROM metrics GROUP BY 1, 2"
    )


def make_metrics(path: Path, rows: int, seed: int, *, documents: int) -> None:
    """Make metrics.db; without documents it holds the bare metrics table only."""
    with closing(create(path)) as connection:
        connection.execute("BEGIN")
        fill_metrics(connection, rows, seed)
        if documents:
            connection.execute("CREATE INDEX metrics_host_ts ON metrics(host, ts)")
            connection.execute("CREATE INDEX metrics_ts ON metrics(ts)")
            fill_documents(connection, documents, seed)
            fill_rollup(connection)
        connection.execute("COMMIT")


def main() -> None:
    """Make one workload in the folder that the harness prepared."""
    parser = argparse.ArgumentParser(description="make the databases of one workload")
    parser.add_argument("--workload", required=True, choices=["verify", "bench", "large"])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=json.loads, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = int(options.size["rows"])
    documents = {"verify": 60, "bench": 4000, "large": 0}[options.workload]
    make_metrics(options.out / "metrics.db", rows, options.seed, documents=documents)
    if options.workload == "verify":
        verify_databases.make_all(options.out, options.seed)


if __name__ == "__main__":
    main()
