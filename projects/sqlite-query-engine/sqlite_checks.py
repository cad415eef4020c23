"""The further checks of the verify workload, as data: what to ask, and how many rows that reads.

A group is a database, the query that counts what a full scan of its table reads, and the queries to
ask. A query that reads another number of rows (a seek, an early stop) carries its own count. The
expected answers are not here: oracle.py takes them from SQLite. Only EXPLAIN QUERY PLAN is written
out, because it states this project's planner rules and not SQLite's choices.
"""
# ruff: noqa: E501  a query stands on one line, however long

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """A query that must succeed; `items` is a query that counts what it reads, None for nothing."""

    name: str
    db: str
    query: str
    items: str | None = None
    form: str = "json"
    ordered: bool = True
    plan: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Refusal:
    """A query or a file that must be refused; `stderr` is a text that the error line contains."""

    name: str
    db: str
    query: str
    stderr: str


Ask = str | tuple[str, str]
"""A query, alone or with the query that counts what it reads."""


@dataclass(frozen=True)
class Group:
    """Queries on one database that read, unless they say otherwise, the rows counted by `items`."""

    name: str
    db: str
    items: str | None
    asks: tuple[Ask, ...]
    ordered: bool = True
    form: str = "json"

    def checks(self) -> list[Check]:
        """Return the checks of the group, numbered."""
        found = []
        for number, ask in enumerate(self.asks, 1):
            query, items = (ask, self.items) if isinstance(ask, str) else ask
            found.append(Check(f"{self.name}-{number}", self.db, query, items, self.form, self.ordered))
        return found


# --- expressions: no table, nothing read ---

