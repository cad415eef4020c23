"""Scripts of the oracle about sets; kv_cases.py says how to read them."""

SCRIPTS = r"""
[sadd-srem]
SADD t a b c a
SADD t a
SCARD t
SREM t a absent b
SREM t a
SREM absent a
SCARD t
SCARD absent
SADD t ""
SISMEMBER t ""
SREM t "" c
EXISTS t

[membership]
SADD t a 1
SISMEMBER t a
SISMEMBER t b
SISMEMBER absent a
SMISMEMBER t a b 1 01 a
SMISMEMBER absent a b
SMEMBERS t
SMEMBERS absent

[integers]
SADD t 1 2 3 -1 9223372036854775807 -9223372036854775808
SMEMBERS t
SISMEMBER t 01
SISMEMBER t 1
SISMEMBER t +1
SADD t 01 9223372036854775808 -0 0
SMEMBERS t
SREM t 0 1
SMEMBERS t

[sinter]
SADD a 1 2 3 x
SADD b 2 3 x y
SADD c x 3
SINTER a b c
SINTER a
SINTER a absent
SINTER absent a
SINTER absent
SINTER a a
SINTER a b a

[sunion-sdiff]
SADD a 1 2 3 x
SADD b 2 y
SADD c x z
SUNION a b c
SUNION a
SUNION a absent
SUNION absent absent2
SDIFF a b c
SDIFF a
SDIFF a absent
SDIFF absent a
SDIFF a a
SDIFF b a
SET s v
SUNION a s
SDIFF a s
SINTER absent s
SINTER s absent
SDIFF absent s

[smove]
SADD a 1 x
SMOVE a b x
SMEMBERS b
SMOVE a b absent
SMOVE absent b x
SMOVE a a 1
SMOVE a a absent
SADD a x
SMOVE a b x
SMEMBERS b
SMOVE a b 1
EXISTS a
SET s v
SMOVE b s x
SMOVE b s absent
SMOVE absent s x
SMEMBERS b

[spop]
SADD t a b c d e
SPOP t
SPOP t 2
SPOP t 0
SPOP t -1
SPOP t abc
SPOP t 100
EXISTS t
SPOP t
SPOP t 5
SPOP t 0
SADD t a
SPOP t 1 2

[srandmember]
SADD t a b c d e
SRANDMEMBER t
SRANDMEMBER t 2
SRANDMEMBER t 5
SRANDMEMBER t 100
SRANDMEMBER t -10
SRANDMEMBER t 0
SRANDMEMBER t abc
SRANDMEMBER t 9223372036854775808
SRANDMEMBER t -9223372036854775808
SRANDMEMBER absent
SRANDMEMBER absent 5
SRANDMEMBER absent -5
SRANDMEMBER t 1 2
SCARD t

[sscan]
SADD t a b c aa 1 2
@scan SSCAN t 0
@scan SSCAN t 0 MATCH a*
@scan SSCAN t 0 COUNT 1
@scan SSCAN absent 0
SADD n 1 2 3
@scan SSCAN n 0
@scan SSCAN n 0 MATCH [12]
"""
