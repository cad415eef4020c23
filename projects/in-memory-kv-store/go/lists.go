package main

func cmdLPush(c *call)  { c.push(true, true) }
func cmdRPush(c *call)  { c.push(false, true) }
func cmdLPushX(c *call) { c.push(true, false) }
func cmdRPushX(c *call) { c.push(false, false) }

func (c *call) push(left, create bool) {
	key := c.args[1]
	slot, hash, ok := c.write(key, kindList)
	if !ok {
		return
	}
	var r ref
	switch {
	case slot != nil:
		r = refOf(*slot)
	case create:
		r = c.create(key, hash, kindList)
	default:
		c.out.integer(0)
		return
	}
	l := c.mem.list(r)
	for _, value := range c.args[2:] {
		l.push(c.mem, value, left)
	}
	c.changed(key)
	c.out.integer(l.count)
}

func cmdLPop(c *call) { c.pop(true) }
func cmdRPop(c *call) { c.pop(false) }

func (c *call) pop(left bool) {
	if len(c.args) > 3 {
		c.out.fail(wrongArity(c.command.name))
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
	slot, hash, ok := c.write(key, kindList)
	switch {
	case !ok:
		return
	case slot == nil && hasCount:
		c.out.nullArray()
		return
	case slot == nil:
		c.out.null()
		return
	case count == 0:
		c.out.array(0)
		return
	}
	l := c.mem.list(refOf(*slot))
	count = min(count, l.count)
	if hasCount {
		c.out.array(int(count))
	}
	for range count {
		c.out.bulk(l.peek(c.mem, left))
		l.removeEnd(c.mem, left)
	}
	c.changed(key)
	c.deleteIfEmpty(l.count, key, hash, slot)
}

// readList is the list of a key, nil if there is none.
func (c *call) readList() (l *list, ok bool) {
	r, ok := c.read(c.args[1], kindList)
	if r == 0 || !ok {
		return nil, ok
	}
	return c.mem.list(r), true
}

func cmdLLen(c *call) {
	if l, ok := c.readList(); ok && l == nil {
		c.out.integer(0)
	} else if ok {
		c.out.integer(l.count)
	}
}

// clampRange turns two indexes, where -1 is the last, into a start and a length that exist.
func clampRange(start, end, count int64) (first, length int64) {
	if start < 0 {
		start = max(0, start+count)
	}
	if end < 0 {
		end += count
	}
	end = min(end, count-1)
	if start > end {
		return 0, 0
	}
	return start, end - start + 1
}

func cmdLRange(c *call) {
	start, ok := c.integer(2)
	if !ok {
		return
	}
	end, ok := c.integer(3)
	if !ok {
		return
	}
	l, ok := c.readList()
	if !ok {
		return
	}
	if l == nil {
		c.out.array(0)
		return
	}
	first, length := clampRange(start, end, l.count)
	c.out.array(int(length))
	if length == 0 {
		return
	}
	for value := range l.from(c.mem, first) {
		c.out.bulk(value)
		if length--; length == 0 {
			break
		}
	}
}

func cmdLIndex(c *call) {
	l, ok := c.readList()
	if !ok {
		return
	}
	if l == nil {
		c.out.null()
		return
	}
	index, ok := c.integer(2)
	if !ok {
		return
	}
	p, ok := l.indexed(c.mem, index)
	if !ok {
		c.out.null()
		return
	}
	value, _ := elementAt(c.mem.block(p.node), p.at)
	c.out.bulk(value)
}

func cmdLSet(c *call) {
	key := c.args[1]
	slot, _, ok := c.write(key, kindList)
	if !ok {
		return
	}
	if slot == nil {
		c.out.fail(textNoKey)
		return
	}
	index, ok := c.integer(2)
	if !ok {
		return
	}
	l := c.mem.list(refOf(*slot))
	p, ok := l.indexed(c.mem, index)
	if !ok {
		c.out.fail("ERR index out of range")
		return
	}
	l.replace(c.mem, p, c.args[3])
	c.changed(key)
	c.out.ok()
}

func cmdLInsert(c *call) {
	after := equalFold(c.args[2], "AFTER")
	if !after && !equalFold(c.args[2], "BEFORE") {
		c.out.fail(textSyntax)
		return
	}
	key := c.args[1]
	slot, _, ok := c.write(key, kindList)
	if !ok {
		return
	}
	if slot == nil {
		c.out.integer(0)
		return
	}
	l := c.mem.list(refOf(*slot))
	p, found := l.search(c.mem, c.args[3])
	if !found {
		c.out.integer(-1)
		return
	}
	if after {
		_, p.at = elementAt(c.mem.block(p.node), p.at)
	}
	l.insertAt(c.mem, p, c.args[4])
	c.changed(key)
	c.out.integer(l.count)
}

func cmdLRem(c *call) {
	limit, ok := c.integer(2)
	if !ok {
		return
	}
	key := c.args[1]
	slot, hash, ok := c.write(key, kindList)
	if !ok {
		return
	}
	if slot == nil {
		c.out.integer(0)
		return
	}
	l := c.mem.list(refOf(*slot))
	removed := int64(0)
	switch {
	case limit < 0:
		removed = l.removeEqualFromTail(c.mem, c.args[3], uint64(-limit))
	case limit == 0:
		removed = l.removeEqual(c.mem, c.args[3], uint64(l.count))
	default:
		removed = l.removeEqual(c.mem, c.args[3], uint64(limit))
	}
	c.out.integer(removed)
	if removed > 0 {
		c.changed(key)
		c.deleteIfEmpty(l.count, key, hash, slot)
	}
}

func cmdLTrim(c *call) {
	start, ok := c.integer(2)
	if !ok {
		return
	}
	end, ok := c.integer(3)
	if !ok {
		return
	}
	key := c.args[1]
	slot, hash, ok := c.write(key, kindList)
	if !ok {
		return
	}
	if slot != nil {
		l := c.mem.list(refOf(*slot))
		first, length := clampRange(start, end, l.count)
		behind := l.count - first - length
		l.removeMany(c.mem, first, true)
		l.removeMany(c.mem, behind, false)
		c.changed(key)
		c.deleteIfEmpty(l.count, key, hash, slot)
	}
	c.out.ok()
}

func cmdRPopLPush(c *call) { c.move(false, true) }

func cmdLMove(c *call) {
	fromLeft, ok := c.side(3)
	if !ok {
		return
	}
	if toLeft, ok := c.side(4); ok {
		c.move(fromLeft, toLeft)
	}
}

func (c *call) side(index int) (left, ok bool) {
	left = equalFold(c.args[index], "LEFT")
	ok = left || equalFold(c.args[index], "RIGHT")
	if !ok {
		c.out.fail(textSyntax)
	}
	return left, ok
}

// move takes an element from one list, or the other end of the same, to another.
func (c *call) move(fromLeft, toLeft bool) {
	from, to := c.args[1], c.args[2]
	slot, hash, ok := c.write(from, kindList)
	if !ok {
		return
	}
	if slot == nil {
		c.out.null()
		return
	}
	source := refOf(*slot)
	targetSlot, targetHash, ok := c.write(to, kindList)
	if !ok {
		return
	}
	l := c.mem.list(source)
	c.text = append(c.text[:0], l.peek(c.mem, fromLeft)...)
	l.removeEnd(c.mem, fromLeft)
	var target ref
	if targetSlot != nil {
		target = refOf(*targetSlot)
	} else {
		target = c.create(to, targetHash, kindList)
	}
	c.mem.list(target).push(c.mem, c.text, toLeft)
	c.out.bulk(c.text)
	c.changed(to)
	c.changed(from)
	if l.count == 0 {
		slot, _ = c.find(from) // creating the target may have moved it
		c.delete(from, hash, slot)
	}
}
