package main

import (
	"iter"
	"unsafe"
)

// list is a chain of nodes with packed elements. It has no pointers and lives in
// its entry. A node has room at both of its ends, so that a push or a pop at
// either end of the list moves nothing.
type list struct {
	head, tail ref
	count      int64
}

// node is the head of a block of elements. start and end are counted from the
// beginning of the block.
type node struct {
	prev, next ref
	start, end uint32
	count      uint32
	size       uint32 // of the block
}

const (
	nodeHead = int(unsafe.Sizeof(node{}))
	// nodeBytes is the largest block of more than one element.
	nodeBytes = 4096
)

func (m *arena) node(r ref) *node { return (*node)(m.at(r)) }

// An element is its length, its text, and how long both are, readable from the
// right. Lengths have 7 bits a byte, the high bit says that more follow.

func lengthBytes(n int) int {
	bytes := 1
	for ; n > 0x7f; n >>= 7 {
		bytes++
	}
	return bytes
}

func elementBytes(valueBytes int) int {
	front := lengthBytes(valueBytes) + valueBytes
	return front + lengthBytes(front)
}

// putElement writes an element at the start of the block.
func putElement(block, value []byte) {
	at := 0
	rest := len(value)
	for ; rest > 0x7f; rest >>= 7 {
		block[at] = byte(rest) | 0x80
		at++
	}
	block[at] = byte(rest)
	at += 1 + copy(block[at+1:], value)
	back := at
	at += lengthBytes(back) - 1
	for ; back > 0x7f; back >>= 7 {
		block[at] = byte(back) | 0x80
		at--
	}
	block[at] = byte(back)
}

// elementAt is the text of the element that starts here, and where the next one starts.
func elementAt(block []byte, start int) (value []byte, next int) {
	at, length, shift := start, int(block[start]&0x7f), 0
	for block[at] > 0x7f {
		at++
		shift += 7
		length |= int(block[at]&0x7f) << shift
	}
	end := at + 1 + length
	return block[at+1 : end], end + lengthBytes(end-start)
}

// elementBefore is the text of the element that ends here, and where it starts.
func elementBefore(block []byte, end int) (value []byte, start int) {
	at := end - 1
	front, shift := int(block[at]&0x7f), 0
	for block[at] > 0x7f {
		at--
		shift += 7
		front |= int(block[at]&0x7f) << shift
	}
	value, _ = elementAt(block, at-front)
	return value, at - front
}

func (m *arena) block(r ref) []byte { return m.slice(r, 0, int(m.node(r).size)) }

func (n *node) used() int { return int(n.end - n.start) }

func (l *list) end(left bool) ref {
	if left {
		return l.head
	}
	return l.tail
}

// push adds an element at one end.
func (l *list) push(m *arena, value []byte, left bool) {
	need := elementBytes(len(value))
	r := l.room(m, need, left)
	n := m.node(r)
	at := n.end
	if left {
		n.start -= uint32(need)
		at = n.start
	} else {
		n.end += uint32(need)
	}
	putElement(m.block(r)[at:], value)
	n.count++
	l.count++
}

// room is the node at one end, with so many free bytes on that side.
func (l *list) room(m *arena, need int, left bool) ref {
	r := l.end(left)
	if r == 0 {
		return l.newNode(m, nodeHead+need, 0, left)
	}
	n := m.node(r)
	total := nodeHead + n.used() + need
	switch {
	case left && int(n.start)-nodeHead >= need, !left && int(n.size-n.end) >= need:
		return r
	case total <= int(n.size)*3/4: // a quarter becomes free here: moving does not happen at every push
		m.shift(r, left)
		return r
	case int(n.size) < nodeBytes && total <= nodeBytes:
		return l.regrown(m, r, min(max(total, 2*int(n.size)), nodeBytes), left)
	}
	return l.newNode(m, max(nodeBytes, nodeHead+need), r, left)
}

// newNode is linked beside a node, on its left or right; without one it is the first.
func (l *list) newNode(m *arena, size int, beside ref, left bool) ref {
	size = blockBytes(size)
	r := m.alloc(size)
	n := m.node(r)
	*n = node{size: uint32(size), start: uint32(nodeHead), end: uint32(nodeHead)}
	if left {
		n.start, n.end = n.size, n.size
	}
	switch {
	case beside == 0:
	case left:
		n.prev, n.next = m.node(beside).prev, beside
	default:
		n.prev, n.next = beside, m.node(beside).next
	}
	l.relink(m, r)
	return r
}

// relink points the neighbours of a node to it.
func (l *list) relink(m *arena, r ref) {
	n := m.node(r)
	if n.prev != 0 {
		m.node(n.prev).next = r
	} else {
		l.head = r
	}
	if n.next != 0 {
		m.node(n.next).prev = r
	} else {
		l.tail = r
	}
}

// shift moves the elements to the far side, so that all room is on the left or right.
func (m *arena) shift(r ref, roomLeft bool) {
	n := m.node(r)
	start := nodeHead
	if roomLeft {
		start = int(n.size) - n.used()
	}
	block := m.block(r)
	copy(block[start:], block[n.start:n.end])
	n.start, n.end = uint32(start), uint32(start+n.used())
}