LITERALS = (
    "SELECT 1, -1, 0, 9223372036854775807, -9223372036854775807",
    "SELECT 9223372036854775808, -9223372036854775808, 18446744073709551616",
    "SELECT 1.5, 1., .5, 1e3, 1.5E-3, 2e+2, 1e300, 1e-30",
    "SELECT 0x10, 0xff, 0X7fffffffffffffff, 0xffffffffffffffff",
    "SELECT 'it''s', '', 'é', 'a\"b', 'line\nbreak', 'back\\slash', 'tab\tx'",
    "SELECT x'00ff', X'', x'ABcd'",
    "SELECT NULL, TRUE, FALSE, true, null",
    "SELECT 9e999, -9e999, 1e999 - 1e999",
    "SELECT 100000000000000000000.0, 1e15, 1e16, 123456789.125, 0.0001, 0.00001, 1e22, 1e21, 5e-324",
    "SELECT 0.1, 0.1 + 0.2, 1.0 / 3, 2.0 / 3, 1e23, 4.35, 0.000123",
    "select 1 -- comment to the end",
    "SELECT /* inside */ 1 /* open at the end",
    "SELECT 1;",
    "  SELECT\t1\n,\r\n2  ;  ",
)
ARITHMETIC = (
    "SELECT 7 + 3, 7 - 3, 7 * 3, 7 / 3, 7 % 3, -7 / 3, -7 % 3, 7 / -3, 7 % -3",
    "SELECT 7.0 / 2, 7 / 2.0, 7.5 % 2, 7 % 2.5, -7.5 % 2",
    "SELECT 1 / 0, 1.0 / 0, 1 % 0, 1.5 % 0, 0 / 0, 1 / 0.0, 5 % 0.5",
    "SELECT 9223372036854775807 + 1, -9223372036854775807 - 2, 9223372036854775807 * 2",
    "SELECT 4611686018427387904 * 2, 3037000500 * 3037000500, 3037000499 * 3037000499",
    "SELECT (-9223372036854775807 - 1) / -1, (-9223372036854775807 - 1) % -1",
    "SELECT -(-9223372036854775807 - 1), - - 5, +'5', -'5', -'abc', - NULL",
    "SELECT 1 + NULL, NULL * 0, NULL / 0, NULL % 1, NULL || 'x'",
    "SELECT '5' + 3, '5x' + 3, 'x5' + 3, '1.5' * 2, ' 12 ' + 1, '' + 0, '1e2' + 1, '.5' + 1, '0x10' + 1, '+7' + 0",
    "SELECT '9223372036854775807' + 1, '9223372036854775808' + 0, '5' + '6', '5' * '6.0', '7' / '2', '7' % '4'",
    "SELECT x'35' + 1, x'ff' + 1",
    "SELECT 5 % '1e2', '1e2' % 30, '1e2' & 255, '1.9' % 2, ~'1e2', 1 << '1e0', 7 % '0x10', '12abc' & 8, '1e2' + 0, '7.9' / 2",
    "SELECT 1 + 2 * 3, (1 + 2) * 3, 10 - 4 - 3, 100 / 10 / 5, 2 * 3 % 4, 1 - -1, 1+-1, 1--1\n",
    "SELECT 5 & 3, 5 | 3, 1 << 4, 256 >> 4, ~5, ~0, -1 >> 1, 1 << 63, 1 << 64, 1 << -1, 256 >> -2, -1 >> 70, 1 << 62 << 1",
    "SELECT 5.9 & 3, '6' | 1, NULL & 1, NULL | 1, ~NULL, 1 << NULL, ~'7', 1 | 2 << 1, 6 & 5 | 8",
    "SELECT 'a' || 'b', 1 || 2, 1.5 || 'x', 1.0 || '', 'a' || NULL, 1 || 2 + 3, x'41' || 'b', -1 || '|', 1e15 || '', 1e14 || ''",
    "SELECT 1e100 || '', 0.1 || '', 100.0 || '', -0.5 || '', 1e-5 || '', 123456789.125 || '', 1e20 || ''",
    "SELECT -5 || 'x', - 5 || 'x', 2 - 1 || 'x', 2 || 3 * 4",
)
COMPARISON = (
    "SELECT 1 < 2, 2 <= 2, 3 > 4, 4 >= 4, 1 = 1, 1 == 1, 1 != 1, 1 <> 2",
    "SELECT 1 = 1.0, 1 < 1.5, 2 > 1.5, 9007199254740993 = 9007199254740992.0, 9007199254740993 > 9007199254740992.0",
    "SELECT 9223372036854775807 < 9223372036854775808.0, 9223372036854775807 = 9223372036854775807.0, -1 < 9e999, 1 > -9e999",
    "SELECT 1 < 'a', 1 < '0', 'a' < x'00', 9e999 < '', 'a' > 1, x'' > 'zzz', '1' = 1, 1 = '1', x'31' = '1'",
    "SELECT 'a' < 'b', 'a' < 'B', 'ab' > 'a', '' < 'a', 'a' = 'a ', 'é' > 'z', x'00' < x'0000', x'ff' > x'00ff'",
    "SELECT NULL = NULL, NULL <> 1, NULL < 1, 1 = NULL, NULL IS NULL, NULL IS NOT NULL, 1 IS NULL, 1 IS NOT NULL",
    "SELECT 1 IS 1, 1 IS 2, NULL IS 1, 1 IS NOT 2, 1 IS NOT 1, 'a' IS 'a', 1 IS 1.0, '1' IS 1",
    "SELECT 1 ISNULL, NULL ISNULL, 1 NOTNULL, NULL NOTNULL, NULL NOT NULL, 1 NOT NULL",
    "SELECT 1 < 2 < 3, 3 > 2 > 1, 1 = 1 = 1, 2 = 2 = 2, 1 < 2 = 1, 1 + 1 = 2 AND 3 > 2",
    "SELECT 5 BETWEEN 1 AND 10, 5 BETWEEN 6 AND 10, 5 NOT BETWEEN 6 AND 10, NULL BETWEEN 1 AND 2, 5 BETWEEN NULL AND 10, 5 BETWEEN 6 AND NULL",
    "SELECT 1 IN (1, 2), 3 IN (1, 2), 3 NOT IN (1, 2), NULL IN (1), 1 IN (NULL, 1), 1 IN (NULL, 2), 1 NOT IN (NULL, 2), 1 IN ()",
    "SELECT '1' IN (1), 1 IN ('1'), 1 IN (1.0), 'a' IN ('A', 'a'), NULL NOT IN (1), NULL IN (), 2 IN (1 + 1, 5)",
    "SELECT 'abc' = 'ABC' COLLATE NOCASE, 'abc' COLLATE NOCASE = 'ABC', 'a' = 'a  ' COLLATE RTRIM, 'a' COLLATE BINARY = 'A', 'É' = 'é' COLLATE NOCASE",
    "SELECT 'A' IN (lower('A') COLLATE NOCASE), 'A' IN (('a' || '') COLLATE NOCASE), 'A' IN (CAST('a' AS TEXT) COLLATE NOCASE)",
    "SELECT 'A' IN (CASE WHEN 1 THEN 'a' END COLLATE NOCASE), 'A' IN (CASE WHEN 1 THEN lower('A') END COLLATE NOCASE)",
    "SELECT 'A' IN (CASE WHEN 'x' LIKE 'X' THEN 'a' END COLLATE NOCASE), 'A' IN (CASE WHEN 1 IN (1, 2) THEN 'a' END COLLATE NOCASE)",
    "SELECT 'B' COLLATE NOCASE BETWEEN 'a' AND 'c', 'A' COLLATE NOCASE IN ('a', 'b'), 'A' IN ('a' COLLATE NOCASE), 'a ' COLLATE RTRIM IN ('a')",
    "SELECT CAST(1 AS TEXT) = 1, CAST('1' AS INTEGER) = '1', CAST('1' AS INTEGER) = '1.0', CAST('1' AS BLOB) = '1', CAST(1 AS TEXT) < 2",
)
LOGIC = (
    "SELECT NOT 1, NOT 0, NOT NULL, NOT 2, NOT 0.5, NOT '1', NOT 'a', NOT -1, NOT NOT 3",
    "SELECT 1 AND 1, 1 AND 0, 0 AND NULL, NULL AND 0, 1 AND NULL, NULL AND NULL, 2 AND 3, 0.1 AND 1, 'a' AND 1, '1a' AND 1",
    "SELECT 1 OR 0, 0 OR 0, NULL OR 1, 1 OR NULL, NULL OR 0, NULL OR NULL, 0.0 OR 0, 'a' OR 0, '0.5' OR 0",
    "SELECT 1 OR 0 AND 0, (1 OR 0) AND 0, NOT 1 = 2, NOT (1 = 2), NOT 1 OR 1, NOT 0 AND 0, 1 AND NOT 0",
    "SELECT CASE WHEN 1 THEN 'a' ELSE 'b' END, CASE WHEN 0 THEN 'a' END, CASE WHEN NULL THEN 1 ELSE 2 END, CASE WHEN '1' THEN 3 END",
    "SELECT CASE 2 WHEN 1 THEN 'one' WHEN 2 THEN 'two' ELSE 'many' END, CASE NULL WHEN NULL THEN 1 ELSE 2 END, CASE 1 WHEN NULL THEN 1 END",
    "SELECT CASE WHEN 1 = 2 THEN 1 WHEN 2 = 2 THEN CASE 'x' WHEN 'x' THEN 'inner' END END, CASE '1' WHEN 1 THEN 'same' ELSE 'other' END",
    "SELECT CASE 'A' COLLATE NOCASE WHEN 'a' THEN 1 ELSE 0 END, CASE 1 WHEN 1.0 THEN 'eq' END, 1 + CASE WHEN 1 THEN 2 END * 3",
    "SELECT TRUE + TRUE, TRUE AND FALSE, NOT FALSE, TRUE = 1, FALSE IS 0",
    "SELECT ((((((((((1))))))))))",
)
LIKES = (
    "SELECT 'abc' LIKE 'abc', 'ABC' LIKE 'abc', 'abc' LIKE 'a%', 'abc' LIKE '%c', 'abc' LIKE '%b%', 'abc' LIKE 'a_c', 'abc' LIKE '____'",
    "SELECT '' LIKE '', '' LIKE '%', 'a' LIKE '', 'a' LIKE '_%', 'abc' LIKE '%%c', 'abc' LIKE 'abc%', 'abc' LIKE '%_%_%_%', 'abc' LIKE '%_%_%_%_'",
    "SELECT 'É' LIKE 'é', 'é' LIKE '_', '日本' LIKE '__', '日本語' LIKE '%語', '😀' LIKE '_', 'aé' LIKE 'A_'",
    "SELECT '10%' LIKE '10\\%' ESCAPE '\\', '10x' LIKE '10\\%' ESCAPE '\\', 'a_b' LIKE 'aX_b' ESCAPE 'X', 'axb' LIKE 'aX_b' ESCAPE 'X', '\\' LIKE '\\\\' ESCAPE '\\'",
    "SELECT NULL LIKE 'a', 'a' LIKE NULL, 'a' NOT LIKE 'b', 'a' NOT LIKE 'A', NULL NOT LIKE 'x', 12 LIKE '1%', 1.5 LIKE '1._', 'a%' LIKE 'a%'",
    "SELECT 'mississippi' LIKE '%iss%ip%', 'mississippi' LIKE '%issip%iss%', 'aaaaaaaaab' LIKE '%a%a%a%b', 'aaaaaaaaa' LIKE '%a%a%a%b'",
    "SELECT '[abc]' LIKE '[abc]', 'a' LIKE '[abc]', 'a*c' LIKE 'a*c', 'K' LIKE 'k', '@' LIKE '`', '{' LIKE '['",
)
FUNCTIONS = (
    "SELECT abs(-5), abs(5), abs(-5.5), abs(NULL), abs('-7'), abs('x'), abs(0)",
    "SELECT length('abc'), length(''), length('日本'), length(NULL), length(12345), length(1.5), length(x'000102'), length('😀')",
    "SELECT lower('ABC'), upper('abc'), lower('É'), upper('é'), lower(12), upper(NULL), lower('MiXeD 1'), upper('straße')",
    "SELECT substr('hello', 2), substr('hello', 2, 3), substr('hello', -3), substr('hello', -3, 2), substr('hello', 0), substr('hello', 0, 2)",
    "SELECT substr('hello', 3, -2), substr('hello', -1, -2), substr('hello', 10), substr('hello', 2, 100), substr('hello', -10, 7), substr('hello', 1, 0)",
    "SELECT substr('日本語', 2, 1), substr(x'010203', 2), substr(x'010203', -2, 1), substr(12345, 2, 2), substr(NULL, 1), substr('abc', NULL), substr('a', 1, NULL)",
    "SELECT coalesce(NULL, NULL, 3, 4), coalesce(NULL, NULL), coalesce(1, 2), ifnull(NULL, 'x'), ifnull(1, 'x'), nullif(1, 1), nullif(1, 2), nullif(NULL, 1)",
    "SELECT round(2.5), round(-2.5), round(2.4), round(1.25, 1), round(2.625, 2), round(5), round(NULL), round(1.5, NULL), round('3.7'), round(1234.5, -1)",
    "SELECT typeof(1), typeof(1.0), typeof('a'), typeof(x'00'), typeof(NULL), typeof(1 + 1.0), typeof('1' + 1), typeof(1 || 1), typeof(1 = 1), typeof(9223372036854775808)",
    "SELECT min(3, 1, 2), max(3, 1, 2), min(1, 'a'), max(1, 'a', x'00'), min(1, NULL), max(NULL, 1), min('b', 'a'), max('a', 'B'), min(1, 1.0), max(2.5, 2)",
    "SELECT hex('abc'), hex(x'00ff'), hex(12), hex(NULL), hex(''), hex('é'), hex(1.5)",
    "SELECT instr('hello', 'l'), instr('hello', 'x'), instr('日本語', '語'), instr('a', ''), instr(NULL, 'a'), instr(x'010203', x'02'), instr(12345, 34)",
    "SELECT trim('  a  '), trim('xxaxx', 'x'), trim('abcba', 'ab'), trim(NULL), trim(' '), trim('\ta\t'), trim('éaé', 'é'), trim(12)",
    "SELECT round(-0.125), round(-0.4, 0), round(0.4), round(-1.5), round(0.05, 1)",
    "SELECT Abs(-1), LENGTH('x'), CoAlesce(NULL, 1), SUBSTR('abc', 2)",
    "SELECT abs(length('abc') - 10) + max(1, min(5, 3)), upper(substr('hello', 1, 1)) || substr('hello', 2)",
)
CASTS = (
    "SELECT CAST('12' AS INTEGER), CAST('12abc' AS INTEGER), CAST('abc' AS INTEGER), CAST(1.9 AS INTEGER), CAST(-1.9 AS INTEGER), CAST(' 5 ' AS INT), CAST('1e3' AS INTEGER), CAST('' AS INTEGER)",
    "SELECT CAST(1e30 AS INTEGER), CAST(-1e30 AS INTEGER), CAST('9223372036854775807' AS INTEGER), CAST('9223372036854775808' AS INTEGER), CAST('-99999999999999999999' AS INTEGER), CAST(x'3132' AS INTEGER)",
    "SELECT CAST('1.5' AS REAL), CAST(1 AS REAL), CAST('abc' AS REAL), CAST('1e2x' AS REAL), CAST(NULL AS REAL), CAST('.5' AS DOUBLE)",
    "SELECT CAST(1 AS TEXT), CAST(1.5 AS TEXT), CAST(1.0 AS VARCHAR(5)), CAST(x'616263' AS TEXT), CAST(NULL AS TEXT), CAST(1e20 AS TEXT), CAST(-0.125 AS CLOB)",
    "SELECT CAST('abc' AS BLOB), CAST(12 AS BLOB), CAST(NULL AS BLOB), CAST(1.5 AS BLOB), CAST('' AS BLOB)",
    "SELECT CAST('12' AS NUMERIC), CAST('12.0' AS NUMERIC), CAST('12.5' AS NUMERIC), CAST('abc' AS NUMERIC), CAST(1.0 AS NUMERIC), CAST('1e2' AS NUMERIC), CAST('12abc' AS DECIMAL(10,2))",
    "SELECT typeof(CAST(1 AS REAL)), typeof(CAST('1' AS TEXT)), typeof(CAST('1' AS BLOB)), typeof(CAST('x' AS INTEGER)), typeof(CAST(1 AS BOOLEAN)), typeof(CAST('5' AS CHARINT))",
)

