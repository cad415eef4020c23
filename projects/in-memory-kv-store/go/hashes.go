package main

import "strconv"

// setField stores a field of a hash; true: it is new.
func (m *arena) setField(t *table, field, value []byte) bool {
	hash := m.hash(field)
	slot := t.find(m, field, hash)
	if slot == nil {
		r := m.newEntry(kindString, false, field, len(value))
		copy(m.value(r), value)
		t.add(m, hash, r)
		return true
	}
	old := refOf(*slot)
	if m.fits(old, len(value)) {
		m.setValueBytes(old, len(value))
		copy(m.value(old), value)
		return false
	}
	r := m.newEntry(kindString, false, field, len(value))
	copy(m.value(r), value)
	setRef(slot, r)
	m.free(old)
	return false
}

// removeField takes a field or member out of a table and frees it; false: it is not there.
func (m *arena) removeField(t *table, field []byte) bool {
	hash := m.hash(field)
	slot := t.find(m, field, hash)
	if slot == nil {
		return false
	}
	r := refOf(*slot)
	t.remove(m, hash, slot)
	m.free(r)
	return true
}

// readTable is the hash or set of a key, nil if there is none.
func (c *call) readTable(key []byte, want kind) (t *table, ok bool) {
	r, ok := c.read(key, want)
	if r == 0 || !ok {
		return nil, ok
	}
	return c.mem.table(r), true
}

// writeTable is the hash or set of a key, made if it is not there.
func (c *call) writeTable(key []byte, want kind) (t *table, ok bool) {
	slot, hash, ok := c.write(key, want)
	if !ok {
		return nil, false
	}
	if slot == nil {
		return c.mem.table(c.create(key, hash, want)), true
	}
	return c.mem.table(refOf(*slot)), true
}

func cmdHSet(c *call) {
	if created, ok := c.setFields(); ok {
		c.out.integer(created)
	}
}

func cmdHMSet(c *call) {
	if _, ok := c.setFields(); ok {
		c.out.ok()
	}
}

func (c *call) setFields() (created int64, ok bool) {
	if len(c.args)%2 == 1 {
		c.out.fail(wrongArity(c.command.name))
		return 0, false
	}
	t, ok := c.writeTable(c.args[1], kindHash)
	if !ok {
		return 0, false
	}
	for i := 2; i < len(c.args); i += 2 {
		if c.mem.setField(t, c.args[i], c.args[i+1]) {
			created++
		}
	}
	c.changed(c.args[1])
	return created, true
}

func cmdHSetNX(c *call) {
	t, ok := c.writeTable(c.args[1], kindHash)
	if !ok {
		return
	}
	absent := t.get(c.mem, c.args[2]) == 0
	if absent {
		c.mem.setField(t, c.args[2], c.args[3])
		c.changed(c.args[1])
	}
	c.out.boolean(absent)
}

func cmdHGet(c *call) {
	t, ok := c.readTable(c.args[1], kindHash)
	if !ok {
		return
	}
	c.answerField(t, c.args[2])
}

// answerField answers the value of a field, or null; the table may be nil.
func (c *call) answerField(t *table, field []byte) {
	if t != nil {
		if r := t.get(c.mem, field); r != 0 {
			c.out.bulk(c.mem.value(r))
			return
		}
	}
	c.out.null()
}

func cmdHMGet(c *call) {
	t, ok := c.readTable(c.args[1], kindHash)
	if !ok {
		return
	}
	c.out.array(len(c.args) - 2)
	for _, field := range c.args[2:] {
		c.answerField(t, field)
	}
}

func cmdHDel(c *call) { c.removeFields(kindHash) }

// removeFields is HDEL and SREM.
func (c *call) removeFields(want kind) {
	key := c.args[1]
	slot, hash, ok := c.write(key, want)
	if !ok {
		return
	}
	removed := int64(0)
	if slot != nil {
		t := c.mem.table(refOf(*slot))
		for _, field := range c.args[2:] {
			if c.mem.removeField(t, field) {
				removed++
			}
		}
		if removed > 0 {
			c.changed(key)
			c.deleteIfEmpty(t.count, key, hash, slot)
		}
	}
	c.out.integer(removed)
}

func cmdHExists(c *call) { c.answerIsMember(kindHash) }

// answerIsMember is HEXISTS and SISMEMBER.
func (c *call) answerIsMember(want kind) {
	if t, ok := c.readTable(c.args[1], want); ok {
		c.out.boolean(t != nil && t.get(c.mem, c.args[2]) != 0)
	}
}

