package main

import (
	"math"
	"strconv"
	"time"
)

// remove deletes a key because a command says so.
func (c *call) remove(key []byte, hash uint64, slot *uint64) {
	c.changes++
	c.delete(key, hash, slot)
}

// cmdDel is DEL and UNLINK.
func cmdDel(c *call) {
	removed := int64(0)
	for _, key := range c.args[1:] {
		if slot, hash := c.find(key); slot != nil {
			c.remove(key, hash, slot)
			removed++
		}
	}
	c.out.integer(removed)
}

func cmdExists(c *call) {
	found := int64(0)
	for _, key := range c.args[1:] {
		if c.peek(key) != 0 {
			found++
		}
	}
	c.out.integer(found)
}

func cmdTouch(c *call) {
	found := int64(0)
	for _, key := range c.args[1:] {
		if r, _ := c.read(key, kindAny); r != 0 {
			found++
		}
	}
	c.out.integer(found)
}

func cmdExpire(c *call)    { c.expire(c.now, 1000) }
func cmdPExpire(c *call)   { c.expire(c.now, 1) }
func cmdExpireAt(c *call)  { c.expire(0, 1000) }
func cmdPExpireAt(c *call) { c.expire(0, 1) }

// expireConditions are the words behind EXPIRE.
type expireConditions struct{ ifNone, ifAny, ifLater, ifEarlier bool }

func (c *call) expireConditions() (o expireConditions, ok bool) {
	for _, word := range c.args[3:] {
		switch {
		case equalFold(word, "NX"):
			o.ifNone = true
		case equalFold(word, "XX"):
			o.ifAny = true
		case equalFold(word, "GT"):
			o.ifLater = true
		case equalFold(word, "LT"):
			o.ifEarlier = true
		default:
			c.out.fail("ERR Unsupported option " + string(cText(word)))
			return o, false
		}
	}
	if o.ifNone && (o.ifAny || o.ifLater || o.ifEarlier) {
		c.out.fail("ERR NX and XX, GT or LT options at the same time are not compatible")
		return o, false
	}
	if o.ifLater && o.ifEarlier {
		c.out.fail("ERR GT and LT options at the same time are not compatible")
		return o, false
	}
	return o, true
}

// holds compares the new moment with the present one, 0 for never.
func (o expireConditions) holds(at, present int64) bool {
	switch {
	case o.ifNone && present != 0, o.ifAny && present == 0:
		return false
	case o.ifLater && (present == 0 || at <= present):
		return false
	case o.ifEarlier && present != 0 && at >= present:
		return false
	}
	return true
}

// expire sets the moment base + argument * unit milliseconds.
func (c *call) expire(base, unit int64) {
	conditions, ok := c.expireConditions()
	if !ok {
		return
	}
	at, ok := c.integer(2)
	if !ok {
		return
	}
	if at > math.MaxInt64/unit || at < math.MinInt64/unit || at*unit > math.MaxInt64-base {
		c.failExpireTime()
		return
	}
	at = at*unit + base
	key := c.args[1]
	slot, hash, _ := c.write(key, kindAny)
	if slot == nil || !conditions.holds(at, c.mem.expireAt(refOf(*slot))) {
		c.out.boolean(false)
		return
	}
	words := c.args[3:]
	c.expireKey(key, hash, slot, at)
	if len(words) > 0 && c.instead != nil && string(c.instead[0]) == "PEXPIREAT" {
		c.instead = append(c.instead, words...)
	}
	c.out.boolean(true)
}

// expireKey gives a key its moment; one that is over deletes it.
func (c *call) expireKey(key []byte, hash uint64, slot *uint64, at int64) {
	if at <= c.now && !c.loading {
		c.remove(key, hash, slot)
		c.logAs([]byte("DEL"), key)
		return
	}
	// 0 stands for never; a log may have moments before 1970, which are as much over as the first millisecond.
	c.setExpiry(slot, hash, max(at, 1))
	c.changed(key)
	c.logAs([]byte("PEXPIREAT"), key, strconv.AppendInt(nil, at, 10))
}

func cmdTTL(c *call)         { c.timeToLive(c.now, 1000) }
func cmdPTTL(c *call)        { c.timeToLive(c.now, 1) }
func cmdExpireTime(c *call)  { c.timeToLive(0, 1000) }
func cmdPExpireTime(c *call) { c.timeToLive(0, 1) }