# --- tables ---

SCAN_S = "SELECT COUNT(*) FROM s"
PAGE_QUERIES: tuple[Ask, ...] = (
    "SELECT COUNT(*), SUM(n), SUM(r), SUM(length(t)), SUM(length(b)), MIN(id), MAX(id) FROM s",
    ("SELECT id, n, r, substr(t, -20), length(b), hex(substr(b, -2)) FROM s WHERE id > 600 ORDER BY id DESC LIMIT 9",
     "SELECT COUNT(*) FROM (SELECT 1 FROM s WHERE id > 600 ORDER BY id DESC LIMIT 9)"),
    ("SELECT id, n FROM s WHERE n = 3 ORDER BY id", "SELECT COUNT(*) FROM s WHERE n = 3"),
)  # fmt: skip
PAGE_DATABASES = (
    *(f"page-{1 << shift}" for shift in range(9, 17)),
    "vacuum-full",
    "vacuum-incremental",
    "reserved",
    "freelist",
    "wal-mode",
)

SELECTS: tuple[Ask, ...] = (
    ("SELECT * FROM s ORDER BY id LIMIT 0 OFFSET 5", "SELECT 0"),
    "SELECT s.* FROM s WHERE id % 100 = 0 ORDER BY id",
    ("SELECT x.id, X.n FROM s AS x WHERE x.n < -38 ORDER BY x.id", "SELECT COUNT(*) FROM s WHERE n < -38"),
    (
        'SELECT id i, n AS "the n", r \'q\' FROM s y WHERE id > 700 AND n > 0 ORDER BY "the n" DESC, i',
        "SELECT COUNT(*) FROM s WHERE id > 700",
    ),
    "SELECT *, n + 1, * FROM s WHERE t || '' IS NULL ORDER BY id",
    ("SELECT id, t IS NULL FROM s WHERE t IS NULL ORDER BY id", "SELECT COUNT(*) FROM s WHERE t IS NULL"),
    'SELECT "id", [n], `r` FROM "s" WHERE "id" = 30 OR [n] = 56 ORDER BY 1',
    "SELECT rowid, _rowid_, oid, id, s.rowid FROM s WHERE r = 2.5",
    ("select ID, N from S where Id < 20 order by iD", "SELECT COUNT(*) FROM s WHERE id < 20"),
    "SELECT id FROM s WHERE n ORDER BY n, id DESC LIMIT 5",
    "SELECT id FROM s WHERE n + NULL",
    ("SELECT 'k', 1 + 1 FROM s WHERE id < 10", "SELECT COUNT(*) FROM s WHERE id < 10"),
    "SELECT n % 5 AS m, id FROM s ORDER BY m DESC, 2 LIMIT 12",
    "SELECT id, n FROM s ORDER BY n * n, id LIMIT 7",
    "SELECT id, r FROM s ORDER BY -r LIMIT 3",
    "SELECT id, t FROM s ORDER BY t DESC NULLS FIRST, id LIMIT 25",
    "SELECT id, t FROM s ORDER BY t ASC NULLS LAST, id DESC LIMIT 3 OFFSET 215",
    "SELECT n, id FROM s ORDER BY n COLLATE NOCASE DESC, id LIMIT 2, 3",
    "SELECT length(t), id FROM s ORDER BY length(t) DESC, id LIMIT 4",
    "SELECT id FROM s ORDER BY id % 2, id % 3, id DESC LIMIT 10 OFFSET 3",
    ("SELECT id, b FROM s LIMIT 3", "SELECT 3"),
    ("SELECT id, b FROM s LIMIT 3 OFFSET 2", "SELECT 5"),
    ("SELECT id, t, b FROM s LIMIT 2, 3", "SELECT 5"),
    ("SELECT id, b FROM s ORDER BY rowid DESC LIMIT 4", "SELECT 4"),
    (
        "SELECT id, b FROM s WHERE n % 2 = 0 ORDER BY id LIMIT 4",
        "SELECT COUNT(*) FROM s WHERE id <= (SELECT id FROM s WHERE n % 2 = 0 ORDER BY id LIMIT 1 OFFSET 3)",
    ),
    ("SELECT t FROM s ORDER BY id LIMIT 0", "SELECT 0"),
    "SELECT id FROM s WHERE n % 7 = 3 ORDER BY n, id LIMIT -1",
    "SELECT id FROM s WHERE n % 7 = 3 ORDER BY n DESC, id LIMIT 2",
    "SELECT id FROM s WHERE id IS NOT 3 AND id % 240 = 3",
    "SELECT id FROM s WHERE b = x'' OR b < x'0101' ORDER BY id",
    "SELECT id, n FROM s WHERE n IN (1, 4, 9) AND t LIKE 'text%' OR id = 3 ORDER BY n, id",
    "SELECT id FROM s WHERE n + r > 50 ORDER BY id",
    "SELECT id FROM s WHERE r BETWEEN 1 AND 2 AND NOT n > 0 ORDER BY id",
    "SELECT CASE WHEN n < 0 THEN 'neg' WHEN n = 0 THEN 'zero' ELSE 'pos' END AS sign, id FROM s ORDER BY sign, id LIMIT 5",
    "SELECT id || ':' || n || ':' || r FROM s WHERE id < 12 OR id > 715 ORDER BY id",
    "SELECT id FROM s WHERE t LIKE '%lorem lorem lorem%' ORDER BY id DESC",
    "SELECT id FROM s WHERE t NOT LIKE 'TEXT%' ORDER BY id",
    "SELECT id FROM s WHERE length(t) > 1000 ORDER BY id",
)
DISTINCTS: tuple[Ask, ...] = (
    "SELECT DISTINCT n % 4 FROM s ORDER BY 1",
    "SELECT DISTINCT n % 3, id % 2 FROM s ORDER BY 1 DESC, 2",
    "SELECT DISTINCT typeof(t), typeof(b) FROM s ORDER BY 1, 2",
    "SELECT DISTINCT NULL FROM s",
    (
        "SELECT DISTINCT id % 5 AS k FROM s WHERE id < 60 ORDER BY k LIMIT 2 OFFSET 1",
        "SELECT COUNT(*) FROM s WHERE id < 60",
    ),
    ("SELECT DISTINCT b IS NULL, id % 5 FROM s LIMIT 3", "SELECT 3"),
    "SELECT DISTINCT id > 0 FROM s",
    "SELECT DISTINCT COUNT(*) FROM s GROUP BY n % 3 ORDER BY 1",
)
AGGREGATES: tuple[Ask, ...] = (
    "SELECT COUNT(*), COUNT(k), COUNT(i), COUNT(nul), COUNT(1), COUNT(NULL) FROM g",
    "SELECT SUM(i), TOTAL(i), AVG(i), MIN(i), MAX(i) FROM g",
    "SELECT SUM(mix), TOTAL(mix), AVG(mix), COUNT(mix) FROM g",
    "SELECT SUM(txt), TOTAL(txt), AVG(txt), MIN(txt), MAX(txt) FROM g",
    "SELECT SUM(nul), TOTAL(nul), AVG(nul), MIN(nul), MAX(nul) FROM g",
    "SELECT MIN(mix), MAX(mix), typeof(MIN(mix)), typeof(MAX(mix)) FROM g",
    "SELECT COUNT(DISTINCT k), COUNT(DISTINCT i % 7), COUNT(DISTINCT mix), COUNT(DISTINCT nul), COUNT(DISTINCT typeof(mix)) FROM g",
    "SELECT SUM(i) + COUNT(*) * 2, -SUM(i), SUM(i) / COUNT(*), 'x' || MAX(k) FROM g WHERE i < 11",
    "SELECT SUM(i * 2), SUM(i + neg), MAX(i % 10), AVG(i / 4.0), COUNT(CASE WHEN i > 30 THEN 1 END) FROM g",
    "SELECT SUM(big) FROM g WHERE id <> 1",
    "SELECT COUNT(*), SUM(i), TOTAL(i), AVG(i), MAX(k) FROM g WHERE i > 1000",
    "SELECT COUNT(*) FROM g WHERE i > 1000 GROUP BY k",
    "SELECT k, COUNT(*) FROM g GROUP BY k",
    "SELECT k, COUNT(*), SUM(i), AVG(i), MIN(neg), MAX(txt) FROM g GROUP BY k ORDER BY k DESC",
    "SELECT i % 4 AS q, k, COUNT(*) FROM g GROUP BY q, k ORDER BY q, k",
    "SELECT i % 4, COUNT(*) AS n FROM g GROUP BY 1 ORDER BY n DESC, 1",
    "SELECT k, COUNT(*) FROM g GROUP BY k HAVING COUNT(*) > 18 ORDER BY 1",
    "SELECT k FROM g GROUP BY k HAVING MAX(i) > 59 OR k IS NULL ORDER BY MAX(i)",
    "SELECT COUNT(*) FROM g HAVING COUNT(*) > 100",
    "SELECT COUNT(*) FROM g HAVING COUNT(*) < 100",
    "SELECT typeof(mix), COUNT(*), SUM(mix) FROM g GROUP BY typeof(mix) ORDER BY 1",
    "SELECT length(k), k || '!', COUNT(*) FROM g GROUP BY k ORDER BY k NULLS LAST",
    "SELECT i / 20, MIN(i), MAX(i) FROM g GROUP BY i / 20 ORDER BY 1 LIMIT 2 OFFSET 1",
    "SELECT 'all', COUNT(*) FROM g GROUP BY 'all'",
    "SELECT upper(k) AS u, SUM(i) FROM g WHERE i % 2 GROUP BY u ORDER BY SUM(i) DESC, u",
    "SELECT k, SUM(i) FILTERED FROM g GROUP BY k ORDER BY FILTERED",
    "SELECT MAX(i, neg), MIN(i, 5) FROM g WHERE id = 7 OR i = 3 ORDER BY 1",
    "SELECT ABS(SUM(neg)), ROUND(AVG(i), 2), COALESCE(SUM(nul), 0) FROM g",
    "SELECT CASE WHEN COUNT(*) > 50 THEN 'many' ELSE 'few' END FROM g",
    "SELECT COUNT(*), COUNT(*) FROM g GROUP BY k IS NULL ORDER BY 1",
    "SELECT count( DISTINCT k ), count ( * ), Max(i) FROM g",
    "SELECT k, i % 2 FROM g GROUP BY k, i % 2 ORDER BY 1, 2 DESC",
    "SELECT SUM(i) FROM g GROUP BY k ORDER BY COUNT(*), SUM(i)",
    "SELECT SUM(1.5), SUM(TRUE), AVG('3'), TOTAL('x'), SUM('x') FROM g",
)
SEEKS: tuple[Ask, ...] = (
    ("SELECT * FROM p WHERE id = 500", "SELECT 1"),
    ("SELECT * FROM p WHERE 500 = id", "SELECT 1"),
    ("SELECT id FROM p WHERE rowid = '17'", "SELECT 1"),
    ("SELECT id FROM p WHERE id = 17.0", "SELECT 1"),
    ("SELECT id FROM p WHERE id = 17.5", "SELECT 0"),
    ("SELECT id FROM p WHERE id = 5000", "SELECT 0"),
    ("SELECT id FROM p WHERE id = 'abc'", "SELECT 0"),
    ("SELECT id, a FROM p WHERE id = 500 AND a = 1", "SELECT 1"),
    ("SELECT id, a FROM p WHERE id IN (900, 3, 3, 5000, 77, -1) ORDER BY id", "SELECT 3"),
    ("SELECT id, a FROM p WHERE id IN (10, 20, 30) ORDER BY id DESC", "SELECT 3"),
    ("SELECT COUNT(*), MIN(d) FROM p WHERE id > 990", "SELECT 10"),
    ("SELECT id FROM p WHERE id >= 10 AND id < 15 ORDER BY id", "SELECT 5"),
    ("SELECT id FROM p WHERE id BETWEEN 10 AND 14 AND c <> 'c0012' ORDER BY id DESC", "SELECT 5"),
    ("SELECT id, c FROM p WHERE id > 10 ORDER BY id LIMIT 2", "SELECT 2"),
    ("SELECT id, c FROM p WHERE id < 10 ORDER BY id DESC LIMIT 2", "SELECT 2"),
    ("SELECT id, c FROM p WHERE id > 9.5 AND id <= 12.5 ORDER BY id", "SELECT 3"),
    ("SELECT id FROM p WHERE id > 20 AND id < 10", "SELECT 0"),
    ("SELECT id, c FROM p WHERE c = 'c0777'", "SELECT 1"),
    ("SELECT id, c FROM p WHERE c = 'missing'", "SELECT 0"),
    ("SELECT id, d FROM p WHERE c IN ('c0001', 'c0003', 'nope', 'c0002') ORDER BY id", "SELECT 3"),
    ("SELECT COUNT(*), SUM(id) FROM p WHERE a = 3", "SELECT 100"),
    ("SELECT SUM(id), MAX(e) FROM p WHERE a = 3 AND b = 2", "SELECT COUNT(*) FROM p WHERE a = 3 AND b = 2"),
    ("SELECT SUM(id), MAX(e) FROM p WHERE a = 3 AND b > 2", "SELECT COUNT(*) FROM p WHERE a = 3 AND b > 2"),
    (
        "SELECT id, b FROM p WHERE a = 3 AND b >= 2 AND b <= 3 AND e = 'e1' ORDER BY b, id",
        "SELECT COUNT(*) FROM p WHERE a = 3 AND b BETWEEN 2 AND 3",
    ),
    ("SELECT id, b, d FROM p WHERE a = 3 AND b > 0 ORDER BY b LIMIT 5", "SELECT 5"),
    ("SELECT COUNT(*), SUM(id), MIN(c) FROM p WHERE a IN (2, 4)", "SELECT 200"),
    ("SELECT COUNT(*), MIN(c) FROM p WHERE a = '3'", "SELECT 100"),
    ("SELECT COUNT(*), MIN(c) FROM p WHERE a = 3.0", "SELECT 100"),
    ("SELECT COUNT(*), MIN(c) FROM p WHERE a = 'x'", "SELECT 0"),
    ("SELECT COUNT(*), MIN(c), SUM(b) FROM p WHERE a > 7", "SELECT 200"),
    ("SELECT COUNT(*), MIN(c), SUM(b) FROM p WHERE d > 9.5", "SELECT COUNT(*) FROM p WHERE d > 9.5"),
    (
        "SELECT COUNT(*), MIN(c), SUM(b) FROM p WHERE d >= 1 AND d < 1.5",
        "SELECT COUNT(*) FROM p WHERE d >= 1 AND d < 1.5",
    ),
    ("SELECT id, c FROM p WHERE d = 2.5 ORDER BY id", "SELECT COUNT(*) FROM p WHERE d = 2.5"),
    ("SELECT COUNT(*), MIN(c) FROM p WHERE e = 'E1' COLLATE NOCASE", "SELECT COUNT(*) FROM p WHERE e = 'e1'"),
    ("SELECT COUNT(*), MIN(c) FROM p WHERE e = 'e1'", "SELECT COUNT(*) FROM p"),
    ("SELECT COUNT(*), MIN(c) FROM p WHERE +a = 3", "SELECT COUNT(*) FROM p"),
    ("SELECT COUNT(*), MIN(c) FROM p WHERE a = 3 OR b = 2", "SELECT COUNT(*) FROM p"),
    ("SELECT COUNT(*), MIN(c) FROM p WHERE b = 2", "SELECT COUNT(*) FROM p"),
    ("SELECT COUNT(*), MIN(c) FROM p WHERE a = b", "SELECT COUNT(*) FROM p"),
    ("SELECT a, COUNT(*) FROM p GROUP BY a", "SELECT COUNT(*) FROM p"),
    ("SELECT COUNT(*) FROM p", "SELECT COUNT(*) FROM p"),
    ("SELECT a, b FROM p WHERE a = 3 AND b = 6 AND d < 2", "SELECT COUNT(*) FROM p WHERE a = 3 AND b = 6"),
    ("SELECT k, l, v FROM pw WHERE k = 'k3' ORDER BY l", "SELECT COUNT(*) FROM pw WHERE k = 'k3'"),
    ("SELECT v FROM pw WHERE k = 'k3' AND l = 23", "SELECT 1"),
    (
        "SELECT v FROM pw WHERE k = 'k3' AND l > 300 ORDER BY l DESC",
        "SELECT COUNT(*) FROM pw WHERE k = 'k3' AND l > 300",
    ),
    ("SELECT SUM(l) FROM pw WHERE v = 4", "SELECT COUNT(*) FROM pw WHERE v = 4"),
    ("SELECT k, l FROM pw WHERE k >= 'k8' ORDER BY k, l LIMIT 3", "SELECT 3"),
)
WITHOUT_ROWID: tuple[Ask, ...] = (
    ("SELECT * FROM w1 ORDER BY k", "SELECT COUNT(*) FROM w1"),
    ("SELECT v FROM w1 WHERE k = 96", "SELECT COUNT(*) FROM w1 WHERE k = 96"),
    ("SELECT k, v FROM w1 WHERE k > 1900 ORDER BY k DESC", "SELECT COUNT(*) FROM w1 WHERE k > 1900"),
    ("SELECT SUM(k), COUNT(v) FROM w1", "SELECT COUNT(*) FROM w1"),
    ("SELECT * FROM w2 ORDER BY b, a LIMIT 10", "SELECT 10"),
    ("SELECT * FROM w2 WHERE b = 3 AND a = 'key-7'", "SELECT 1"),
    (
        "SELECT a, r FROM w2 WHERE b = 3 AND a > 'key-40' ORDER BY a",
        "SELECT COUNT(*) FROM w2 WHERE b = 3 AND a > 'key-40'",
    ),
    ("SELECT a, b, v, r FROM w2 WHERE v = 'v7' ORDER BY b, a", "SELECT COUNT(*) FROM w2 WHERE v = 'v7'"),
    ("SELECT COUNT(*), SUM(r) FROM w2 WHERE r > 10", "SELECT COUNT(*) FROM w2"),
    ("SELECT a, b, length(c) FROM w3 ORDER BY a DESC, b LIMIT 12", "SELECT 12"),
    ("SELECT a, b FROM w3 WHERE a = 4 AND b = 'NAME14'", "SELECT 1"),
    ("SELECT b FROM w3 WHERE a > 7 ORDER BY a, b", "SELECT COUNT(*) FROM w3 WHERE a > 7"),
    ("SELECT SUM(length(c)) FROM w3", "SELECT COUNT(*) FROM w3"),
    ("SELECT length(k), v FROM w4 WHERE v % 10 = 9 ORDER BY k", "SELECT COUNT(*) FROM w4"),
    ("SELECT v FROM w4 WHERE k > x'38' ORDER BY v", "SELECT COUNT(*) FROM w4 WHERE k > x'38'"),
)
ADDED: tuple[Ask, ...] = (
    "SELECT * FROM a ORDER BY id",
    "SELECT typeof(i), typeof(r), typeof(t), typeof(n), typeof(m), typeof(q), typeof(b), typeof(f), typeof(e), typeof(z), typeof(p), typeof(y) FROM a WHERE x = 'old 3'",
    "SELECT COUNT(*), SUM(i), SUM(r), MAX(t) FROM a WHERE r = 5 AND t = 'it''s'",
    ("SELECT COUNT(*), MIN(x) FROM a WHERE i = 42", "SELECT COUNT(*) FROM a WHERE i = 42"),
    ("SELECT id, n FROM a WHERE n = 7 AND y = '' ORDER BY id LIMIT 3", "SELECT 3"),
)
SERIALS: tuple[Ask, ...] = (
    ("SELECT id, x, typeof(x) FROM v ORDER BY id", "SELECT COUNT(*) FROM v"),
    ("SELECT id, x, typeof(x) FROM r ORDER BY id", "SELECT COUNT(*) FROM r"),
    ("SELECT id, x FROM v ORDER BY x, id", "SELECT COUNT(*) FROM v"),
    ("SELECT id, x FROM v ORDER BY x DESC, id LIMIT 20", "SELECT COUNT(*) FROM v"),
    (
        "SELECT id FROM v WHERE x > 9223372036854775806 ORDER BY id",
        "SELECT COUNT(*) FROM v WHERE x > 9223372036854775806",
    ),
    (
        "SELECT id FROM v WHERE x = 9007199254740993.0 ORDER BY id",
        "SELECT COUNT(*) FROM v WHERE x = 9007199254740993.0",
    ),
    (
        "SELECT id, x FROM v WHERE x BETWEEN -129 AND 129 ORDER BY id",
        "SELECT COUNT(*) FROM v WHERE x BETWEEN -129 AND 129",
    ),
    ("SELECT id FROM v WHERE x >= '' AND x < 'u' ORDER BY id", "SELECT COUNT(*) FROM v WHERE x >= '' AND x < 'u'"),
    ("SELECT id, hex(x) FROM v WHERE x >= x'' ORDER BY id", "SELECT COUNT(*) FROM v WHERE x >= x''"),
    ("SELECT * FROM big ORDER BY id", "SELECT COUNT(*) FROM big"),
    ("SELECT x FROM big WHERE id = -9223372036854775808", "SELECT 1"),
    ("SELECT x FROM big WHERE id > 9223372036854775806", "SELECT 1"),
    ("SELECT id FROM big WHERE id < 1e18 ORDER BY id DESC", "SELECT 3"),
    ("SELECT c0, c63, c64, c127, c128, c199 FROM wide", "SELECT 1"),
    ("SELECT * FROM wide", "SELECT 1"),
    ("SELECT c150 + c151 FROM wide WHERE c199 = 597", "SELECT 1"),
)
COLLATIONS: tuple[Ask, ...] = (
    "SELECT id, b FROM c ORDER BY b, id",
    "SELECT id, n FROM c ORDER BY n, id",
    "SELECT id, r FROM c ORDER BY r, id",
    "SELECT id, b FROM c ORDER BY b COLLATE NOCASE DESC, id",
    "SELECT id FROM c WHERE b = 'ABC' ORDER BY id",
    ("SELECT id FROM c WHERE n = 'ABC' ORDER BY id", "SELECT COUNT(*) FROM c WHERE n = 'ABC'"),
    ("SELECT id FROM c WHERE 'aBc' = n ORDER BY id", "SELECT COUNT(*) FROM c WHERE n = 'ABC'"),
    "SELECT id FROM c WHERE n = 'ABC' COLLATE BINARY ORDER BY id",
    ("SELECT id FROM c WHERE r = 'abc' ORDER BY id", "SELECT COUNT(*) FROM c WHERE r = 'abc'"),
    (
        "SELECT id FROM c WHERE b = 'ab' COLLATE NOCASE ORDER BY id",
        "SELECT COUNT(*) FROM c WHERE b = 'ab' COLLATE NOCASE",
    ),
    ("SELECT id FROM c WHERE n IN ('A', 'z') ORDER BY id", "SELECT COUNT(*) FROM c WHERE n IN ('A', 'z')"),
    ("SELECT id FROM c WHERE n > 'Y' ORDER BY id", "SELECT COUNT(*) FROM c WHERE n > 'Y'"),
    (
        "SELECT id FROM c WHERE n BETWEEN 'AA' AND 'b' ORDER BY id",
        "SELECT COUNT(*) FROM c WHERE n BETWEEN 'AA' AND 'b'",
    ),
    "SELECT lower(n), COUNT(*) FROM c GROUP BY n ORDER BY n",
    "SELECT COUNT(DISTINCT b), COUNT(DISTINCT n), COUNT(DISTINCT r), COUNT(DISTINCT b COLLATE NOCASE) FROM c",
    "SELECT COUNT(*) FROM c GROUP BY r ORDER BY 1",
    "SELECT id FROM c WHERE b = n AND n = r ORDER BY id",
    "SELECT id FROM c WHERE b > n ORDER BY id",
    "SELECT id FROM c WHERE n LIKE 'AB%' ORDER BY id",
    "SELECT n || '', id FROM c WHERE n || '' = 'ABC' ORDER BY id",
)
UNICODE: tuple[Ask, ...] = (
    ('SELECT * FROM "täble ☃" ORDER BY id', 'SELECT COUNT(*) FROM "täble ☃"'),
    ('SELECT id, "cölumn" FROM "täble ☃" ORDER BY "cölumn"', 'SELECT COUNT(*) FROM "täble ☃"'),
    ('SELECT length("cölumn"), hex("cölumn") FROM "täble ☃" ORDER BY id', 'SELECT COUNT(*) FROM "täble ☃"'),
    ('SELECT id FROM "täble ☃" WHERE "cölumn" LIKE \'%本%\'', 'SELECT COUNT(*) FROM "täble ☃"'),
    ("SELECT * FROM bad ORDER BY id", "SELECT COUNT(*) FROM bad"),
    ("SELECT id, hex(t) FROM bad ORDER BY t", "SELECT COUNT(*) FROM bad"),
)
DESCENDING: tuple[Ask, ...] = (
    ("SELECT id FROM d WHERE a = 5 ORDER BY id", "SELECT COUNT(*) FROM d WHERE a = 5"),
    ("SELECT id, a, b FROM d WHERE a > 9 ORDER BY a, id", "SELECT COUNT(*) FROM d WHERE a > 9"),
    ("SELECT id, a, b FROM d WHERE a >= 10 AND a < 11 ORDER BY id DESC", "SELECT COUNT(*) FROM d WHERE a = 10"),
    ("SELECT id, a, b FROM d WHERE a <= 1 ORDER BY id", "SELECT COUNT(*) FROM d WHERE a <= 1"),
    ("SELECT COUNT(*), MIN(b), SUM(id) FROM d WHERE a < 3", "SELECT COUNT(*) FROM d WHERE a < 3"),
    (
        "SELECT id, c FROM d WHERE b = 'b2' AND c > 4.5 ORDER BY c, id",
        "SELECT COUNT(*) FROM d WHERE b = 'b2' AND c > 4.5",
    ),
    (
        "SELECT id, c FROM d WHERE b = 'b2' AND c <= 0.5 ORDER BY c DESC, id",
        "SELECT COUNT(*) FROM d WHERE b = 'b2' AND c <= 0.5",
    ),
    ("SELECT b, c FROM d WHERE b = 'b1' ORDER BY c DESC LIMIT 3", "SELECT 3"),
    ("SELECT b, c FROM d WHERE b = 'b1' ORDER BY c LIMIT 3", "SELECT 3"),
    ("SELECT a FROM d ORDER BY a DESC LIMIT 40", "SELECT 40"),
    ("SELECT a FROM d ORDER BY a LIMIT 40", "SELECT 40"),
    ("SELECT a, id FROM d WHERE a IN (1, 11) ORDER BY a, id", "SELECT COUNT(*) FROM d WHERE a IN (1, 11)"),
)
AFFINITY_CONSTANTS = ("10", "'10'", "10.0", "2.5", "'2.5'", "'abc'", "x'3130'", "''", "'1e1'")
SCHEMAS: tuple[Ask, ...] = (
    ('SELECT * FROM "select" ORDER BY 1', "SELECT 2"),
    ('SELECT "group by", [order], `limit`, quoted FROM [select] WHERE "from" = 1', "SELECT 1"),
    ("SELECT * FROM commented ORDER BY id", "SELECT 2"),
    ("SELECT typeof(d), typeof(e), typeof(f), typeof(g), typeof(h) FROM commented ORDER BY id", "SELECT 2"),
    ("SELECT id FROM commented WHERE c = 'c2'", "SELECT 1"),
    ("SELECT * FROM strict1 ORDER BY id", "SELECT 2"),
    ("SELECT typeof(i), typeof(r), typeof(a) FROM strict1 ORDER BY id", "SELECT 2"),
    ("SELECT rowid, id, a FROM pk_int WHERE id = 3", "SELECT 1"),
    ("SELECT rowid, a FROM pk_table WHERE id = 8", "SELECT 1"),
    ("SELECT id, rowid FROM pk_desc ORDER BY id", "SELECT 2"),
    ("SELECT rowid, _rowid_, oid FROM named_rowid ORDER BY oid", "SELECT 2"),
    ("SELECT * FROM copied", "SELECT 2"),
    ('SELECT cola, colb, "COL C" FROM MIXED_CASE', "SELECT 1"),
)
MANY_TABLES: tuple[Ask, ...] = (
    ("SELECT * FROM many_0", "SELECT 1"),
    ("SELECT * FROM many_119", "SELECT 1"),
    ("SELECT id, value_60 FROM many_60 WHERE value_60 = 'd60'", "SELECT 1"),
)
EMPTY: tuple[Ask, ...] = (
    "SELECT * FROM e",
    "SELECT COUNT(*), SUM(b), TOTAL(b), AVG(b), MIN(a), MAX(a), COUNT(DISTINCT a) FROM e",
    "SELECT a, COUNT(*) FROM e GROUP BY a",
    "SELECT DISTINCT a FROM e ORDER BY a",
    "SELECT a FROM e WHERE a > 'x' ORDER BY b LIMIT 5",
    "SELECT a FROM e WHERE id = 1",
    "SELECT k, v FROM ew WHERE k = 'a'",
    "SELECT COUNT(*) FROM ew",
    "SELECT COUNT(*) FROM e HAVING COUNT(*) > 0",
)
OVERFLOW: tuple[Ask, ...] = (
    ("SELECT id, length(a), substr(a, 1, 8), substr(a, -4), z FROM o ORDER BY id", "SELECT COUNT(*) FROM o"),
    ("SELECT a FROM o WHERE id = 40", "SELECT 1"),
    ("SELECT SUM(z), SUM(length(a)) FROM o WHERE a > 'b'", "SELECT COUNT(*) FROM o WHERE a > 'b'"),
    ("SELECT z, length(k) FROM ok ORDER BY k", "SELECT COUNT(*) FROM ok"),
    (
        "SELECT z FROM ok WHERE k >= '030' AND k < '034' ORDER BY z",
        "SELECT COUNT(*) FROM ok WHERE k >= '030' AND k < '034'",
    ),
    ("SELECT id FROM o WHERE a LIKE '%--' ORDER BY id", "SELECT COUNT(*) FROM o"),
)
MEGABYTE: tuple[Ask, ...] = (
    ("SELECT id, head, length(body), tail FROM m ORDER BY id", "SELECT 2"),
    ("SELECT tail FROM m ORDER BY id DESC", "SELECT 2"),
    ("SELECT hex(substr(body, 1048570)) FROM m WHERE id = 1", "SELECT 1"),
)
DEEP: tuple[Ask, ...] = (
    ("SELECT COUNT(*), SUM(id), MIN(k), MAX(k) FROM h WHERE id >= 0", "SELECT COUNT(*) FROM h"),
    ("SELECT id FROM h WHERE k > '02990' ORDER BY k", "SELECT COUNT(*) FROM h WHERE k > '02990'"),
    ("SELECT k FROM h ORDER BY k DESC LIMIT 5", "SELECT 5"),
    ("SELECT k FROM h WHERE k < '00005' ORDER BY k", "SELECT COUNT(*) FROM h WHERE k < '00005'"),
    ("SELECT COUNT(*) FROM h", "SELECT COUNT(*) FROM h"),
    ("SELECT substr(k, 1, 5) FROM h WHERE id = 2998", "SELECT 1"),
    ("SELECT id FROM h WHERE id > 5990 ORDER BY id", "SELECT COUNT(*) FROM h WHERE id > 5990"),
    (
        "SELECT SUM(id) FROM h WHERE k >= '01000' AND k < '01100'",
        "SELECT COUNT(*) FROM h WHERE k >= '01000' AND k < '01100'",
    ),
)
CSV: tuple[Ask, ...] = (
    ("SELECT id, n, r FROM s WHERE id < 30 ORDER BY id", "SELECT COUNT(*) FROM s WHERE id < 30"),
    "SELECT id AS \"an, id\", n + 1, t AS t2, 'a,b', '', NULL, x'00ff', 'q\"q', 'l\nl' FROM s WHERE id % 99 = 0 ORDER BY id",
    "SELECT COUNT(*), SUM(r) AS total, max( n ) FROM s",
    "SELECT * FROM s WHERE id = 9 OR id = 6 ORDER BY id",
    "SELECT s.id, rowid, N, n||'x' FROM s WHERE id % 240 = 0 ORDER BY id",
    "SELECT NULL FROM s WHERE id = 3 OR n = 56",
    ("SELECT id FROM s WHERE n > 1000", "SELECT 0"),
)
EXPLAINS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("SELECT * FROM p", ("SCAN p",)),
    ("SELECT COUNT(*) FROM p", ("SCAN p USING COVERING INDEX p_a",)),
    ("SELECT c FROM p", ("SCAN p USING COVERING INDEX p_c",)),
    ("SELECT a, b FROM p", ("SCAN p USING COVERING INDEX p_ab",)),
    ("SELECT * FROM p WHERE id = 5", ("SEARCH p USING INTEGER PRIMARY KEY (rowid=?)",)),
    ("SELECT * FROM p WHERE rowid IN (1, 2)", ("SEARCH p USING INTEGER PRIMARY KEY (rowid=?)",)),
    ("SELECT * FROM p WHERE id > 5", ("SEARCH p USING INTEGER PRIMARY KEY (rowid>?)",)),
    ("SELECT * FROM p WHERE id <= 5", ("SEARCH p USING INTEGER PRIMARY KEY (rowid<?)",)),
    ("SELECT * FROM p WHERE id BETWEEN 1 AND 5", ("SEARCH p USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",)),
    ("SELECT * FROM p WHERE a = 1", ("SEARCH p USING INDEX p_a (a=?)",)),
    ("SELECT a FROM p WHERE a = 1", ("SEARCH p USING COVERING INDEX p_a (a=?)",)),
    ("SELECT * FROM p WHERE a = 1 AND b = 2", ("SEARCH p USING INDEX p_ab (a=? AND b=?)",)),
    ("SELECT * FROM p WHERE b = 2 AND a = 1", ("SEARCH p USING INDEX p_ab (a=? AND b=?)",)),
    ("SELECT id, b FROM p WHERE a = 1 AND b > 2", ("SEARCH p USING COVERING INDEX p_ab (a=? AND b>?)",)),
    ("SELECT * FROM p WHERE a = 1 AND b > 2 AND b <= 4", ("SEARCH p USING INDEX p_ab (a=? AND b>? AND b<?)",)),
    ("SELECT * FROM p WHERE a IN (1, 2)", ("SEARCH p USING INDEX p_a (a=?)",)),
    ("SELECT * FROM p WHERE a IS 3", ("SEARCH p USING INDEX p_a (a=?)",)),
    ("SELECT * FROM p WHERE a IS NULL", ("SEARCH p USING INDEX p_a (a=?)",)),
    ("SELECT * FROM p WHERE a > 1", ("SEARCH p USING INDEX p_a (a>?)",)),
    ("SELECT * FROM p WHERE 5 > a", ("SEARCH p USING INDEX p_a (a<?)",)),
    ("SELECT * FROM p WHERE c = 'x' AND a = 1", ("SEARCH p USING INDEX p_c (c=?)",)),
    ("SELECT * FROM p WHERE id = 5 AND a = 1", ("SEARCH p USING INTEGER PRIMARY KEY (rowid=?)",)),
    ("SELECT * FROM p WHERE id > 5 AND a = 1", ("SEARCH p USING INDEX p_a (a=?)",)),
    ("SELECT * FROM p WHERE id > 5 AND a > 1", ("SEARCH p USING INTEGER PRIMARY KEY (rowid>?)",)),
    ("SELECT * FROM p WHERE d > 1.5", ("SEARCH p USING INDEX p_d (d>?)",)),
    ("SELECT * FROM p WHERE d = 1.5 AND b = 2", ("SEARCH p USING INDEX p_dba (d=? AND b=?)",)),
    ("SELECT * FROM p WHERE e = 'x' COLLATE NOCASE", ("SEARCH p USING INDEX p_nocase (e=?)",)),
    ("SELECT * FROM p WHERE e = 'x'", ("SCAN p",)),
    ("SELECT * FROM p WHERE b = 7", ("SCAN p",)),
    ("SELECT * FROM p WHERE a + b = 3", ("SCAN p",)),
    ("SELECT * FROM p WHERE a = 1 OR b = 2", ("SCAN p",)),
    ("SELECT * FROM p WHERE a = b", ("SCAN p",)),
    ("SELECT * FROM p WHERE c LIKE 'x%'", ("SCAN p",)),
    ("SELECT * FROM p ORDER BY id DESC", ("SCAN p",)),
    ("SELECT * FROM p ORDER BY b", ("SCAN p", "USE TEMP B-TREE FOR ORDER BY")),
    ("SELECT * FROM p WHERE id > 3 ORDER BY id", ("SEARCH p USING INTEGER PRIMARY KEY (rowid>?)",)),
    ("SELECT * FROM p WHERE a = 1 AND b > 2 ORDER BY b", ("SEARCH p USING INDEX p_ab (a=? AND b>?)",)),
    ("SELECT * FROM p WHERE a = 1 AND b > 2 ORDER BY b DESC", ("SEARCH p USING INDEX p_ab (a=? AND b>?)",)),
    ("SELECT * FROM p WHERE a = 1 ORDER BY c", ("SEARCH p USING INDEX p_a (a=?)", "USE TEMP B-TREE FOR ORDER BY")),
    ("SELECT b, e, COUNT(*) FROM p GROUP BY b, e", ("SCAN p", "USE TEMP B-TREE FOR GROUP BY")),
    ("SELECT DISTINCT b, e FROM p", ("SCAN p", "USE TEMP B-TREE FOR DISTINCT")),
    (
        "SELECT b, e, COUNT(*) FROM p GROUP BY b, e ORDER BY COUNT(*)",
        ("SCAN p", "USE TEMP B-TREE FOR GROUP BY", "USE TEMP B-TREE FOR ORDER BY"),
    ),
    ("SELECT * FROM pw WHERE k = 'a'", ("SEARCH pw USING PRIMARY KEY (k=?)",)),
    ("SELECT * FROM pw WHERE k = 'a' AND l = 3", ("SEARCH pw USING PRIMARY KEY (k=? AND l=?)",)),
    ("SELECT * FROM pw WHERE k = 'a' AND l > 3", ("SEARCH pw USING PRIMARY KEY (k=? AND l>?)",)),
    ("SELECT * FROM pw WHERE v = 3", ("SEARCH pw USING COVERING INDEX pw_v (v=?)",)),
    # what the rules leave to a reading: all three lanes read it this way
    (
        "SELECT * FROM p WHERE id = 3 ORDER BY d",
        ("SEARCH p USING INTEGER PRIMARY KEY (rowid=?)", "USE TEMP B-TREE FOR ORDER BY"),
    ),
    ("SELECT * FROM p WHERE id IN (3, 4) ORDER BY id", ("SEARCH p USING INTEGER PRIMARY KEY (rowid=?)",)),
    ("SELECT * FROM p WHERE id IN (3, 4) ORDER BY id DESC", ("SEARCH p USING INTEGER PRIMARY KEY (rowid=?)",)),
    ("SELECT * FROM p WHERE a IN (3, 4) ORDER BY a", ("SEARCH p USING INDEX p_a (a=?)",)),
    ("SELECT * FROM p WHERE e IS NULL", ("SCAN p",)),
    ("SELECT * FROM p WHERE id > 3 COLLATE NOCASE", ("SEARCH p USING INTEGER PRIMARY KEY (rowid>?)",)),
    ("SELECT * FROM p WHERE a > 3 COLLATE NOCASE", ("SCAN p",)),
    ("SELECT * FROM p AS x WHERE x.a = 1", ("SEARCH x USING INDEX p_a (a=?)",)),
    (
        "SELECT a, COUNT(*) FROM p GROUP BY a ORDER BY a",
        ("SCAN p USING COVERING INDEX p_a", "USE TEMP B-TREE FOR GROUP BY"),
    ),
    ("SELECT b, e, COUNT(*) FROM p GROUP BY b, e ORDER BY b", ("SCAN p", "USE TEMP B-TREE FOR GROUP BY")),
    (
        "SELECT e, COUNT(*) FROM p GROUP BY e ORDER BY e DESC",
        ("SCAN p USING COVERING INDEX p_nocase", "USE TEMP B-TREE FOR GROUP BY", "USE TEMP B-TREE FOR ORDER BY"),
    ),
    ("SELECT DISTINCT COUNT(*) FROM p", ("SCAN p USING COVERING INDEX p_a", "USE TEMP B-TREE FOR DISTINCT")),
    ("SELECT COUNT(*) FROM p ORDER BY 1", ("SCAN p USING COVERING INDEX p_a",)),
    ("SELECT 1 FROM p ORDER BY 1", ("SCAN p USING COVERING INDEX p_a", "USE TEMP B-TREE FOR ORDER BY")),
    ("SELECT id FROM p ORDER BY id", ("SCAN p USING COVERING INDEX p_a", "USE TEMP B-TREE FOR ORDER BY")),
    ("SELECT a, id FROM p ORDER BY a DESC, id DESC", ("SCAN p USING COVERING INDEX p_a",)),
    ("SELECT a, id FROM p ORDER BY a, id DESC", ("SCAN p USING COVERING INDEX p_a", "USE TEMP B-TREE FOR ORDER BY")),
    ("SELECT * FROM p WHERE a = 3 ORDER BY a, id", ("SEARCH p USING INDEX p_a (a=?)",)),
    ("SELECT * FROM p WHERE a = 3 AND b > 1 ORDER BY b, id", ("SEARCH p USING INDEX p_ab (a=? AND b>?)",)),
    (
        "SELECT * FROM p WHERE a = 3 AND b > 1 ORDER BY b, c",
        ("SEARCH p USING INDEX p_ab (a=? AND b>?)", "USE TEMP B-TREE FOR ORDER BY"),
    ),
    ("SELECT * FROM p WHERE c = 'x' ORDER BY d", ("SEARCH p USING INDEX p_c (c=?)", "USE TEMP B-TREE FOR ORDER BY")),
    ("SELECT * FROM p ORDER BY id, b", ("SCAN p",)),
    ("SELECT * FROM p ORDER BY id, a + 1, b DESC", ("SCAN p",)),
    ("SELECT * FROM p ORDER BY id COLLATE NOCASE DESC, b", ("SCAN p",)),
    ("SELECT a FROM p ORDER BY a, a DESC, id", ("SCAN p USING COVERING INDEX p_a", "USE TEMP B-TREE FOR ORDER BY")),
    ("SELECT * FROM p WHERE (1 BETWEEN 0 AND 2) = a", ("SEARCH p USING INDEX p_a (a=?)",)),
    ("SELECT * FROM p WHERE a > CASE WHEN 1 THEN 5 END", ("SEARCH p USING INDEX p_a (a>?)",)),
    ("SELECT * FROM p ORDER BY nullif(7, 0), id", ("SCAN p", "USE TEMP B-TREE FOR ORDER BY")),
    ("SELECT * FROM p WHERE d ISNULL", ("SEARCH p USING INDEX p_d (d=?)",)),
    ("SELECT * FROM p WHERE a = NULL", ("SEARCH p USING INDEX p_a (a=?)",)),
    ("SELECT * FROM p WHERE a = 1 + abs(-2)", ("SEARCH p USING INDEX p_a (a=?)",)),
    ("SELECT * FROM p WHERE id IN (1, 2) AND id = 2", ("SEARCH p USING INTEGER PRIMARY KEY (rowid=?)",)),
    ("SELECT * FROM p WHERE a IN (1, 2) AND b = 3", ("SEARCH p USING INDEX p_ab (a=? AND b=?)",)),
    ("SELECT * FROM p WHERE a IN (1, 2) AND b IN (3, 4)", ("SEARCH p USING INDEX p_a (a=?)",)),
    ("SELECT * FROM p WHERE a IN (1, 2) AND b > 3", ("SEARCH p USING INDEX p_ab (a=? AND b>?)",)),
    ("SELECT * FROM p WHERE (a = (1) AND b = 2) AND c > 'x'", ("SEARCH p USING INDEX p_ab (a=? AND b=?)",)),
    ("SELECT * FROM p WHERE NOT (a <> 1)", ("SCAN p",)),
    ("SELECT * FROM p WHERE a IS NOT NULL", ("SCAN p",)),
    ("SELECT DISTINCT a FROM p ORDER BY a", ("SCAN p USING COVERING INDEX p_a", "USE TEMP B-TREE FOR DISTINCT")),
    ("SELECT MIN(a) FROM p", ("SCAN p USING COVERING INDEX p_a",)),
    ("SELECT a FROM p ORDER BY a NULLS LAST", ("SCAN p USING COVERING INDEX p_a", "USE TEMP B-TREE FOR ORDER BY")),
    ("SELECT a FROM p ORDER BY a COLLATE NOCASE", ("SCAN p USING COVERING INDEX p_a", "USE TEMP B-TREE FOR ORDER BY")),
    ("SELECT * FROM pw ORDER BY v, k, l", ("SCAN pw USING COVERING INDEX pw_v",)),
    ("SELECT * FROM pw WHERE v = 3 ORDER BY k", ("SEARCH pw USING COVERING INDEX pw_v (v=?)",)),
    ("SELECT * FROM pw WHERE k IN ('a', 'b') AND l = 3", ("SEARCH pw USING PRIMARY KEY (k=? AND l=?)",)),
)

