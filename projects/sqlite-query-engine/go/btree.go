package main

import (
	"encoding/binary"
)

const (
	pageIndexInterior = 2
	pageTableInterior = 5
	pageIndexLeaf     = 10
	pageTableLeaf     = 13

	maximumDepth = 20 // SQLite's own limit
	childBytes   = 4  // the page number at the head of an interior cell

	maximumOverlap = 4 // times the page that its cells may add up to

	cacheLineBytes  = 64
	maximumPrefetch = 128 // lines; more would push out what is in use
)

// node is one b-tree page on the way from the root to the cursor. The header and the extent of
// the cell pointer array are checked when the page is entered; cell contents when they are read.
type node struct {
	number  uint32
	data    []byte
	pointer []byte // the cell pointer array
	cells   int
	content int  // first byte after the cell pointer array
	taken   int  // payload bytes of the cells that were bound
	crossed bool // the end of the scan lies on this page
	index   int  // leaf: the current cell; interior: the child (and, in an index, the entry after it)
	right   uint32
	leaf    bool
}

// cursor walks one b-tree, a table's or an index's, in both directions.
type cursor struct {
	pager   *pager
	root    uint32
	isIndex bool
	depth   int // nodes on the stack; 0 = no position
	visited uint32
	stack   [maximumDepth]node
	rec     *record // receives the current entry; its err is the cursor's error
}

func (c *cursor) open(p *pager, root uint32, isIndex bool, rec *record) {
	c.pager, c.root, c.isIndex, c.rec = p, root, isIndex, rec
	c.depth = 0
	c.visited = 0
	rec.pager = p
	rec.allowSpill(0)
}

func (c *cursor) fail(page uint32, format string, arguments ...any) bool {
	if c.rec.err == nil {
		c.rec.err = c.pager.corrupt(page, format, arguments...)
	}
	return false
}

// readNode checks a page header.
func (c *cursor) readNode(n *node, number uint32) bool {
	data := c.pager.page(number)
	if data == nil {
		return c.fail(number, "is beyond the end (the file has %d pages)", c.pager.pageCount)
	}
	header := 0
	if number == 1 {
		header = headerBytes
	}
	begin := header + 8
	leaf, interior := byte(pageTableLeaf), byte(pageTableInterior)
	if c.isIndex {
		leaf, interior = pageIndexLeaf, pageIndexInterior
	}
	switch data[header] {
	case leaf:
		n.leaf = true
	case interior:
		n.leaf = false
		n.right = binary.BigEndian.Uint32(data[header+8:])
		begin += 4
	default:
		return c.fail(number, "type %d is not that of %s b-tree page", data[header], treeName(c.isIndex))
	}
	n.cells = int(binary.BigEndian.Uint16(data[header+3:]))
	if begin+2*n.cells > len(data) {
		return c.fail(number, "%d cells do not fit", n.cells)
	}
	n.content = begin + 2*n.cells
	n.taken, n.crossed = 0, false
	n.number, n.data, n.pointer = number, data, data[begin:n.content]
	return true
}

func treeName(isIndex bool) string {
	if isIndex {
		return "an index"
	}
	return "a table"
}

// push enters a page. The visited pages are counted against the file's: a pointer loop ends there.
func (c *cursor) push(number uint32) bool {
	if c.depth == maximumDepth {
		return c.fail(number, "b-tree is deeper than %d pages (pointer loop)", maximumDepth)
	}
	if c.visited++; c.visited > c.pager.pageCount {
		return c.fail(number, "b-tree has more pages than the file (pointer loop)")
	}
	n := &c.stack[c.depth]
	if !c.readNode(n, number) {
		return false
	}
	n.index = 0
	c.depth++
	return true
}

// restart drops the position; the budget of pages starts again, as every walk has its own.
func (c *cursor) restart() bool {
	c.depth = 0
	c.visited = 0
	if c.isIndex {
		c.rec.allowSpill(1) // the comparisons of a search read keys
	}
	return c.push(c.root)
}

// cell gives the bytes from a cell's start to the end of its page.
func (c *cursor) cell(n *node, index int) ([]byte, bool) {
	at := int(binary.BigEndian.Uint16(n.pointer[2*index:]))
	if at >= len(n.data) || at+4 > len(n.data) {
		return nil, c.fail(n.number, "cell %d: pointer %d is outside the page", index, at)
	}
	return n.data[at:], true
}

// child gives the page number below an interior node at its index.
func (c *cursor) child(n *node, index int) (uint32, bool) {
	if index >= n.cells {
		return n.right, true
	}
	cell, ok := c.cell(n, index)
	if !ok {
		return 0, false
	}
	return binary.BigEndian.Uint32(cell), true
}

// descend goes from an interior node down to the first or last leaf below its current child.
func (c *cursor) descend(last bool) bool {
	for {
		n := &c.stack[c.depth-1]
		if n.leaf {
			return true
		}
		number, ok := c.child(n, n.index)
		if !ok || !c.push(number) {
			return false
		}
		if n = &c.stack[c.depth-1]; last {
			n.index = n.cells
			if n.leaf {
				n.index--
			}
		}
	}
}