// timeToLive answers the moment of expiry less base, in units of so many milliseconds.
func (c *call) timeToLive(base, unit int64) {
	r := c.peek(c.args[1])
	if r == 0 {
		c.out.integer(-2)
		return
	}
	at := c.mem.expireAt(r)
	if at == 0 {
		c.out.integer(-1)
		return
	}
	c.out.integer((max(0, at-base) + unit/2) / unit)
}

func cmdPersist(c *call) {
	key := c.args[1]
	slot, hash, _ := c.write(key, kindAny)
	if slot == nil || c.mem.expireAt(refOf(*slot)) == 0 {
		c.out.boolean(false)
		return
	}
	c.setExpiry(slot, hash, 0)
	c.changed(key)
	c.out.boolean(true)
}

func cmdType(c *call) {
	if r := c.peek(c.args[1]); r != 0 {
		c.out.simple(kindNames[c.mem.kind(r)])
	} else {
		c.out.simple("none")
	}
}

func cmdRename(c *call) {
	if c.rename(false) {
		c.out.ok()
	}
}

func cmdRenameNX(c *call) {
	if c.rename(true) {
		c.out.boolean(true)
	}
}

// rename is false if it answered itself.
func (c *call) rename(ifAbsent bool) bool {
	from, to := c.args[1], c.args[2]
	slot, hash, _ := c.write(from, kindAny)
	if slot == nil {
		c.out.fail(textNoKey)
		return false
	}
	if string(from) == string(to) {
		if ifAbsent {
			c.out.boolean(false)
		}
		return !ifAbsent
	}
	oldSlot, toHash := c.find(to)
	if oldSlot != nil {
		if ifAbsent {
			c.out.boolean(false)
			return false
		}
		c.delete(to, toHash, oldSlot)
		slot, hash = c.find(from) // its slot may have moved
	}
	r := refOf(*slot)
	renamed := c.mem.withKey(r, to)
	c.touched(from)
	c.unlink(hash, slot)
	c.mem.free(r)
	c.insert(toHash, renamed)
	c.changed(to)
	return true
}

// withKey is a copy of an entry under another key; the inside of a collection belongs to both.
func (m *arena) withKey(r ref, key []byte) ref {
	value := m.value(r)
	renamed := m.newEntry(m.kind(r), m.expireWord(r) != nil, key, len(value))
	m.copyHead(renamed, r)
	copy(m.value(renamed), value)
	return renamed
}

func cmdCopy(c *call) {
	replace := false
	for i := 3; i < len(c.args); i++ {
		switch {
		case equalFold(c.args[i], "REPLACE"):
			replace = true
		case equalFold(c.args[i], "DB") && i+1 < len(c.args):
			i++
			if !c.selectable(i) {
				return
			}
		default:
			c.out.fail(textSyntax)
			return
		}
	}
	from, to := c.args[1], c.args[2]
	if string(from) == string(to) {
		c.out.fail("ERR source and destination objects are the same")
		return
	}
	r, _ := c.read(from, kindAny)
	if r == 0 {
		c.out.boolean(false)
		return
	}
	slot, hash := c.find(to)
	if slot != nil && !replace {
		c.out.boolean(false)
		return
	}
	if slot != nil {
		c.delete(to, hash, slot)
	}
	copied := c.mem.withKey(r, to)
	c.mem.copyInside(copied, r)
	c.insert(hash, copied)
	c.changed(to)
	c.out.boolean(true)
}

// copyInside gives a collection elements of its own.
func (m *arena) copyInside(to, from ref) {
	switch m.kind(from) {
	case kindList:
		*m.list(to) = list{}
		for value := range m.list(from).from(m, 0) {
			m.list(to).push(m, value, false)
		}
	case kindHash, kindSet:
		*m.table(to) = table{}
		for member := range m.table(from).all(m) {
			m.setField(m.table(to), m.key(member), m.value(member))
		}
	case kindZset:
		*m.zset(to) = zset{tall: m.zset(from).tall}
		for node := range m.zset(from).from(m, 0) {
			m.zset(to).insert(m, m.memberOf(node), m.score(node))
		}
	}
}