# --- what must be refused ---

BAD_SQL: tuple[tuple[str, str], ...] = (
    ("SELECT * FROM nowhere", "no such table: nowhere"),
    ('SELECT * FROM "no where"', "no such table: no where"),
    ("SELECT nope FROM s", "no such column: nope"),
    ("SELECT id FROM s WHERE nope > 1", "no such column: nope"),
    ("SELECT id FROM s ORDER BY nope", "no such column: nope"),
    ("SELECT id FROM s GROUP BY nope", "no such column: nope"),
    ("SELECT x.id FROM s", "no such column: x.id"),
    ("SELECT s.nope FROM s", "no such column: s.nope"),
    ("SELECT y.* FROM s", "y"),
    ("SELECT id", "no such column: id"),
    ("SELEC id FROM s", 'near "SELEC": syntax error'),
    ("SELECT id FORM s", "syntax error"),
    ("SELECT FROM s", 'near "FROM": syntax error'),
    ("SELECT id FROM s WHERE", "error"),
    ("SELECT id FROM s WHERE id >", "error"),
    ("SELECT (1 + 2", "error"),
    ("SELECT 1 + + * 2", 'near "*": syntax error'),
    ("SELECT id FROM s LIMIT", "error"),
    ("SELECT id FROM s ORDER", "error"),
    ("SELECT 1 2", 'near "2": syntax error'),
    ("SELECT 'open", "error"),
    ('SELECT "open', "error"),
    ("SELECT x'0'", "error"),
    ("SELECT x'0g'", "error"),
    ("SELECT 12abc", "error"),
    ("SELECT 0xzz", "error"),
    ("SELECT #", "error"),
    ("SELECT 1; SELECT 2", "error"),
    ("", "error"),
    (";", "error"),
    ("-- only a comment", "error"),
    ("DELETE FROM s", "error"),
    ("INSERT INTO s VALUES(1)", "error"),
    ("PRAGMA page_size", "error"),
    ("DROP TABLE s", "error"),
    ("SELECT * FROM s JOIN s AS b ON 1", "error"),
    ("SELECT * FROM s, s AS b", "error"),
    ("SELECT (SELECT 1)", "error"),
    ("SELECT id FROM s WHERE id IN (SELECT 1)", "error"),
    ("SELECT * FROM (SELECT 1)", "error"),
    ("SELECT 1 UNION SELECT 2", "UNION"),
    ("WITH q AS (SELECT 1) SELECT * FROM q", "error"),
    ("SELECT nofunction(1)", "nofunction"),
    ("SELECT abs()", "abs"),
    ("SELECT abs(1, 2)", "abs"),
    ("SELECT length()", "length"),
    ("SELECT substr('a')", "substr"),
    ("SELECT id FROM s WHERE COUNT(*) > 1", "error"),
    ("SELECT SUM(SUM(n)) FROM s", "error"),
    ("SELECT id FROM s ORDER BY 9", "error"),
    ("SELECT id FROM s ORDER BY 0", "error"),
    ("SELECT n FROM s GROUP BY 5", "error"),
    ("SELECT id FROM s LIMIT 'abc'", "error"),
    ("SELECT 'a' LIKE 'b' ESCAPE 'xy'", "ESCAPE"),
    ("SELECT 'a' = 'b' COLLATE nowhere", "nowhere"),
    ("SELECT abs(-9223372036854775807 - 1)", "integer overflow"),
    ("SELECT *", "error"),
    ("SELECT CASE END", "error"),
    ("SELECT CASE WHEN 1 THEN 2", "error"),
    ("SELECT ?", "error"),
    ("SELECT :name", "error"),
    ("SELECT " + "(" * 1500 + "1" + ")" * 1500, "error"),
    ("SELECT 1-1-1 +" * 3, "error"),
    ("SELECT " + "NOT " * 5000 + "1", "error"),
)