// first goes to the first entry; false at the end of an empty tree or on damage.
func (c *cursor) first() bool {
	return c.restart() && c.descend(false) && c.settle()
}

// last goes to the last entry.
func (c *cursor) last() bool {
	if !c.restart() {
		return false
	}
	if n := &c.stack[0]; n.leaf {
		n.index = n.cells - 1
	} else {
		n.index = n.cells
	}
	return c.descend(true) && c.settleBack()
}

func (c *cursor) next() bool {
	n := &c.stack[c.depth-1]
	n.index++
	if n.leaf && n.index < n.cells {
		return true
	}
	if !n.leaf && !c.descend(false) { // an index entry of an interior page
		return false
	}
	return c.settle()
}

func (c *cursor) prev() bool {
	n := &c.stack[c.depth-1]
	if n.leaf {
		if n.index--; n.index >= 0 {
			return true
		}
	} else if !c.descend(true) {
		return false
	}
	return c.settleBack()
}

// settle moves forward from a leaf that has no more cells to the next entry.
func (c *cursor) settle() bool {
	for c.depth > 0 {
		n := &c.stack[c.depth-1]
		if n.index < n.cells && (n.leaf || c.isIndex) {
			return true
		}
		if !n.leaf && n.index < n.cells { // a table's interior page: on to its next child
			n.index++
			if !c.descend(false) {
				return false
			}
			continue
		}
		c.depth--
	}
	return false
}

// settleBack moves backward from a leaf before its first cell to the previous entry.
func (c *cursor) settleBack() bool {
	for c.depth > 0 {
		n := &c.stack[c.depth-1]
		if n.leaf {
			if n.index >= 0 && n.index < n.cells {
				return true
			}
		} else if n.index > 0 {
			n.index--
			if c.isIndex {
				return true
			}
			if !c.descend(true) {
				return false
			}
			continue
		}
		c.depth--
	}
	return false
}

// leafRowid reads the rowid of a table cell.
func (c *cursor) rowidOf(n *node, index int) (int64, bool) {
	cell, ok := c.cell(n, index)
	if !ok {
		return 0, false
	}
	if n.leaf {
		_, length := varint(cell)
		if length == 0 {
			return 0, c.fail(n.number, "cell %d: ends inside its payload size", index)
		}
		cell = cell[length:]
	} else {
		cell = cell[4:]
	}
	rowid, length := varint(cell)
	if length == 0 {
		return 0, c.fail(n.number, "cell %d: ends inside its rowid", index)
	}
	return int64(rowid), true
}

// seekRowid goes to the first row whose rowid is at least the given one.
func (c *cursor) seekRowid(rowid int64) bool {
	if !c.restart() {
		return false
	}
	for {
		n := &c.stack[c.depth-1]
		low, high := 0, n.cells
		middle := high / 2
		if n.leaf && n.cells > 0 {
			middle = c.guess(n, rowid)
		}
		for low < high {
			at, ok := c.rowidOf(n, middle)
			switch {
			case !ok:
				return false
			case at < rowid:
				low = middle + 1
			case at == rowid:
				low, high = middle, middle
			default:
				high = middle
			}
			middle = int(uint(low+high) / 2)
		}
		n.index = low
		if n.leaf {
			return c.settle()
		}
		number, ok := c.child(n, low)
		if !ok || !c.push(number) {
			return false
		}
	}
}

// guess is the cell of a rowid if the rowids of a leaf have no gaps, as is usual: it saves most
// steps of the binary search, each of which is a cache miss.
func (c *cursor) guess(n *node, rowid int64) int {
	first, ok := c.rowidOf(n, 0)
	if distance := uint64(rowid) - uint64(first); ok && rowid >= first && distance < uint64(n.cells) {
		return int(distance)
	}
	return n.cells / 2
}

// currentRowid is the rowid at the cursor, without loading the record.
func (c *cursor) currentRowid() (int64, bool) {
	n := &c.stack[c.depth-1]
	return c.rowidOf(n, n.index)
}

// leaf is the node at the cursor; in an index it may be an interior one.
func (c *cursor) leaf() *node { return &c.stack[c.depth-1] }

// prefetchNext asks for the leaf after the current one while this one is worked on: a scan
// otherwise waits for memory at every page, which was a third of its time.
func (c *cursor) prefetchNext() {
	if c.depth < 2 {
		return
	}
	parent := &c.stack[c.depth-2]
	if parent.index >= parent.cells {
		return
	}
	number := parent.right
	if parent.index+1 < parent.cells {
		at := int(binary.BigEndian.Uint16(parent.pointer[2*parent.index+2:]))
		if at+4 > len(parent.data) {
			return // damaged: whoever goes there reports it
		}
		number = binary.BigEndian.Uint32(parent.data[at:])
	}
	if page := c.pager.page(number); page != nil {
		prefetchLines(&page[0], min(len(page)/cacheLineBytes, maximumPrefetch))
	}
}