// selectable answers an error if the argument is not the number of the one database.
func (c *call) selectable(index int) bool {
	number, ok := c.integer(index)
	if ok && number != 0 {
		if number != int64(int32(number)) {
			c.out.fail("ERR value is out of range, value must between -2147483648 and 2147483647")
		} else {
			c.out.fail("ERR DB index is out of range")
		}
	}
	return ok && number == 0
}

func cmdKeys(c *call) {
	pattern := c.args[1]
	all := string(pattern) == "*"
	c.found = c.found[:0]
	for r := range c.keys.all(c.mem) {
		if (all || globMatch(pattern, c.mem.key(r), false)) && !c.isExpired(r) {
			c.found = append(c.found, r)
		}
	}
	c.out.array(len(c.found))
	for _, r := range c.found {
		c.out.bulk(c.mem.key(r))
	}
}

func cmdRandomKey(c *call) {
	if r := c.randomKey(); r != 0 {
		c.out.bulk(c.mem.key(r))
	} else {
		c.out.null()
	}
}

func cmdDBSize(c *call) { c.out.integer(c.keys.count) }

// cmdFlush is FLUSHALL and FLUSHDB.
func cmdFlush(c *call) {
	if len(c.args) > 2 || len(c.args) == 2 && !equalFold(c.args[1], "ASYNC") && !equalFold(c.args[1], "SYNC") {
		c.out.fail(textSyntax)
		return
	}
	c.flush()
	c.changes++
	c.out.ok()
}

// scanOptions are the words behind SCAN, HSCAN and SSCAN.
type scanOptions struct {
	pattern  []byte // nil: all
	count    int64
	kindName []byte // nil: any
}

const (
	scanCount       = 10
	scanEmptyFactor = 10 // so many buckets are looked at for each element asked for
)

// scanCursor reads a cursor as strtoul does.
func (c *call) scanCursor(index int) (cursor uint64, ok bool) {
	text := cText(c.args[index])
	if len(text) == 0 {
		return 0, true
	}
	negative := text[0] == '-'
	if negative || text[0] == '+' {
		text = text[1:]
	}
	cursor, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		c.out.fail("ERR invalid cursor")
		return 0, false
	}
	if negative {
		cursor = -cursor
	}
	return cursor, true
}

func (c *call) scanOptions(first int, ofKeys bool) (o scanOptions, ok bool) {
	o.count = scanCount
	for i := first; i < len(c.args); i += 2 {
		hasValue := i+1 < len(c.args)
		switch {
		case equalFold(c.args[i], "COUNT") && hasValue:
			if o.count, ok = c.integer(i + 1); !ok {
				return o, false
			}
			if o.count < 1 {
				c.out.fail(textSyntax)
				return o, false
			}
		case equalFold(c.args[i], "MATCH") && hasValue:
			o.pattern = c.args[i+1]
			if string(o.pattern) == "*" {
				o.pattern = nil
			}
		case equalFold(c.args[i], "TYPE") && hasValue && ofKeys:
			o.kindName = c.args[i+1]
		default:
			c.out.fail(textSyntax)
			return o, false
		}
	}
	return o, true
}

// scanTable collects in found what a scan finds from a cursor on, and returns the next cursor.
func (c *call) scanTable(t *table, cursor uint64, o scanOptions) uint64 {
	place := placeAt(cursor)
	c.found = c.found[:0]
	buckets := o.count
	if o.count < math.MaxInt64/scanEmptyFactor {
		buckets *= scanEmptyFactor
	}
	for int64(len(c.found)) < o.count && buckets > 0 {
		buckets--
		if c.found, place = t.scanBucket(c.mem, place, c.found); place == 0 {
			break
		}
	}
	kept := c.found[:0]
	for _, r := range c.found {
		if o.pattern == nil || globMatch(o.pattern, c.mem.key(r), false) {
			kept = append(kept, r)
		}
	}
	c.found = kept
	return cursorOf(place)
}

func cmdScan(c *call) {
	cursor, ok := c.scanCursor(1)
	if !ok {
		return
	}
	o, ok := c.scanOptions(2, true)
	if !ok {
		return
	}
	next := c.scanTable(&c.keys, cursor, o)
	kept := c.found[:0]
	for _, r := range c.found {
		if !c.isExpired(r) && (o.kindName == nil || equalFold(o.kindName, kindCapitals[c.mem.kind(r)])) {
			kept = append(kept, r)
		}
	}
	c.answerScan(next, kept, false)
}