def page_groups() -> list[Group]:
    """Return the same questions for every shape of file."""
    return [Group(f"file-{name}", f"{name}.db", SCAN_S, PAGE_QUERIES) for name in PAGE_DATABASES]


def affinity_group() -> Group:
    """Return comparisons of columns of every affinity with constants of every type; all are seeks."""
    bounds = [
        *(f"{column} = {constant}" for column in "irntbu" for constant in AFFINITY_CONSTANTS),
        *(f"{column} {other}" for column in "irntbu" for other in ("> 5", ">= '5'", "< 'abc'", "IN (1, '10', 2.5)")),
    ]
    asks = [(f"SELECT * FROM f WHERE {bound} ORDER BY id", f"SELECT COUNT(*) FROM f WHERE {bound}") for bound in bounds]
    return Group("affinity", "affinity.db", None, tuple(asks))


def column_pairs() -> Group:
    """Return comparisons of columns with each other: affinity is applied on both sides."""
    pairs = [(left, right) for left in "irntbu" for right in "irntbu" if left < right]
    asks = tuple(f"SELECT id, {one} < {two}, {one} = {two}, {one} > {two} FROM f ORDER BY id" for one, two in pairs)
    return Group("columns", "affinity.db", "SELECT COUNT(*) FROM f", asks)


