"""Scripts of the oracle about keys of any type; kv_cases.py says how to read them."""

SCRIPTS = r"""
[del-exists]
MSET a 1 b 2 c 3
DEL a absent b
DEL a
EXISTS a b c c absent
UNLINK c c
DBSIZE
TOUCH a b c
MSET a 1 b 2
TOUCH a b absent a

[type]
SET s v
RPUSH l v
HSET h f v
SADD t m
ZADD z 1 m
TYPE s
TYPE l
TYPE h
TYPE t
TYPE z
TYPE absent

[empty-collections-vanish]
RPUSH l a
LPOP l
EXISTS l
HSET h f v
HDEL h f
EXISTS h
SADD t m
SREM t m
EXISTS t
ZADD z 1 m
ZREM z m
EXISTS z
SADD t m
SPOP t
TYPE t
ZADD z 1 m
ZPOPMIN z
TYPE z
RPUSH l a
LTRIM l 5 9
TYPE l
RPUSH l a
LREM l 0 a
TYPE l
RPUSH l a
RPOPLPUSH l l2
TYPE l
SADD t m
SMOVE t t2 m
TYPE t

[rename]
SET a 1
RENAME a b
GET b
EXISTS a
RENAME absent x
RENAME b b
RENAME absent absent
SET c 3 EX 1000
RENAME c b
TTL b
GET b
SET d 4
RENAME d b
TTL b
RPUSH l x
RENAME b l
TYPE l
RENAMENX l l2
SET k v
RENAMENX k l2
RENAMENX k k
RENAMENX absent x
EXISTS k l2

[copy]
SET a 1 EX 1000
COPY a b
TTL b
GET b
COPY a b
SET a 2
COPY a b REPLACE
GET b
TTL b
COPY absent x
COPY absent b REPLACE
EXISTS b
COPY a a
COPY a a REPLACE
COPY a c DB 0
COPY a d DB 1
COPY a d DB abc
COPY a d DB
COPY a d FOO
COPY a d DB 0 REPLACE
RPUSH l 1 2 3
COPY l l2
RPUSH l2 4
LRANGE l 0 -1
HSET h f v
COPY h h2
HSET h2 f w
HGET h f
SADD t m
COPY t t2
SADD t2 n
SCARD t
ZADD z 1 m
COPY z z2
ZADD z2 5 m
ZSCORE z m

[expire]
SET k v
EXPIRE k 100
TTL k
PTTL k
EXPIRETIME k
PEXPIRETIME k
PERSIST k
PERSIST k
TTL k
PEXPIRE k 100000
PTTL k
EXPIREAT k 4102444800
EXPIRETIME k
PEXPIRETIME k
PEXPIREAT k 4102444800999
EXPIRETIME k
PEXPIRETIME k
TTL absent
PTTL absent
EXPIRETIME absent
PEXPIRETIME absent
EXPIRE absent 100
PERSIST absent
SET k v
TTL k
EXPIRETIME k

[expire-past]
SET k v
EXPIRE k 0
EXISTS k
SET k v
EXPIRE k -1
EXISTS k
SET k v
EXPIREAT k 1
EXISTS k
SET k v
PEXPIREAT k 1
EXISTS k
SET k v
PEXPIRE k -100
EXISTS k
SET k v
EXPIRE k -9223372036854775
DBSIZE

[expire-options]
SET k v
EXPIRE k 100 XX
EXPIRE k 100 NX
EXPIRE k 200 NX
TTL k
EXPIRE k 50 GT
EXPIRE k 300 GT
TTL k
EXPIRE k 400 LT
EXPIRE k 200 LT
TTL k
PERSIST k
EXPIRE k 100 GT
TTL k
EXPIRE k 100 LT
TTL k
EXPIRE k 500 XX GT
EXPIRE k 10000 xx lt
TTL k
EXPIRE k 100 NX XX
EXPIRE k 100 NX GT
EXPIRE k 100 NX LT
EXPIRE k 100 GT LT
EXPIRE k 100 FOO
EXPIRE k 100 NX FOO
EXPIRE k 100 NX NX
EXPIRE absent 100 FOO
EXPIRE absent 100 GT
EXPIRE k -1 GT
EXISTS k
EXPIRE k -1 LT
EXISTS k

[expire-refused]
SET k v
EXPIRE k abc
EXPIRE k ""
EXPIRE k 1.5
EXPIRE k 9223372036854775807
EXPIRE k 9223372036854775
EXPIRE k -9223372036854775807
EXPIRE k 9223372036854775808
PEXPIRE k 9223372036854775807
PEXPIREAT k 9223372036854775807
PEXPIRETIME k
EXPIREAT k 9223372036854775
EXPIREAT k 9223372036854776
PEXPIREAT k -9223372036854775808
EXISTS k

[life-follows-the-key]
SET a 1 EX 1000
APPEND a 2
TTL a
RENAME a b
TTL b
TTL a
SET a 9
TTL a
RPUSH l 1
EXPIRE l 1000
RPUSH l 2
LSET l 0 x
LTRIM l 0 0
TTL l
HSET h f v
EXPIRE h 1000
HSET h g v
HDEL h f
HINCRBY h n 1
TTL h
SADD t a
EXPIRE t 1000
SADD t b
SREM t a
TTL t
ZADD z 1 a
EXPIRE z 1000
ZINCRBY z 5 a
ZADD z 3 b
ZREM z a
TTL z
SET l new
TTL l
DEL h
HSET h f v
TTL h
MSET t x z y
TTL t
TTL z

[keys-patterns]
MSET hello 1 hallo 2 hxllo 3 hllo 4 heello 5 "h*llo" 6 "h[llo" 7 "a\\b" 8 "" 9 "x y" 10 "\xff\x00" 11 HELLO 12
KEYS *
KEYS h?llo
KEYS h*llo
KEYS h[ae]llo
KEYS h[^e]llo
KEYS h[a-e]llo
KEYS h[e-a]llo
KEYS h\\*llo
KEYS "h\\[llo"
KEYS h[*]llo
KEYS h**llo
KEYS *l*o
KEYS ?
KEYS ""
KEYS [
KEYS [a
KEYS [^
KEYS h[a
KEYS h[a-
KEYS h[\\a]llo
KEYS a\\\\b
KEYS \\
KEYS hello\\
KEYS *\\
KEYS "* *"
KEYS "\xff*"
KEYS ????????????????
KEYS h[]llo
KEYS h[^]llo
KEYS h[a-z]*
KEYS nothing*

[glob-is-not-exponential]
SET aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab 1
KEYS a*a*a*a*a*b
KEYS *a*b
KEYS a*a*b*
KEYS a*a*a*a*a*a*a*a*a*a*a*a*c
KEYS *a*a*a*a*a*a*a*a*a*a*a*a*a*b*c

[randomkey-dbsize]
RANDOMKEY
DBSIZE
SET a 1
RANDOMKEY
SET b 1
RANDOMKEY
RANDOMKEY
DBSIZE
FLUSHDB
DBSIZE
RANDOMKEY

[flush]
MSET a 1 b 2
FLUSHALL ASYNC
DBSIZE
MSET a 1 b 2
FLUSHDB SYNC
DBSIZE
SET a 1
FLUSHALL sync
FLUSHDB async
FLUSHALL FOO
FLUSHDB ASYNC SYNC
FLUSHALL
GET a
SET a 1
GET a

[scan]
@scan SCAN 0
MSET a 1 b 2 aa 3 bb 4
RPUSH list a
SADD set a
HSET hash f v
ZADD zset 1 a
@scan SCAN 0
@scan SCAN 0 COUNT 1
@scan SCAN 0 COUNT 1000
@scan SCAN 0 MATCH a*
@scan SCAN 0 match a* count 100
@scan SCAN 0 TYPE string
@scan SCAN 0 TYPE list
@scan SCAN 0 TYPE SET
@scan SCAN 0 TYPE hash COUNT 2
@scan SCAN 0 TYPE zset MATCH z*
@scan SCAN 0 TYPE nosuch
@scan SCAN 0 MATCH nothing*

[memory-usage]
MEMORY USAGE absent
SET k v
@kind MEMORY USAGE k
@kind MEMORY USAGE k SAMPLES 5
MEMORY USAGE k SAMPLES abc
MEMORY USAGE k SAMPLES -1
MEMORY USAGE k FOO
@like -ERR unknown subcommand = MEMORY NOSUCH

[expires-while-looking]
PSETEX a 30 v
PSETEX b 100000 v
SET c v PX 30
RPUSH l x y
PEXPIRE l 30
@sleep 40
GET a
EXISTS a b c l
TTL a
PTTL c
TYPE l
LPUSHX l z
LLEN l
LPUSH l new
LRANGE l 0 -1
TTL l
KEYS *
RENAME a z
COPY c z
SETNX a again
TTL a
INCR c
TTL c
"""
