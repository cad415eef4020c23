package main

import "math"

// addMember adds to a set; false: it was there.
func (m *arena) addMember(t *table, member []byte) bool {
	hash := m.hash(member)
	if t.find(m, member, hash) != nil {
		return false
	}
	t.add(m, hash, m.newEntry(kindString, false, member, 0))
	return true
}

func cmdSAdd(c *call) {
	t, ok := c.writeTable(c.args[1], kindSet)
	if !ok {
		return
	}
	added := int64(0)
	for _, member := range c.args[2:] {
		if c.mem.addMember(t, member) {
			added++
		}
	}
	if added > 0 {
		c.changed(c.args[1])
	}
	c.out.integer(added)
}

func cmdSRem(c *call)      { c.removeFields(kindSet) }
func cmdSIsMember(c *call) { c.answerIsMember(kindSet) }
func cmdSCard(c *call)     { c.answerCount(kindSet) }
func cmdSMembers(c *call)  { c.answerTable(kindSet, true, false) }
func cmdSScan(c *call)     { c.scanMembers(kindSet) }

func cmdSMIsMember(c *call) {
	t, ok := c.readTable(c.args[1], kindSet)
	if !ok {
		return
	}
	c.out.array(len(c.args) - 2)
	for _, member := range c.args[2:] {
		c.out.boolean(c.fieldOf(t, member) != 0)
	}
}

func cmdSMove(c *call) {
	from, to, member := c.args[1], c.args[2], c.args[3]
	slot, hash, _ := c.write(from, kindAny)
	targetSlot, _, _ := c.write(to, kindAny)
	if slot == nil {
		c.out.boolean(false)
		return
	}
	if !c.isKind(refOf(*slot), kindSet) || targetSlot != nil && !c.isKind(refOf(*targetSlot), kindSet) {
		return
	}
	t := c.mem.table(refOf(*slot))
	if string(from) == string(to) {
		c.out.boolean(t.get(c.mem, member) != 0)
		return
	}
	if !c.mem.removeField(t, member) {
		c.out.boolean(false)
		return
	}
	c.changed(from)
	c.deleteIfEmpty(t.count, from, hash, slot)
	target, _ := c.writeTable(to, kindSet)
	if c.mem.addMember(target, member) {
		c.changed(to)
	}
	c.out.boolean(true)
}

func cmdSPop(c *call) {
	if len(c.args) > 3 {
		c.out.fail(textSyntax)
		return
	}
	count, hasCount := int64(1), len(c.args) == 3
	if hasCount {
		var ok bool
		if count, ok = c.positive(2); !ok {
			return
		}
	}
	key := c.args[1]
	slot, hash, ok := c.write(key, kindSet)
	switch {
	case !ok:
		return
	case slot == nil && !hasCount:
		c.out.null()
		return
	case slot == nil || count == 0:
		c.out.array(0)
		return
	}
	t := c.mem.table(refOf(*slot))
	if count >= t.count && hasCount {
		c.answerTableMembers(t)
		c.remove(key, hash, slot)
		c.logAs([]byte("DEL"), key)
		return
	}
	if hasCount {
		c.out.array(int(count))
	}
	gone := [][]byte{[]byte("SREM"), key}
	for range count {
		member := c.mem.key(t.random(c.mem))
		c.out.bulk(member)
		gone = append(gone, append([]byte(nil), member...))
		c.mem.removeField(t, gone[len(gone)-1])
	}
	c.changed(key)
	c.deleteIfEmpty(t.count, key, hash, slot)
	c.logAs(gone...)
}

func (c *call) answerTableMembers(t *table) {
	c.out.array(int(t.count))
	for r := range t.all(c.mem) {
		c.out.bulk(c.mem.key(r))
	}
}

func cmdSRandMember(c *call) {
	if len(c.args) > 3 {
		c.out.fail(textSyntax)
		return
	}
	hasCount := len(c.args) == 3
	count := int64(1)
	if hasCount {
		var ok bool
		if count, ok = c.integer(2); !ok {
			return
		}
		if count == math.MinInt64 {
			c.out.fail("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")
			return
		}
	}
	t, ok := c.readTable(c.args[1], kindSet)
	switch {
	case !ok:
	case t == nil && !hasCount:
		c.out.null()
	case t == nil || count == 0:
		c.out.array(0)
	case !hasCount:
		c.out.bulk(c.mem.key(t.random(c.mem)))
	case count < 0:
		c.out.array(int(-count))
		for range -count {
			c.out.bulk(c.mem.key(t.random(c.mem)))
		}
	case count >= t.count:
		c.answerTableMembers(t)
	default:
		c.answerSample(t, int(count))
	}
}

// answerSample answers so many different members, each as likely as any other.
func (c *call) answerSample(t *table, count int) {
	c.out.array(count)
	if int64(count) > t.count/3 {
		c.found = c.found[:0]
		for r := range t.all(c.mem) {
			c.found = append(c.found, r)
		}
		for i := range count {
			j := i + int(randomIndex(int64(len(c.found)-i)))
			c.found[i], c.found[j] = c.found[j], c.found[i]
			c.out.bulk(c.mem.key(c.found[i]))
		}
		return
	}
	drawn := make(map[ref]struct{}, count)
	for len(drawn) < count {
		r := t.random(c.mem)
		if _, again := drawn[r]; !again {
			drawn[r] = struct{}{}
			c.out.bulk(c.mem.key(r))
		}
	}
}

// sets are those of the keys, nil where there is none; false: one key is of another kind.
func (c *call) sets() (found []*table, ok bool) {
	for _, key := range c.args[1:] {
		t, ok := c.readTable(key, kindSet)
		if !ok {
			return nil, false
		}
		found = append(found, t)
	}
	return found, true
}

func cmdSInter(c *call) {
	sets, ok := c.sets()
	if !ok {
		return
	}
	smallest := sets[0]
	for _, t := range sets {
		if t == nil {
			c.out.array(0)
			return
		}
		if t.count < smallest.count {
			smallest = t
		}
	}
	c.found = c.found[:0]
	for r := range smallest.all(c.mem) {
		if c.inAll(sets, smallest, c.mem.key(r)) {
			c.found = append(c.found, r)
		}
	}
	c.answerFound()
}

func (c *call) inAll(sets []*table, but *table, member []byte) bool {
	for _, t := range sets {
		if t != but && t.get(c.mem, member) == 0 {
			return false
		}
	}
	return true
}

func (c *call) inAny(sets []*table, member []byte) bool {
	for _, t := range sets {
		if t != nil && t.get(c.mem, member) != 0 {
			return true
		}
	}
	return false
}

// cmdSUnion answers of each set what is in none before it: no further table is needed.
func cmdSUnion(c *call) {
	sets, ok := c.sets()
	if !ok {
		return
	}
	c.found = c.found[:0]
	for i, t := range sets {
		if t != nil {
			c.addUnlessIn(t, sets[:i])
		}
	}
	c.answerFound()
}

func cmdSDiff(c *call) {
	sets, ok := c.sets()
	if !ok {
		return
	}
	c.found = c.found[:0]
	if sets[0] != nil {
		c.addUnlessIn(sets[0], sets[1:])
	}
	c.answerFound()
}

// addUnlessIn finds the members that are in none of the other sets.
func (c *call) addUnlessIn(t *table, others []*table) {
	for r := range t.all(c.mem) {
		if !c.inAny(others, c.mem.key(r)) {
			c.found = append(c.found, r)
		}
	}
}

func (c *call) answerFound() {
	c.out.array(len(c.found))
	for _, r := range c.found {
		c.out.bulk(c.mem.key(r))
	}
}
