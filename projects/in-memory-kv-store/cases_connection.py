"""Scripts of the oracle about connections, configuration and introspection; kv_cases.py says how to read them."""

SCRIPTS = r"""
[ping-echo]
PING
PING hello
PING ""
PING a b
ping
ECHO hello
ECHO ""
ECHO "\x00\xff\r\n"

[unknown-command]
NOSUCH
NOSUCH a
nosuch a b c
"" a
NOSUCH "a b" 'c' "\x00" "line\r\nend"
"NO\r\nSUCH" a
FOO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b
FOO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbb cccccccc dddd
FOO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb cccccccccccccccccccccccccccccccc ddddddddddddddddddddddddddd eeeeeeeeee ffffff
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b
GETT k
GE k

[select]
SELECT 0
SELECT 1
SELECT -1
SELECT abc
SELECT ""
SELECT 9999999999999999999
SET k v
SELECT 0
GET k

[hello]
@kind HELLO
@kind HELLO 2
HELLO 4
HELLO 1
HELLO abc
HELLO 2 FOO
HELLO 2 SETNAME
HELLO 2 AUTH other secret
@kind HELLO 2 AUTH default any
@kind HELLO 2 SETNAME me
CLIENT GETNAME

[client]
CLIENT GETNAME
CLIENT SETNAME me
CLIENT GETNAME
CLIENT SETNAME "with space"
CLIENT SETNAME "line\nend"
CLIENT GETNAME
CLIENT SETNAME ""
CLIENT GETNAME
@kind CLIENT ID
@kind CLIENT LIST
CLIENT NO-EVICT on
CLIENT NO-EVICT off
CLIENT NO-EVICT maybe
@like -ERR unknown subcommand = CLIENT NOSUCH
CLIENT NOSUCH
client nosuch a b

[reset]
CLIENT SETNAME me
MULTI
RESET
CLIENT GETNAME
SET k v
GET k
WATCH k
RESET
@2 SET k w
MULTI
GET k
EXEC

[command]
@kind COMMAND
@kind COMMAND COUNT
@kind COMMAND DOCS
@kind COMMAND DOCS get
@kind COMMAND INFO get
@kind COMMAND INFO get nosuch
@like -ERR unknown subcommand = COMMAND NOSUCH

[config-get]
CONFIG GET maxmemory
CONFIG GET MAXMEMORY
CONFIG GET maxmemory-policy
CONFIG GET save
CONFIG GET appendonly
CONFIG GET appendfsync
CONFIG GET databases
CONFIG GET proto-max-bulk-len
CONFIG GET nosuch
CONFIG GET nosuch*
@kind CONFIG GET *
@kind CONFIG GET maxmemory maxmemory-policy

[config-set]
CONFIG SET maxmemory 100mb
CONFIG GET maxmemory
CONFIG SET maxmemory 1gb
CONFIG GET maxmemory
CONFIG SET maxmemory 100k
CONFIG GET maxmemory
CONFIG SET maxmemory 100kb
CONFIG GET maxmemory
CONFIG SET maxmemory 1G
CONFIG GET maxmemory
CONFIG SET maxmemory 104857600
CONFIG GET maxmemory
CONFIG SET maxmemory abc
CONFIG SET maxmemory -1
CONFIG SET maxmemory 10xb
CONFIG SET maxmemory ""
CONFIG GET maxmemory
CONFIG SET maxmemory 0
CONFIG SET maxmemory-policy allkeys-lru
CONFIG GET maxmemory-policy
CONFIG SET maxmemory-policy VOLATILE-TTL
CONFIG GET maxmemory-policy
CONFIG SET maxmemory-policy volatile-lru
CONFIG SET maxmemory-policy allkeys-random
@like -ERR CONFIG SET failed (possibly related to argument 'maxmemory-policy') - argument(s) must be one of the following: = CONFIG SET maxmemory-policy nosuch
CONFIG GET maxmemory-policy
CONFIG SET maxmemory-policy noeviction
CONFIG SET appendfsync always
CONFIG GET appendfsync
CONFIG SET appendfsync no
CONFIG GET appendfsync
CONFIG SET appendfsync everysec
@like -ERR CONFIG SET failed (possibly related to argument 'appendfsync') - argument(s) must be one of the following: = CONFIG SET appendfsync sometimes
CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lru
CONFIG GET maxmemory
CONFIG GET maxmemory-policy
@like -ERR CONFIG SET failed (possibly related to argument 'maxmemory-policy') = CONFIG SET maxmemory 200mb maxmemory-policy nosuch
CONFIG GET maxmemory
CONFIG SET maxmemory 0 maxmemory 1
CONFIG SET maxmemory 0 maxmemory-policy noeviction
CONFIG SET nosuch 1
CONFIG SET maxmemory
CONFIG SET maxmemory 0 nosuch
CONFIG RESETSTAT
@like -ERR unknown subcommand = CONFIG NOSUCH

[time]
@kind TIME

[info]
@kind INFO
@kind INFO server
@kind INFO nosuch
@kind INFO server clients
INFO nosuch

[two-clients]
SET k v
@2 GET k
@2 SET k w
GET k
CLIENT SETNAME one
@2 CLIENT SETNAME two
CLIENT GETNAME
@2 CLIENT GETNAME
"""  # noqa: E501 - commands as they are sent