func cmdHLen(c *call) { c.answerCount(kindHash) }

// answerCount is HLEN and SCARD.
func (c *call) answerCount(want kind) {
	if t, ok := c.readTable(c.args[1], want); ok && t != nil {
		c.out.integer(t.count)
	} else if ok {
		c.out.integer(0)
	}
}

func cmdHStrLen(c *call) {
	t, ok := c.readTable(c.args[1], kindHash)
	if !ok {
		return
	}
	length := 0
	if t != nil {
		if r := t.get(c.mem, c.args[2]); r != 0 {
			length = len(c.mem.value(r))
		}
	}
	c.out.integer(int64(length))
}

func cmdHKeys(c *call)   { c.answerTable(kindHash, true, false) }
func cmdHVals(c *call)   { c.answerTable(kindHash, false, true) }
func cmdHGetAll(c *call) { c.answerTable(kindHash, true, true) }

// answerTable answers all fields, all values, or both in turn.
func (c *call) answerTable(want kind, keys, values bool) {
	t, ok := c.readTable(c.args[1], want)
	if !ok {
		return
	}
	if t == nil {
		c.out.array(0)
		return
	}
	length := int(t.count)
	if keys && values {
		length *= 2
	}
	c.out.array(length)
	for r := range t.all(c.mem) {
		if keys {
			c.out.bulk(c.mem.key(r))
		}
		if values {
			c.out.bulk(c.mem.value(r))
		}
	}
}

func cmdHIncrBy(c *call) {
	by, ok := c.integer(3)
	if !ok {
		return
	}
	key, field := c.args[1], c.args[2]
	t, ok := c.hashToIncrement(key)
	if !ok {
		return
	}
	value := int64(0)
	if r := c.fieldOf(t, field); r != 0 {
		if value, ok = parseInteger(c.mem.value(r)); !ok {
			c.out.fail("ERR hash value is not an integer")
			return
		}
	}
	if addOverflows(value, by) {
		c.out.fail("ERR increment or decrement would overflow")
		return
	}
	c.text = strconv.AppendInt(c.text[:0], value+by, 10)
	c.storeField(key, t, field)
	c.out.integer(value + by)
}

// hashToIncrement is the hash of a key, nil if there is none yet.
func (c *call) hashToIncrement(key []byte) (t *table, ok bool) {
	slot, _, ok := c.write(key, kindHash)
	if slot == nil || !ok {
		return nil, ok
	}
	return c.mem.table(refOf(*slot)), true
}

func (c *call) fieldOf(t *table, field []byte) ref {
	if t == nil {
		return 0
	}
	return t.get(c.mem, field)
}

// storeField stores c.text in a field, in a new hash if there is none.
func (c *call) storeField(key []byte, t *table, field []byte) {
	if t == nil {
		t, _ = c.writeTable(key, kindHash)
	}
	c.mem.setField(t, field, c.text)
	c.changed(key)
}

func cmdHIncrByFloat(c *call) {
	by, ok := parseLongDouble(c.args[3])
	if !ok {
		c.out.fail(textNotFloat)
		return
	}
	if by.IsInf() {
		c.out.fail("ERR value is NaN or Infinity")
		return
	}
	key, field := c.args[1], c.args[2]
	t, ok := c.hashToIncrement(key)
	if !ok {
		return
	}
	text := []byte("0")
	if r := c.fieldOf(t, field); r != 0 {
		text = c.mem.value(r)
	}
	value, ok := parseLongDouble(text)
	if !ok {
		c.out.fail("ERR hash value is not a float")
		return
	}
	sum, finite := addLongDouble(value, by)
	if !finite {
		c.out.fail("ERR increment would produce NaN or Infinity")
		return
	}
	c.text = appendLongDouble(c.text[:0], sum)
	c.storeField(key, t, field)
	c.out.bulk(c.text)
	c.logAs([]byte("HSET"), key, field, c.text)
}

func cmdHScan(c *call) { c.scanMembers(kindHash) }

// scanMembers is HSCAN and SSCAN.
func (c *call) scanMembers(want kind) {
	cursor, ok := c.scanCursor(2)
	if !ok {
		return
	}
	t, ok := c.readTable(c.args[1], want)
	if !ok {
		return
	}
	if t == nil {
		c.answerScan(0, nil, false)
		return
	}
	o, ok := c.scanOptions(3, false)
	if !ok {
		return
	}
	next := c.scanTable(t, cursor, o)
	c.answerScan(next, c.found, want == kindHash)
}