def all_groups() -> list[Group]:
    """Return every group of checks."""
    expressions = {"literal": LITERALS, "arithmetic": ARITHMETIC, "comparison": COMPARISON, "logic": LOGIC,
                   "like": LIKES, "function": FUNCTIONS, "cast": CASTS}  # fmt: skip
    return [
        *(Group(name, "empty.db", None, asks) for name, asks in expressions.items()),
        *page_groups(),
        Group("select", "page-1024.db", SCAN_S, SELECTS),
        Group("distinct", "page-4096.db", SCAN_S, DISTINCTS),
        Group("aggregate", "sums.db", "SELECT COUNT(*) FROM g", AGGREGATES),
        Group("seek", "planner.db", None, SEEKS),
        Group("without-rowid", "without-rowid.db", None, WITHOUT_ROWID),
        Group("added-columns", "added.db", "SELECT COUNT(*) FROM a", ADDED),
        Group("serial-types", "serial.db", None, SERIALS),
        Group("nan", "nan.db", "SELECT 3", ("SELECT id, x, typeof(x), x IS NULL FROM f ORDER BY id",)),
        Group("collation", "collation.db", "SELECT COUNT(*) FROM c", COLLATIONS),
        Group("unicode", "unicode.db", None, UNICODE),
        Group("descending", "descending.db", None, DESCENDING),
        affinity_group(),
        column_pairs(),
        Group("schema", "schema.db", None, SCHEMAS),
        Group("many-tables", "many-tables.db", None, MANY_TABLES),
        Group("empty", "empty.db", None, EMPTY),
        Group("empty-wal", "empty-wal.db", None, EMPTY[:2]),
        Group("empty-journal", "empty-journal.db", None, EMPTY[:2]),
        Group("zeroed-journal", "zeroed-journal.db", SCAN_S, ("SELECT COUNT(*), SUM(r), MAX(t) FROM s",)),
        Group("zero-bytes", "zero.db", None, ("SELECT 1 + 1",)),
        Group("overflow-512", "overflow-512.db", None, OVERFLOW),
        Group("overflow-4096", "overflow-4096.db", None, OVERFLOW),
        Group("megabyte", "megabyte.db", None, MEGABYTE),
        Group("deep", "deep.db", None, DEEP),
        Group("csv", "page-1024.db", SCAN_S, CSV, form="csv"),
        Group("csv-invalid-text", "unicode.db", "SELECT COUNT(*) FROM bad", ("SELECT * FROM bad ORDER BY id",), form="csv"),
        Group("any-order", "page-1024.db", SCAN_S, ("SELECT n, t FROM s WHERE r > 3 OR t IS NULL", "SELECT DISTINCT n FROM s WHERE r > 3"), ordered=False),
    ]  # fmt: skip


def all_checks() -> list[Check]:
    """Return every check that must succeed."""
    found = [check for group in all_groups() for check in group.checks()]
    explained = [(f"EXPLAIN QUERY PLAN {query}", plan) for query, plan in EXPLAINS]
    return found + [
        Check(f"explain-{number}", "planner.db", query, plan=plan) for number, (query, plan) in enumerate(explained, 1)
    ]


def all_refusals() -> list[Refusal]:
    """Return every query that must be refused; bad files are in project.yaml."""
    found = [
        Refusal(f"bad-sql-{number}", "page-1024.db", query, text) for number, (query, text) in enumerate(BAD_SQL, 1)
    ]
    return [
        *found,
        Refusal("sum-overflow", "sums.db", "SELECT SUM(big) FROM g", "integer overflow"),
        Refusal("view", "schema.db", "SELECT * FROM seen", "seen"),
        Refusal("virtual-table", "schema.db", "SELECT * FROM found", "found"),
        Refusal("trigger", "schema.db", "SELECT * FROM fired", "no such table: fired"),
        Refusal("zero-bytes-table", "zero.db", "SELECT * FROM t", "no such table: t"),
    ]
