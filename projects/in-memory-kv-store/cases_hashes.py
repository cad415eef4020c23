"""Scripts of the oracle about hashes; kv_cases.py says how to read them."""

SCRIPTS = r"""
[hset-hget]
HSET h f v
HSET h f w g x
HGET h f
HGET h absent
HGET absent f
HSET h f
HSET h f v g
HSET h "" empty
HGET h ""
HSET h f ""
HGET h f
HSET h a 1 a 2 a 3
HGET h a
HLEN h
HLEN absent

[hmset-hmget]
HMSET h a 1 b 2
HMGET h a b absent a
HMGET absent a b
HMSET h a 9 c 3
HMGET h a b c
HMSET h a
HMSET h a 1 b

[hsetnx]
HSETNX h f a
HSETNX h f b
HGET h f
HSETNX h g c
HLEN h

[hdel]
HSET h a 1 b 2 c 3
HDEL h a absent
HDEL h a
HDEL h b c c
EXISTS h
HDEL absent a

[hexists-hstrlen]
HSET h f hello n 12345 e ""
HEXISTS h f
HEXISTS h absent
HEXISTS absent f
HSTRLEN h f
HSTRLEN h n
HSTRLEN h e
HSTRLEN h absent
HSTRLEN absent f

[hgetall]
HGETALL absent
HKEYS absent
HVALS absent
HSET h a 1 b 2 c 3
HGETALL h
HKEYS h
HVALS h

[hincrby]
HINCRBY h n 5
HINCRBY h n -3
HGET h n
HSET h s abc
HINCRBY h s 1
HINCRBY h n abc
HINCRBY h n 1.5
HINCRBY h n ""
HSET h n 9223372036854775807
HINCRBY h n 1
HINCRBY h n -1
HSET h n -9223372036854775808
HINCRBY h n -1
HSET h n " 5"
HINCRBY h n 1
HSET h n ""
HINCRBY h n 1
HSET h n 5.0
HINCRBY h n 1
HINCRBY fresh n abc
EXISTS fresh

[hincrbyfloat]
HINCRBYFLOAT h f 10.5
HINCRBYFLOAT h f 0.1
HINCRBYFLOAT h f -5
HINCRBYFLOAT h f 5.0e3
HGET h f
HSET h f 0.1
HINCRBYFLOAT h f 0.2
HINCRBYFLOAT h f abc
HINCRBYFLOAT h f nan
HINCRBYFLOAT h f inf
HINCRBYFLOAT h f " 1"
HSET h s abc
HINCRBYFLOAT h s 1
HSET h s " 1"
HINCRBYFLOAT h s 1
HSET h s ""
HINCRBYFLOAT h s 1
HSET h n 3
HINCRBYFLOAT h n 1
HINCRBY h n 1
HINCRBYFLOAT h n 0.5
HINCRBY h n 1
HINCRBYFLOAT fresh f abc
EXISTS fresh

[hscan]
HSET h a 1 b 2 aa 3
@scan HSCAN h 0
@scan HSCAN h 0 MATCH a*
@scan HSCAN h 0 COUNT 1
@scan HSCAN h 0 MATCH b COUNT 100
@scan HSCAN absent 0
@scan HSCAN h 0 MATCH nothing

[long-fields]
HSET h aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 64
HSET h aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 65
HSET h v aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
HGETALL h
HDEL h v
HSTRLEN h aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
HLEN h
"""