// load binds the record to the current entry.
func (c *cursor) load() bool {
	n := &c.stack[c.depth-1]
	return c.loadCell(n, n.index)
}

// loadCell binds the record to a cell.
func (c *cursor) loadCell(n *node, index int) bool {
	at := int(binary.BigEndian.Uint16(n.pointer[2*index:]))
	if at < n.content {
		return c.fail(n.number, "cell %d: pointer %d is inside the page header", index, at)
	}
	if !n.leaf {
		at += childBytes
	}
	// Two bytes are the least that a cell has; at this point at+1 is what must be in the page.
	if at+1 >= len(n.data) {
		return c.fail(n.number, "cell %d: pointer %d is outside the page", index, at)
	}
	if !c.bind(n.number, n.data, at) {
		return false
	}
	// Each cell is bound once or twice on a visit. Many cells that share their bytes would make
	// an answer thousands of times the size of the file.
	if n.taken += len(c.rec.local); n.taken > maximumOverlap*len(n.data) {
		return c.rec.fail("overlaps other cells")
	}
	return true
}

// loadAgain binds the record to a cell that was bound before, by the place it then had.
func (c *cursor) loadAgain(place uint64) bool {
	number := uint32(place >> 16)
	data := c.pager.page(number)
	if data == nil {
		return c.fail(number, "is beyond the end (the file has %d pages)", c.pager.pageCount)
	}
	return c.bind(number, data, int(place&0xffff))
}

// prefetchAgain asks for the memory that loadAgain will need.
func (c *cursor) prefetchAgain(place uint64) {
	if data := c.pager.page(uint32(place >> 16)); data != nil {
		prefetchLines(&data[place&0xffff], 2)
	}
}

// bind parses a cell: payload size, rowid, and how much of the payload is on the page.
func (c *cursor) bind(number uint32, data []byte, at int) bool {
	r := c.rec
	r.page, r.start = number, at
	size := int(data[at])
	if size < 0x80 {
		at++
	} else {
		payload, length := varint(data[at:])
		if length == 0 {
			return r.fail("ends inside its payload size")
		}
		if payload > maximumPayload || payload > uint64(len(c.pager.data)) {
			return r.fail("payload of %d bytes is larger than the file", payload)
		}
		size = int(payload)
		at += length
	}
	limit := c.pager.maxLocal
	if c.isIndex {
		limit = c.pager.maxIndex
	} else {
		rowid, length := varint(data[at:])
		if length == 0 {
			return r.fail("ends inside its rowid")
		}
		r.rowid = int64(rowid)
		at += length
	}
	if size <= limit {
		if at+size > len(data) {
			return r.fail("payload of %d bytes leaves the page", size)
		}
		r.reset(data[at:at+size], size, 0)
		return r.err == nil
	}
	return c.bindSpilled(data, at, size, limit)
}

// bindSpilled binds the record to a payload that continues on overflow pages.
func (c *cursor) bindSpilled(data []byte, at, size, limit int) bool {
	local := c.pager.minLocal + (size-c.pager.minLocal)%(c.pager.usable-4)
	if local > limit {
		local = c.pager.minLocal
	}
	if at+local+4 > len(data) {
		return c.rec.fail("payload of %d bytes leaves the page", local)
	}
	c.rec.reset(data[at:at+local], size, binary.BigEndian.Uint32(data[at+local:]))
	return c.rec.err == nil
}

// bound is a position between index entries: before or after those that start with the values.
type bound struct {
	values []value
	index  *index
}

// compare orders the current record of r against the bound, in index order.
func (b *bound) compare(r *record) int {
	for i := range b.values {
		key := &b.index.keys[i]
		v, ok := r.value(i)
		if !ok {
			if r.err == nil {
				r.fail("index entry has only %d fields", r.fields)
			}
			return 0
		}
		if d := compareValues(v, b.values[i], key.collation); d != 0 {
			if key.descending {
				return -d
			}
			return d
		}
	}
	return 0
}

// seekIndex goes to the first entry that is not before the bound; with after, to the first one
// past all entries that start with the bound's values.
func (c *cursor) seekIndex(b *bound, after bool) bool {
	if !c.restart() {
		return false
	}
	for {
		n := &c.stack[c.depth-1]
		low, high := 0, n.cells
		for low < high {
			middle := int(uint(low+high) / 2)
			if !c.loadCell(n, middle) {
				return false
			}
			d := b.compare(c.rec)
			if c.rec.err != nil {
				return false
			}
			if d < 0 || (after && d == 0) {
				low = middle + 1
			} else {
				high = middle
			}
		}
		n.index = low
		if n.leaf {
			return c.settle()
		}
		number, ok := c.child(n, low)
		if !ok || !c.push(number) {
			return false
		}
	}
}
