"""The DuckDB peer: the same queries over the same file, by DuckDB's SQLite scanner.

    main.py --db FILE --query SQL [--format json] [--repeats N] [--output PATH] [--version]

The scanner is DuckDB's own signed extension; a wheel carries it, so nothing is downloaded at run time,
and DuckDB checks the signature when it loads it. The process starts one in-memory DuckDB with a
single thread; every repeat attaches the file read-only, plans, runs, renders, digests and detaches.
Rows are rendered by Python's json module, whose text form is the canonical one.

DuckDB does not tell how many rows its scanner has read, so "Total processed" is 0 and project.yaml
says `counts_items: false`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

import duckdb
import xxhash

ROWS_AT_ONCE = 8192


def connect() -> duckdb.DuckDBPyConnection:
    """Start DuckDB with one thread, no access to the network and the SQLite scanner."""
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": 1,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    connection = duckdb.connect(":memory:", config=settings)
    scanner = (
        files("duckdb_extension_sqlite_scanner")
        / "extensions"
        / f"v{duckdb.__version__}"
        / "sqlite_scanner.duckdb_extension"
    )
    connection.execute(f"LOAD '{scanner}'")
    return connection


def run_once(
    connection: duckdb.DuckDBPyConnection, options: argparse.Namespace, digest: xxhash.xxh64, file: BinaryIO | None
) -> None:
    """Do one repeat: open, plan, run, render and close."""
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
    path = options.db.replace("'", "''")
    connection.execute(f"ATTACH '{path}' AS peer_db (TYPE sqlite, READ_ONLY)")
    connection.execute("USE peer_db")
    connection.execute(options.query)
    while rows := connection.fetchmany(ROWS_AT_ONCE):
        lines = [encode(row) for row in rows]
        lines.append("")
        chunk = "\n".join(lines).encode()
        digest.update(chunk)
        if file is not None:
            file.write(chunk)
    connection.execute("USE memory")
    connection.execute("DETACH peer_db")


def run_all(options: argparse.Namespace) -> str:
    """Do all repeats and return the statistics block."""
    digest = xxhash.xxh64()
    connection = connect()
    start = time.perf_counter()
    for repeat in range(options.repeats):
        if repeat == 0 and options.output:
            temporary = options.output.with_name(f"{options.output.name}.tmp-{os.getpid()}")
            try:
                with temporary.open("wb") as file:
                    run_once(connection, options, digest, file)
                temporary.replace(options.output)
            finally:
                temporary.unlink(missing_ok=True)
        else:
            run_once(connection, options, digest, None)
    wall = time.perf_counter() - start
    return (
        f"--- Statistics ---\nTotal processed: 0\nProcessing time: {wall:.6f}s\n"
        f"Average latency: {wall * 1e3 / options.repeats:.6f}ms\nThroughput: 0.00 items/sec\n"
        f"Digest: {digest.hexdigest()}\n"
    )


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="DuckDB's SQLite scanner under the lane contract")
    parser.add_argument("--version", action="version", version=f"sqlite-query-engine duckdb {duckdb.__version__}")
    parser.add_argument("--db", required=True)
    parser.add_argument("--query", required=True)
    parser.add_argument("--format", choices=["json"], default="json")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error("--repeats is at least 1")
    return options


def main() -> int:
    """Run, and turn every refusal into one error line."""
    options = parse(sys.argv[1:])
    try:
        sys.stdout.write(run_all(options))
    except (duckdb.Error, ValueError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