// answerScan answers a cursor and keys, with their values if asked for.
func (c *call) answerScan(next uint64, found []ref, withValues bool) {
	c.out.array(2)
	c.text = strconv.AppendUint(c.text[:0], next, 10)
	c.out.bulk(c.text)
	if withValues {
		c.out.array(2 * len(found))
	} else {
		c.out.array(len(found))
	}
	for _, r := range found {
		c.out.bulk(c.mem.key(r))
		if withValues {
			c.out.bulk(c.mem.value(r))
		}
	}
}

func cmdObjectEncoding(c *call) {
	r := c.peek(c.args[2])
	if r == 0 {
		c.out.null()
		return
	}
	c.out.bulkString(c.mem.encoding(r))
}

func cmdObjectIdleTime(c *call) {
	if r := c.peek(c.args[2]); r != 0 {
		c.out.integer(int64(c.idleTicks(r)) * clockMilliseconds / 1000)
	} else {
		c.out.null()
	}
}

func cmdObjectRefCount(c *call) {
	if r := c.peek(c.args[2]); r != 0 {
		c.out.integer(1)
	} else {
		c.out.null()
	}
}

const (
	longestEmbedded  = 44  // a longer string is raw in Redis
	mostPacked       = 128 // elements of a hash or sorted set that Redis packs
	mostIntegers     = 512 // members of an intset
	longestPackedOne = 64
)

// encoding names what Redis would use; the store itself has one form for each kind.
func (m *arena) encoding(r ref) string {
	switch m.kind(r) {
	case kindString:
		value := m.value(r)
		if _, isInteger := parseInteger(value); isInteger && len(value) <= 20 {
			return "int"
		}
		if len(value) > longestEmbedded || *m.word(r, 0)&flagRaw != 0 {
			return "raw"
		}
		return "embstr"
	case kindList:
		return "quicklist"
	case kindHash:
		return m.hashEncoding(m.table(r))
	case kindSet:
		return m.setEncoding(m.table(r))
	default:
		if m.zset(r).tall != 0 {
			return "skiplist"
		}
		return "listpack"
	}
}

func (m *arena) hashEncoding(t *table) string {
	if t.count > mostPacked {
		return "hashtable"
	}
	for r := range t.all(m) {
		if len(m.key(r)) > longestPackedOne || len(m.value(r)) > longestPackedOne {
			return "hashtable"
		}
	}
	return "listpack"
}

func (m *arena) setEncoding(t *table) string {
	if t.count > mostIntegers {
		return "hashtable"
	}
	for r := range t.all(m) {
		if _, isInteger := parseInteger(m.key(r)); !isInteger {
			return "hashtable"
		}
	}
	return "intset"
}

func cmdMemoryUsage(c *call) {
	for i := 3; i < len(c.args); i += 2 {
		if !equalFold(c.args[i], "SAMPLES") || i+1 == len(c.args) {
			c.out.fail(textSyntax)
			return
		}
		samples, ok := c.integer(i + 1)
		if !ok {
			return
		}
		if samples < 0 {
			c.out.fail(textSyntax)
			return
		}
	}
	r := c.peek(c.args[2])
	if r == 0 {
		c.out.null()
		return
	}
	c.out.integer(int64(c.mem.footprint(r)))
}

// footprint is what a key takes: its blocks, not a sample of them, and its slot.
func (m *arena) footprint(r ref) int {
	total := m.size(r) + unitBytes
	switch m.kind(r) {
	case kindList:
		for node := m.list(r).head; node != 0; node = m.node(node).next {
			total += m.size(node)
		}
	case kindHash, kindSet:
		total += m.membersFootprint(m.table(r))
	case kindZset:
		z := m.zset(r)
		total += m.membersFootprint(&z.members) + z.nodesFootprint(m)
	}
	return total
}

func (m *arena) membersFootprint(t *table) int {
	total := t.tableBytes(m)
	for r := range t.all(m) {
		total += m.size(r)
	}
	return total
}

func cmdTime(c *call) {
	now := time.Now()
	c.out.array(2)
	c.out.bulkInteger(now.Unix())
	c.out.bulkInteger(int64(now.Nanosecond() / 1000))
}