// regrown moves a node to a larger block, with the new room on one side.
func (l *list) regrown(m *arena, old ref, size int, roomLeft bool) ref {
	size = blockBytes(size)
	r := m.alloc(size)
	from, to := m.node(old), m.node(r)
	*to = *from
	to.size = uint32(size)
	to.start = uint32(nodeHead)
	if roomLeft {
		to.start = to.size - uint32(from.used())
	}
	to.end = to.start + uint32(from.used())
	copy(m.block(r)[to.start:], m.block(old)[from.start:from.end])
	m.free(old)
	l.relink(m, r)
	return r
}

// peek is the element at one end of a list that is not empty.
func (l *list) peek(m *arena, left bool) []byte {
	r := l.end(left)
	if left {
		value, _ := elementAt(m.block(r), int(m.node(r).start))
		return value
	}
	value, _ := elementBefore(m.block(r), int(m.node(r).end))
	return value
}

// removeEnd takes the element at one end out.
func (l *list) removeEnd(m *arena, left bool) {
	r := l.end(left)
	n := m.node(r)
	if left {
		_, next := elementAt(m.block(r), int(n.start))
		n.start = uint32(next)
	} else {
		_, start := elementBefore(m.block(r), int(n.end))
		n.end = uint32(start)
	}
	l.lost(m, r)
}

// lost counts an element that has left its node; the node goes with its last.
func (l *list) lost(m *arena, r ref) {
	l.count--
	if n := m.node(r); n.count > 1 {
		n.count--
		return
	}
	l.freeNode(m, r)
}

func (l *list) freeNode(m *arena, r ref) {
	n := m.node(r)
	if n.prev != 0 {
		m.node(n.prev).next = n.next
	} else {
		l.head = n.next
	}
	if n.next != 0 {
		m.node(n.next).prev = n.prev
	} else {
		l.tail = n.prev
	}
	m.free(r)
}

// drop frees all nodes.
func (l *list) drop(m *arena) {
	for r := l.head; r != 0; {
		next := m.node(r).next
		m.free(r)
		r = next
	}
	*l = list{}
}

// place is where an element is.
type place struct {
	node ref
	at   int
}

// locate finds an element by its index, from the nearer end.
func (l *list) locate(m *arena, index int64) place {
	if index > l.count/2 {
		return l.locateFromTail(m, l.count-index)
	}
	r := l.head
	for ; index >= int64(m.node(r).count); r = m.node(r).next {
		index -= int64(m.node(r).count)
	}
	block, at := m.block(r), int(m.node(r).start)
	for ; index > 0; index-- {
		_, at = elementAt(block, at)
	}
	return place{r, at}
}

// locateFromTail finds an element by how many there are from it to the end.
func (l *list) locateFromTail(m *arena, back int64) place {
	r := l.tail
	for ; back > int64(m.node(r).count); r = m.node(r).prev {
		back -= int64(m.node(r).count)
	}
	block, at := m.block(r), int(m.node(r).end)
	for ; back > 0; back-- {
		_, at = elementBefore(block, at)
	}
	return place{r, at}
}

// from goes through the elements, starting at an index that exists, or at 0.
func (l *list) from(m *arena, index int64) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if l.count == 0 {
			return
		}
		p := l.locate(m, index)
		for r, at := p.node, p.at; r != 0; {
			block, end := m.block(r), int(m.node(r).end)
			for at < end {
				var value []byte
				if value, at = elementAt(block, at); !yield(value) {
					return
				}
			}
			if r = m.node(r).next; r != 0 {
				at = int(m.node(r).start)
			}
		}
	}
}

// removeAt takes one element out of its node and moves the shorter side of what is left.
func (l *list) removeAt(m *arena, p place) {
	n, block := m.node(p.node), m.block(p.node)
	_, next := elementAt(block, p.at)
	if p.at-int(n.start) < int(n.end)-next {
		moved := copy(block[int(n.start)+next-p.at:next], block[n.start:p.at])
		n.start = uint32(next - moved)
	} else {
		copy(block[p.at:], block[next:n.end])
		n.end -= uint32(next - p.at)
	}
	l.lost(m, p.node)
}

// insertAt puts an element in front of the one at a place, which may be the end of a node.
func (l *list) insertAt(m *arena, p place, value []byte) {
	need := elementBytes(len(value))
	n := m.node(p.node)
	if nodeHead+n.used()+need > int(n.size) {
		p = l.widened(m, p, need)
		n = m.node(p.node)
	}
	block := m.block(p.node)
	switch {
	case int(n.size-n.end) >= need:
		copy(block[p.at+need:], block[p.at:n.end])
		n.end += uint32(need)
	case int(n.start)-nodeHead >= need:
		copy(block[int(n.start)-need:], block[n.start:p.at])
		n.start -= uint32(need)
		p.at -= need
	default:
		p.at -= int(n.start) - nodeHead
		m.shift(p.node, false)
		copy(block[p.at+need:], block[p.at:n.end])
		n.end += uint32(need)
	}
	putElement(block[p.at:], value)
	n.count++
	l.count++
}

