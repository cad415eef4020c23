package main

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"sync"
	"time"
)

// kind is what an entry of the cache is about.
type kind uint8

const (
	kindAnswer     kind = iota // a name and a type: the records, or that there are none
	kindNXDomain               // a name: it does not exist, whatever the type
	kindDelegation             // a zone: its name servers
)

// entry is one thing we know. Answers are kept in the form in which they are sent: the bytes
// that follow the question of a message, and where in them the TTLs are. So an answer is a
// copy, and cached records are one object without pointers to the garbage collector.
type entry struct {
	hash            uint32
	next            int32         // in the list of a bucket or of free entries; 0 is the end
	stored, expires time.Duration // by the clock of the loop
	data            []byte        // name, number of records in answer and authority, tail, places of TTLs in the tail
	delegation      *delegation
	qtype           uint16
	tailBytes       uint16
	nameBytes       uint8
	kind            kind
	rcode           uint8
	used            bool // since the hand of the clock came by
}

const (
	entryBytes   = 64 + 4 // with its share of the buckets
	countsBytes  = 4
	ttlBytes     = 2
	entriesAPage = 1024
	bytesABucket = 256 // of the cache
	mostBuckets  = 1 << 24
)

// body is what follows the question in an answer, and what the header says of it.
type body struct {
	rcode   uint8
	answers uint16
	// authority is 1 where the SOA record of a negative answer is there.
	authority uint16
	tail      []byte
	ttls      []byte // places in the tail, two bytes each
	age       uint32 // seconds that are to be taken off the TTLs
}

// cache keeps what we know, within a limit of bytes. What was not used for long makes room:
// a hand goes round over all entries, and takes those that were not used since its last visit.
//
// With more than one thread it is locked; what it returns never changes, so it needs no lock.
type cache struct {
	counters *counters
	seed     maphash.Seed // nobody can choose names that meet in one bucket
	buckets  []int32
	pages    [][]entry
	count    int // entries that were ever used, from 1
	free     int32
	hand     int
	bytes    int
	limit    int
	live     int
	key      []byte // of find and put
	shared   bool
	lock     sync.Mutex
}

func newCache(limit int, shared bool, c *counters) *cache {
	buckets := 1 << bits.Len(uint(min(limit/bytesABucket, mostBuckets)-1))
	return &cache{
		counters: c, seed: maphash.MakeSeed(), buckets: make([]int32, buckets), count: 1, limit: limit, shared: shared,
		key: make([]byte, 0, maxNameBytes+keySuffix),
	}
}

func (c *cache) enter() {
	if c.shared {
		c.lock.Lock()
	}
}

func (c *cache) leave() {
	if c.shared {
		c.lock.Unlock()
	}
}

func (c *cache) at(index int32) *entry {
	return &c.pages[index/entriesAPage][index%entriesAPage]
}

// keySuffix are the bytes of a key behind the name: type and kind.
const keySuffix = 3

// appendKey writes what an entry is found by.
func appendKey(to []byte, n name, qtype uint16, k kind) []byte {
	return append(append(to, n...), byte(qtype>>8), byte(qtype), byte(k))
}

// look finds a living entry by its key.
func (c *cache) look(key []byte, now time.Duration) *entry {
	hash := uint32(maphash.Bytes(c.seed, key))
	length := len(key) - keySuffix
	qtype, k := binary.BigEndian.Uint16(key[length:]), kind(key[length+2])
	for index := c.buckets[hash&uint32(len(c.buckets)-1)]; index != 0; {
		e := c.at(index)
		if e.hash == hash && e.qtype == qtype && e.kind == k && int(e.nameBytes) == length && string(e.data[:length]) == string(key[:length]) {
			if now >= e.expires {
				c.remove(index)
				return nil
			}
			e.used = true
			return e
		}
		index = e.next
	}
	return nil
}

// body is the answer in an entry, as of now.
func (e *entry) body(now time.Duration) body {
	counts := int(e.nameBytes)
	tail := counts + countsBytes
	ttls := tail + int(e.tailBytes)
	return body{
		rcode:     e.rcode,
		answers:   binary.BigEndian.Uint16(e.data[counts:]),
		authority: binary.BigEndian.Uint16(e.data[counts+2:]),
		tail:      e.data[tail:ttls:ttls],
		ttls:      e.data[ttls:],
		age:       uint32((now - e.stored) / time.Second),
	}
}

// answer finds what is to be said to a question, by its key.
func (c *cache) answer(key []byte, now time.Duration) (body, bool) {
	c.enter()
	defer c.leave()
	e := c.look(key, now)
	if e == nil {
		end := len(key) - keySuffix
		qtype := [2]byte{key[end], key[end+1]}
		key[end], key[end+1], key[end+2] = 0, 0, byte(kindNXDomain)
		e = c.look(key, now)
		key[end], key[end+1], key[end+2] = qtype[0], qtype[1], byte(kindAnswer)
	}
	if e == nil {
		return body{}, false
	}
	return e.body(now), true
}

