"""Random databases and random queries of the SQL subset, all of them with one right answer.

What SQLite leaves open is left out, so that a difference is always somebody's bug:
- a LIMIT stands only behind an ORDER BY that ends in a unique key;
- no column holds two values that are equal but look different (1 and 1.0) where a group, a DISTINCT
  or a MIN would show one of them; collated text is grouped by lower() or rtrim() of it;
- sums stay exact: small integers and multiples of 1/8;
- reals become text only where 15 digits say everything.
"""

from __future__ import annotations

import random
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

Value = int | float | str | bytes | None

SMALL_INTEGERS: tuple[Value, ...] = (*range(-9, 20), 127, 128, -128, -129, 255, 1000, 32767, 32768, -32769)
WIDE_INTEGERS: tuple[Value, ...] = (
    *(8388607, 8388608, -8388609, 2**31 - 1, 2**31, -(2**31) - 1, 2**47 - 1, 2**47, -(2**47) - 1),
    *(2**53, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 0, 1, 2, -1),
)
REALS: tuple[Value, ...] = (*(n / 8 for n in range(-40, 90, 3)), 100.0, 1e6, 12345.625, -0.125)
FRACTIONS: tuple[Value, ...] = tuple(n / 8 for n in range(-41, 90, 2))
WORDS: tuple[Value, ...] = (
    *(
        "",
        "a",
        "A",
        "b",
        "B",
        "ab",
        "Ab",
        "aB",
        "abc",
        "ABC",
        "abc ",
        "Zebra",
        "zebra",
        "éclair",
        "Éclair",
        "日本",
        "😀x",
    ),
    *("it's", 'say "x"', "100%", "under_score", "tab\there", "line\nbreak", "x,y", "~", "null", "Straße"),
)
NUMBER_WORDS: tuple[Value, ...] = (
    *("0", "5", "12", "-3", "1.5", "2.50", "7x", " 8", "9 ", "1e2", "0x10", ".5", "+4", "5.", "1e"),
)
BLOBS: tuple[Value, ...] = (b"", b"\x00", b"abc", b"\xff\xfe", b"12", bytes(range(40)))


@dataclass(frozen=True)
class Column:
    """A column and what may be done to it."""

    name: str
    declared: str
    values: tuple[Value, ...]
    collation: str = "BINARY"
    summable: bool = False

    @property
    def group_key(self) -> str:
        """Return an expression whose equal values all look the same."""
        return {"BINARY": self.name, "NOCASE": f"lower({self.name})", "RTRIM": f"rtrim({self.name})"}[self.collation]


@dataclass
class Table:
    """A table of a random database."""

    name: str
    columns: list[Column]
    key: list[str]
    """Expressions that together are unique: the end of every ORDER BY."""
    without_rowid: bool = False
    indexes: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Query:
    """A query; `ordered` says that the rows have one right order; some are asked twice, some in csv."""

    sql: str
    ordered: bool
    form: str = "json"
    repeats: int = 1


KINDS: tuple[tuple[str, str, tuple[Value, ...], bool], ...] = (
    ("i", "INTEGER", SMALL_INTEGERS, True),
    ("w", "BIGINT", WIDE_INTEGERS, False),
    ("r", "REAL", REALS, True),
    ("t", "TEXT", WORDS, True),
    ("v", "VARCHAR(20)", WORDS + NUMBER_WORDS, True),
    ("n", "NUMERIC", SMALL_INTEGERS + FRACTIONS + NUMBER_WORDS, True),
    ("b", "BLOB", BLOBS + WORDS[:8] + SMALL_INTEGERS[:9], False),
    ("u", "", WORDS[:9] + FRACTIONS[:9] + SMALL_INTEGERS + BLOBS[:3], False),
)