// widened is a place for an element that its node has no room for: in a larger
// block, or in a node of its own between the two halves of the old one.
func (l *list) widened(m *arena, p place, need int) place {
	n := m.node(p.node)
	if total := nodeHead + n.used() + need; total <= nodeBytes {
		offset := p.at - int(n.start)
		r := l.regrown(m, p.node, min(2*total, nodeBytes), false)
		return place{r, nodeHead + offset}
	}
	if p.at > int(n.start) && p.at < int(n.end) {
		l.split(m, p)
	}
	r := l.newNode(m, nodeHead+need, p.node, p.at == int(m.node(p.node).start))
	return place{r, int(m.node(r).start)}
}

// split moves what is behind a place to a new node.
func (l *list) split(m *arena, p place) {
	size := int(m.node(p.node).end) - p.at
	r := l.newNode(m, nodeHead+size, p.node, false)
	n, right := m.node(p.node), m.node(r)
	right.end += uint32(copy(m.block(r)[nodeHead:], m.block(p.node)[p.at:n.end]))
	n.end = uint32(p.at)
	kept := uint32(0)
	for at := int(n.start); at < p.at; kept++ {
		_, at = elementAt(m.block(p.node), at)
	}
	right.count, n.count = n.count-kept, kept
}

// removeMany takes elements out at one end, whole nodes at once.
func (l *list) removeMany(m *arena, count int64, left bool) {
	for count > 0 {
		r := l.end(left)
		if inNode := int64(m.node(r).count); inNode <= count {
			count -= inNode
			l.count -= inNode
			l.freeNode(m, r)
			continue
		}
		l.removeEnd(m, left)
		count--
	}
}

// indexed is the place of the element that an argument names; false: there is none.
func (l *list) indexed(m *arena, index int64) (place, bool) {
	if index < 0 {
		index += l.count
	}
	if index < 0 || index >= l.count {
		return place{}, false
	}
	return l.locate(m, index), true
}

// replace gives an element another text.
func (l *list) replace(m *arena, p place, value []byte) {
	block := m.block(p.node)
	old, next := elementAt(block, p.at)
	if len(old) == len(value) {
		copy(old, value)
		return
	}
	// The new one goes in behind the old one: the place of the old one is still known if nothing moved,
	// and found again from the new one if it did.
	index := l.indexOf(m, place{p.node, next})
	l.insertAt(m, place{p.node, next}, value)
	l.removeAt(m, l.locate(m, index-1))
}

// indexOf counts the elements in front of a place.
func (l *list) indexOf(m *arena, p place) int64 {
	index := int64(0)
	for r := m.node(p.node).prev; r != 0; r = m.node(r).prev {
		index += int64(m.node(r).count)
	}
	block := m.block(p.node)
	for at := int(m.node(p.node).start); at < p.at; index++ {
		_, at = elementAt(block, at)
	}
	return index
}

// search is the first element with this text.
func (l *list) search(m *arena, text []byte) (place, bool) {
	for r := l.head; r != 0; r = m.node(r).next {
		block, end := m.block(r), int(m.node(r).end)
		for at := int(m.node(r).start); at < end; {
			value, next := elementAt(block, at)
			if string(value) == string(text) {
				return place{r, at}, true
			}
			at = next
		}
	}
	return place{}, false
}

// removeEqual rewrites each node that has the text without it.
func (l *list) removeEqual(m *arena, text []byte, limit uint64) (removed int64) {
	for r := l.head; r != 0 && limit > 0; {
		next := m.node(r).next
		n, block := m.node(r), m.block(r)
		kept, end := int(n.start), int(n.end)
		for at := kept; at < end; {
			value, following := elementAt(block, at)
			if limit > 0 && string(value) == string(text) {
				limit--
				removed++
				n.count--
			} else {
				kept += copy(block[kept:], block[at:following])
			}
			at = following
		}
		n.end = uint32(kept)
		if n.count == 0 {
			l.freeNode(m, r)
		}
		r = next
	}
	l.count -= removed
	return removed
}

// removeEqualFromTail is removeEqual from the other end.
func (l *list) removeEqualFromTail(m *arena, text []byte, limit uint64) (removed int64) {
	for r := l.tail; r != 0 && limit > 0; {
		before := m.node(r).prev
		n, block := m.node(r), m.block(r)
		kept, start := int(n.end), int(n.start)
		for end := kept; end > start; {
			value, at := elementBefore(block, end)
			if limit > 0 && string(value) == string(text) {
				limit--
				removed++
				n.count--
			} else {
				kept -= end - at
				copy(block[kept:], block[at:end])
			}
			end = at
		}
		n.start = uint32(kept)
		if n.count == 0 {
			l.freeNode(m, r)
		}
		r = before
	}
	l.count -= removed
	return removed
}