// find is the same for a question that is not in a packet.
func (c *cache) find(q question, now time.Duration) (body, bool) {
	c.enter()
	c.key = appendKey(c.key[:0], q.name, q.qtype, kindAnswer)
	e := c.look(c.key, now)
	if e == nil {
		c.key = appendKey(c.key[:0], q.name, 0, kindNXDomain)
		e = c.look(c.key, now)
	}
	defer c.leave()
	if e == nil {
		return body{}, false
	}
	return e.body(now), true
}

// zone finds the delegation of a zone.
func (c *cache) zone(n name, now time.Duration) *delegation {
	c.enter()
	defer c.leave()
	c.key = appendKey(c.key[:0], n, typeNS, kindDelegation)
	if e := c.look(c.key, now); e != nil {
		return e.delegation
	}
	return nil
}

// putAnswer keeps an answer for a while.
func (c *cache) putAnswer(k kind, q question, b body, now, ttl time.Duration) {
	data := make([]byte, 0, len(q.name)+countsBytes+len(b.tail)+len(b.ttls))
	data = append(data, q.name...)
	data = binary.BigEndian.AppendUint16(data, b.answers)
	data = binary.BigEndian.AppendUint16(data, b.authority)
	data = append(append(data, b.tail...), b.ttls...)
	if k == kindNXDomain {
		q.qtype = 0
	}
	c.put(entry{stored: now, expires: now + ttl, data: data, qtype: q.qtype, tailBytes: uint16(len(b.tail)),
		nameBytes: uint8(len(q.name)), kind: k, rcode: b.rcode})
}

// putZone keeps a delegation.
func (c *cache) putZone(d *delegation, now, ttl time.Duration) {
	c.put(entry{stored: now, expires: now + ttl, data: []byte(d.zone), qtype: typeNS, nameBytes: uint8(len(d.zone)),
		kind: kindDelegation, delegation: d})
}

// cost is what an entry takes of the limit.
func (e *entry) cost() int {
	cost := entryBytes + (len(e.data)+15)&^15
	if e.delegation != nil {
		cost += e.delegation.bytes()
	}
	return cost
}

// put stores an entry in the place of what was known before.
func (c *cache) put(e entry) {
	c.enter()
	defer c.leave()
	c.key = appendKey(c.key[:0], name(e.data[:e.nameBytes]), e.qtype, e.kind)
	cost := e.cost()
	if e.expires <= e.stored || cost > c.limit/4 {
		return
	}
	if old := c.look(c.key, e.stored); old != nil {
		c.remove(c.indexOf(old))
	}
	for c.bytes+cost > c.limit {
		c.evictOne(e.stored)
	}
	e.hash = uint32(maphash.Bytes(c.seed, c.key))
	bucket := &c.buckets[e.hash&uint32(len(c.buckets)-1)]
	index := c.reserve()
	e.next, *bucket = *bucket, index
	*c.at(index) = e
	c.account(cost, 1)
}

func (c *cache) account(bytes, entries int) {
	c.bytes += bytes
	c.live += entries
	c.counters.bytes.Store(int64(c.bytes))
	c.counters.entries.Store(int64(c.live))
}

// indexOf is the way back from an entry that is in its bucket.
func (c *cache) indexOf(e *entry) int32 {
	index := c.buckets[e.hash&uint32(len(c.buckets)-1)]
	for c.at(index) != e {
		index = c.at(index).next
	}
	return index
}

// reserve is the index of an unused entry.
func (c *cache) reserve() int32 {
	if index := c.free; index != 0 {
		c.free = c.at(index).next
		return index
	}
	index := c.count
	c.count++
	if index/entriesAPage >= len(c.pages) {
		c.pages = append(c.pages, make([]entry, entriesAPage))
	}
	return int32(index)
}

// remove takes an entry out of its bucket.
func (c *cache) remove(index int32) {
	e := c.at(index)
	link := &c.buckets[e.hash&uint32(len(c.buckets)-1)]
	for *link != index {
		link = &c.at(*link).next
	}
	*link = e.next
	c.account(-e.cost(), -1)
	*e = entry{next: c.free}
	c.free = index
}

// evictOne removes the next entry that was not used lately, or has expired.
func (c *cache) evictOne(now time.Duration) {
	for {
		if c.hand++; c.hand >= c.count {
			c.hand = 1
		}
		e := c.at(int32(c.hand))
		if e.data == nil {
			continue
		}
		if e.used && now < e.expires {
			e.used = false
			continue
		}
		c.remove(int32(c.hand))
		return
	}
}

// clear forgets everything.
func (c *cache) clear() {
	c.enter()
	defer c.leave()
	clear(c.buckets)
	c.pages, c.count, c.free, c.hand = nil, 1, 0, 0
	c.account(-c.bytes, -c.live)
}