def quote(value: Value) -> str:
    """Return a literal for a value."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if value == -(2**63):
        return "(-9223372036854775807-1)"
    return repr(value)


class Maker:
    """Makes one random database and any number of queries for it."""

    def __init__(self, seed: int) -> None:
        """Start from a seed; the same seed makes the same database and the same queries."""
        self.random = random.Random(seed)
        self.tables = [self.table(number) for number in range(self.random.randint(1, 3))]

    # --- databases ---

    def column(self, number: int) -> Column:
        """Return a random column."""
        letter, declared, values, summable = self.random.choice(KINDS)
        is_text = declared in {"TEXT", "VARCHAR(20)"}
        collation = self.random.choice(["BINARY", "BINARY", "NOCASE", "RTRIM"]) if is_text else "BINARY"
        suffix = "" if collation == "BINARY" else f" COLLATE {collation}"
        return Column(f"{letter}{number}", declared + suffix, values, collation, summable)

    def table(self, number: int) -> Table:
        """Return a random table: with a rowid alias, a plain rowid, or WITHOUT ROWID."""
        columns = [self.column(position) for position in range(self.random.randint(1, 7))]
        shape = self.random.choice(["alias", "plain", "without"])
        if shape == "without":
            return Table(f"t{number}", columns, ["k1", "k2"], without_rowid=True)
        return Table(f"t{number}", columns, ["id"] if shape == "alias" else ["rowid"])

    def create_sql(self, table: Table) -> str:
        """Return CREATE TABLE; key columns stand at random places among the others."""
        parts = [f"{column.name} {column.declared}" for column in table.columns]
        for name in ("k1", "k2") if table.without_rowid else ("id",) if table.key == ["id"] else ():
            declared = {"id": "id INTEGER PRIMARY KEY", "k1": "k1 INTEGER", "k2": "k2 TEXT"}[name]
            parts.insert(self.random.randint(0, len(parts)), declared)
        if table.without_rowid:
            direction = self.random.choice(["", " DESC"])
            parts.append(f"PRIMARY KEY(k1{direction}, k2)")
        return f"CREATE TABLE {table.name}({', '.join(parts)}){' WITHOUT ROWID' if table.without_rowid else ''}"

    def index_sql(self, table: Table, number: int) -> str:
        """Return CREATE INDEX over one to three columns, some descending, some with a collation."""
        names = [column.name for column in table.columns]
        chosen = self.random.sample(names, min(len(names), self.random.randint(1, 3)))
        table.indexes.append(chosen)
        terms = [name + self.random.choice(["", "", "", " DESC", " COLLATE NOCASE"]) for name in chosen]
        dice = self.random.random()
        if dice < 0.08:  # an index that no lane may use: it holds a part of the rows, or no column
            return f"CREATE INDEX {table.name}_x{number} ON {table.name}({', '.join(terms)}) WHERE {chosen[0]} NOTNULL"
        if dice < 0.14:
            terms[-1] = f"({chosen[-1]} || '')"
        if dice > 0.85 and table.key != ["rowid"]:
            return f"CREATE UNIQUE INDEX {table.name}_x{number} ON {table.name}({', '.join(terms + table.key)})"
        return f"CREATE INDEX {table.name}_x{number} ON {table.name}({', '.join(terms)})"

    def value(self, column: Column) -> Value:
        """Return a random value for a column, now and then NULL or long enough to overflow."""
        dice = self.random.random()
        if dice < 0.12:
            return None
        if dice > 0.985 and column.declared.startswith(("TEXT", "BLOB")):
            return self.random.choice("xyz") * self.random.choice([400, 1000, 5000, 20000])
        return self.random.choice(column.values)

    def fill(self, connection: sqlite3.Connection, table: Table) -> None:
        """Insert random rows; a few are deleted again to leave free blocks and pages."""
        names = [column.name for column in table.columns]
        rows = self.random.choices([0, 1, 7, 60, 200, 700], [1, 1, 2, 6, 8, 6])[0]
        keys = {"id": ["id"], "rowid": ["rowid"], "k1": ["k1", "k2"]}[table.key[0]]
        marks = ",".join("?" * (len(names) + len(keys)))
        insert = f"INSERT OR IGNORE INTO {table.name}({','.join(names + keys)}) VALUES({marks})"
        for number in range(rows):
            key: list[Value] = [number + 1 if self.random.random() < 0.9 else self.random.randint(-(2**40), 2**40)]
            if table.without_rowid:
                key = [self.random.randint(0, 30), f"key {number}"]
            connection.execute(insert, [self.value(column) for column in table.columns] + key)
        if self.random.random() < 0.4:
            connection.execute(f"DELETE FROM {table.name} WHERE {table.key[0]} % 3 = 1")

    def write(self, path: Path) -> None:
        """Write the database."""
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size = {self.random.choice([512, 1024, 4096, 4096, 8192, 65536])}")
            connection.execute(f"PRAGMA auto_vacuum = {self.random.choice(['NONE', 'NONE', 'FULL', 'INCREMENTAL'])}")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            for table in self.tables:
                connection.execute(self.create_sql(table))
                self.fill(connection, table)
                for number in range(self.random.randint(0, 3)):
                    connection.execute(self.index_sql(table, number))
                self.add_column(connection, table)
            connection.execute("COMMIT")

    def add_column(self, connection: sqlite3.Connection, table: Table) -> None:
        """Add a column behind the rows that exist, sometimes: they must answer its default."""
        if self.random.random() < 0.6:
            return
        column = self.column(90)
        default = self.random.choice(column.values)
        literal = "-9" if default == -(2**63) else quote(default)
        connection.execute(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {column.declared} DEFAULT {literal}")
        table.columns.append(column)

    # --- expressions ---

    def literal(self, column: Column) -> str:
        """Return a constant to compare a column with: mostly of its own kind, sometimes of another."""
        pool = (
            column.values if self.random.random() < 0.8 else (*NUMBER_WORDS, *FRACTIONS, *BLOBS, *WIDE_INTEGERS, None)
        )
        return quote(self.random.choice(pool))

    def pick(self, table: Table) -> Column:
        """Return a column, by preference one that an index begins with."""
        if table.indexes and self.random.random() < 0.5:
            first = self.random.choice(table.indexes)[0]
            return next(column for column in table.columns if column.name == first)
        return self.random.choice([*table.columns, *self.key_columns(table)])

    def key_columns(self, table: Table) -> list[Column]:
        """Return the key columns as columns."""
        numbers: tuple[Value, ...] = (*range(-1, 60), 2**40, -(2**63), 1.5, 3.0)
        if table.without_rowid:
            words: tuple[Value, ...] = tuple(f"key {n}" for n in range(60))
            return [Column("k1", "INTEGER", numbers), Column("k2", "TEXT", words)]
        return [Column(table.key[0], "INTEGER", numbers)]

    def comparison(self, table: Table) -> str:
        """Return one condition on one column: the kind that may become an index bound."""
        column = self.pick(table)
        name, constant = column.name, self.literal(column)
        operator = self.random.choice(["=", "==", "<", "<=", ">", ">=", "<>", "!=", "IS", "IS NOT"])
        forms = [
            f"{name} {operator} {constant}",
            f"{name} {operator} {constant}",
            f"{constant} {operator} {name}",
            f"{name} BETWEEN {constant} AND {self.literal(column)}",
            f"{name} NOT BETWEEN {constant} AND {self.literal(column)}",
            f"{name} IN ({', '.join(self.literal(column) for _ in range(self.random.randint(1, 5)))})",
            f"{name} NOT IN ({constant}, {self.literal(column)})",
            f"{name} IS NULL",
            f"{name} NOTNULL",
            f"{name} {operator} {constant} COLLATE {self.random.choice(['NOCASE', 'RTRIM', 'BINARY'])}",
            f"{name} {operator} {self.random.choice(table.columns).name}",
            f"+{name} {operator} {constant}",
            f"{name} IN ({self.random.choice(table.columns).name}, {constant})",
            f"{self.text(table)} {operator} {constant}",
            name,
        ]
        return self.random.choice(forms)

    def like(self, table: Table) -> str:
        """Return a LIKE condition on a column that holds no blobs (builds of SQLite differ on those)."""
        texts = [column for column in table.columns if column.declared[:1] in {"T", "V", "I", "R"}]
        if not texts:
            return "1"
        pattern = self.random.choice(
            ["a%", "%b", "_b%", "%É%", "%é%", "AB_", "%", "", "100\\%", "%\\_%", "1%", "%.5", "日_"]
        )
        negated = self.random.choice(["", "", "NOT "])
        escape = " ESCAPE '\\'" if "\\" in pattern else ""
        return f"{self.random.choice(texts).name} {negated}LIKE {quote(pattern)}{escape}"

    def number(self, table: Table, depth: int = 2) -> str:
        """Return a numeric expression."""
        if depth == 0 or self.random.random() < 0.3:
            column = self.random.choice(table.columns)
            return self.random.choice([column.name, column.name, quote(self.random.choice([0, 1, 2, 3, -7, 0.5, 10]))])
        left, right = self.number(table, depth - 1), self.number(table, depth - 1)
        names = [column.name for column in table.columns]
        real = self.random.choice([name for name in names if name[0] == "r"] or ["2.625"])
        one = self.random.choice([name for name in names if name[0] != "r"] or ["1"])
        decimals = self.random.randint(0, 3)
        forms = [
            *(f"({left} {operator} {right})" for operator in "+-*/%&|"),
            f"({left} << 3)", f"({left} >> 2)", f"(- {left})", f"(~ {left})", f"coalesce({left}, {right}, 4)",
            f"ifnull({left}, {right})", f"nullif({left}, {right})", f"length({self.random.choice(table.columns).name})",
            f"CASE WHEN {self.comparison(table)} THEN {left} ELSE {right} END", f"CAST({left} AS INTEGER)",
            f"CASE {self.random.choice(table.columns).name} WHEN {left} THEN 1 WHEN {right} THEN 2 END",
            f"({left} < {right})", f"min({left}, {right})", f"max({left}, {right}, 3)", f"(NOT {left})",
            f"({left} AND {right})", f"({left} OR {right})", f"({left} IS {right})", f"({left} IN ({right}, 2, NULL))",
            f"({left} BETWEEN -3 AND {right})", f"CAST({left} AS REAL)", f"({one} || {one})",
            f"round({real}, {decimals})",
        ]  # fmt: skip
        return self.random.choice(forms)

    def text(self, table: Table) -> str:
        """Return a text expression over columns (not over computed reals)."""
        one, two = (self.random.choice(table.columns).name for _ in range(2))
        start, count = self.random.randint(-4, 5), self.random.randint(-3, 6)
        forms = [
            f"{one} || {two}", f"lower({one})", f"upper({one})", f"substr({one}, {start})",
            f"substr({one}, {start}, {count})",
            f"trim({one})", f"hex({one})", f"typeof({one})", f"CAST({one} AS TEXT)", f"{one} || '-' || {start}",
            f"trim({one}, 'ab x')", f"coalesce({one}, {two}, 'none')", f"lower(substr({one}, {count}))",
            f"CASE WHEN {one} IS NULL THEN 'nil' ELSE {two} END", f"upper({one} || {two})", f"length({one} || {two})",
            f"CAST({one} AS BLOB)", f"instr({one}, {quote(self.random.choice(['a', 'b', '', '5']))})",
        ]  # fmt: skip
        return self.random.choice(forms)

    def condition(self, table: Table, depth: int = 2) -> str:
        """Return a condition for WHERE."""
        dice = self.random.random()
        if depth and dice < 0.45:
            word = self.random.choice(["AND", "AND", "AND", "OR"])
            return f"({self.condition(table, depth - 1)}) {word} ({self.condition(table, depth - 1)})"
        if depth and dice < 0.52:
            return f"NOT ({self.condition(table, depth - 1)})"
        if dice < 0.60:
            return self.like(table)
        if dice < 0.68:
            return f"{self.number(table)} {self.random.choice(['<', '>', '=', '<>', 'IS'])} {self.number(table)}"
        return self.comparison(table)

    def where(self, table: Table) -> str:
        """Return a WHERE clause or none; chains of AND are what the planner looks at."""
        dice = self.random.random()
        if dice < 0.25:
            return ""
        if dice < 0.6:
            return " WHERE " + " AND ".join(
                self.comparison(table) for _ in range(self.random.choice([1, 1, 1, 2, 2, 3]))
            )
        return " WHERE " + self.condition(table)

    # --- queries ---

    def query(self) -> Query:
        """Return one random query."""
        table = self.random.choice(self.tables)
        maker = self.random.choice([self.rows, self.rows, self.rows, self.aggregate, self.groups, self.distinct])
        query = maker(table)
        dice = self.random.random()
        if dice > 0.85:
            return Query(query.sql, query.ordered, form="csv")
        if dice > 0.6:
            return Query(self.dressed(query.sql), query.ordered, repeats=self.random.choice([1, 1, 3]))
        sql = query.sql + (";" if dice < 0.1 else " -- end" if dice < 0.15 else " /* end */ ;" if dice < 0.2 else "")
        return Query(sql, query.ordered)

    def dressed(self, sql: str) -> str:
        """Return the query with other white space, comments and spelling of words, outside of literals."""
        pieces = []
        for piece in re.findall(r"[xX]?'(?:[^']|'')*'|\"[^\"]*\"|[A-Za-z_][A-Za-z_0-9]*| |[^ ]", sql):
            dice = self.random.random()
            if piece == " ":
                pieces.append(self.random.choice([" ", " ", " ", "\n", "\t ", " /* x's */ ", ' -- it"s\n']))
            elif piece.isupper():
                pieces.append(piece.lower() if dice < 0.4 else piece.title() if dice < 0.5 else piece)
            elif re.fullmatch(r"[a-z][0-9]+", piece) and dice < 0.3:
                pieces.append(self.random.choice([f'"{piece}"', f"[{piece}]", f"`{piece}`", piece.upper()]))
            else:
                pieces.append(piece)
        return "".join(pieces)

    def limit(self) -> str:
        """Return a LIMIT clause, sometimes none."""
        forms = [
            "",
            "",
            "",
            "LIMIT 1",
            "LIMIT 5",
            "LIMIT 50",
            "LIMIT 10 OFFSET 3",
            "LIMIT 2, 4",
            "LIMIT 0",
            "LIMIT -1",
            "LIMIT 3 OFFSET 100000",
        ]
        clause = self.random.choice(forms)
        return f" {clause}" if clause else ""

    def direction(self) -> str:
        """Return what may follow an ORDER BY term."""
        return self.random.choice(["", "", "", " ASC", " DESC", " DESC", " NULLS LAST", " DESC NULLS FIRST"])

    def rows(self, table: Table) -> Query:
        """Return a plain SELECT, ordered by a unique key or compared as a bag of rows."""
        columns = [column.name for column in table.columns]
        listed = [self.random.choice(columns), self.number(table), self.text(table), *table.key]
        if self.random.random() < 0.4:
            listed = self.random.sample(columns, self.random.randint(1, len(columns)))
        label = self.random.choice(["", "", "", "first_one", '"First one"'])
        head = f"{listed[0]} {self.random.choice(['', 'AS '])}{label}" if label else listed[0]
        select = "*" if self.random.random() < 0.2 else ", ".join([head, *(listed[1:] or table.key)])
        source = table.name + self.random.choice(["", "", "", " x", " AS x"])
        if source.endswith(" x") and select != "*":
            select = f"x.{select}, x.*"
        body = f"SELECT {select} FROM {source}{self.where(table)}"
        if self.random.random() < 0.5:
            return Query(body, ordered=False)
        lead = "" if select == "*" else self.random.choice(["", f"{label}, "] if label else ["", "", "1 DESC, ", "1, "])
        return Query(f"{body} ORDER BY {lead}{self.order(table)}{self.limit()}", ordered=True)

    def order(self, table: Table) -> str:
        """Return ORDER BY terms that end in the unique key."""
        terms = [self.pick(table).name for _ in range(self.random.randint(0, 2))]
        terms = [term + self.random.choice(["", "", "", "", " COLLATE NOCASE", " COLLATE BINARY"]) for term in terms]
        if self.random.random() < 0.2:
            terms.append(self.number(table, 1))
        # a bare number would be an ordinal, and one that SQLite folds (0 AND x) is an ordinal out of range
        terms = [term for term in terms if any(mark.islower() for mark in term) and " AND " not in term] + table.key
        return ", ".join(term + self.direction() for term in terms)

    def aggregates(self, table: Table) -> str:
        """Return one to four aggregates, some inside an expression."""
        terms = [self.one_aggregate(table) for _ in range(self.random.randint(1, 4))]
        shapes = [
            "{}",
            "{}",
            "{}",
            "{}",
            "{} + 1",
            "- {}",
            "coalesce({}, 'none')",
            "typeof({})",
            "CASE WHEN {} > 2 THEN 1 END",
        ]
        return ", ".join(self.random.choice(shapes).format(term) for term in terms)

    def one_aggregate(self, table: Table) -> str:
        """Return an aggregate whose value does not depend on the order of the rows."""
        binary = [column for column in table.columns if column.collation == "BINARY"]
        sums = [column for column in table.columns if column.summable]
        forms = ["COUNT(*)", f"COUNT({self.random.choice(table.columns).name})"]
        forms += [f"COUNT(DISTINCT {self.random.choice(table.columns).name})", f"COUNT({self.number(table)})"]
        if binary:
            forms += [f"{word}({self.random.choice(binary).name})" for word in ("MIN", "MAX")]
        if sums:
            forms += [f"{word}({self.random.choice(sums).name})" for word in ("SUM", "TOTAL", "AVG")]
        return self.random.choice(forms)

    def aggregate(self, table: Table) -> Query:
        """Return aggregates over the whole table."""
        return Query(f"SELECT {self.aggregates(table)} FROM {table.name}{self.where(table)}", ordered=True)

    def groups(self, table: Table) -> Query:
        """Return a GROUP BY, with HAVING and a full order at times."""
        keys = self.group_keys(table)
        having = self.random.choice(["", "", " HAVING COUNT(*) > 1", " HAVING COUNT(*) BETWEEN 2 AND 5"])
        if self.random.random() < 0.2:
            having = f" HAVING {self.one_aggregate(table)} > 3 OR {keys[0]} IS NULL"
        body = f"SELECT {', '.join(keys)}, {self.aggregates(table)} FROM {table.name}{self.where(table)}"
        body += f" GROUP BY {', '.join(keys) if self.random.random() < 0.8 else '1, 2'[: 3 * len(keys) - 2]}{having}"
        if self.random.random() < 0.4:
            return Query(body, ordered=False)
        lead = f"{self.one_aggregate(table)}{self.direction()}, " if self.random.random() < 0.3 else ""
        order = lead + ", ".join(key + self.direction() for key in self.random.sample(keys, len(keys)))
        return Query(f"{body} ORDER BY {order}{self.limit()}", ordered=True)

    def group_keys(self, table: Table) -> list[str]:
        """Return one or two expressions to group by."""
        names = list(dict.fromkeys(column.group_key for column in table.columns))
        names.append(f"typeof({self.random.choice(table.columns).name})")
        return self.random.sample(names, min(len(names), self.random.randint(1, 2)))

    def distinct(self, table: Table) -> Query:
        """Return a SELECT DISTINCT."""
        keys = self.group_keys(table)
        body = f"SELECT DISTINCT {', '.join(keys)} FROM {table.name}{self.where(table)}"
        if self.random.random() < 0.5:
            return Query(body, ordered=False)
        order = ", ".join(key + self.direction() for key in keys)
        return Query(f"{body} ORDER BY {order}{self.limit()}", ordered=True)
