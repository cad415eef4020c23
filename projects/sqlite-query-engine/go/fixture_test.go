package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fixture writes small databases, so that the tests need neither SQLite nor a file in the tree.
type fixture struct {
	pageBytes int
	pages     [][]byte
	schema    [][]byte // cells of the schema's leaf
}

func newFixture(pageBytes int) *fixture {
	f := &fixture{pageBytes: pageBytes}
	f.newPage() // page 1 is written by bytes
	return f
}

func (f *fixture) newPage() uint32 {
	f.pages = append(f.pages, make([]byte, f.pageBytes))
	return uint32(len(f.pages))
}

func appendVarint(b []byte, v uint64) []byte {
	if v >= 1<<56 {
		for shift := 57; shift > 1; shift -= 7 {
			b = append(b, byte(v>>shift)|0x80)
		}
		return append(b, byte(v))
	}
	for shift := 49; shift > 0; shift -= 7 {
		if v>>shift > 0 {
			b = append(b, byte(v>>shift)|0x80)
		}
	}
	return append(b, byte(v&0x7f))
}

// encodeRecord makes a record of nil, int, float64, string and []byte.
func encodeRecord(values ...any) []byte {
	var types, body []byte
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			types = append(types, serialNull)
		case int:
			switch {
			case v == 0:
				types = append(types, serialZero)
			case v == int(int8(v)):
				types, body = append(types, 1), append(body, byte(v))
			case v == int(int16(v)):
				types, body = append(types, 2), binary.BigEndian.AppendUint16(body, uint16(v))
			default:
				types, body = append(types, 6), binary.BigEndian.AppendUint64(body, uint64(v))
			}
		case float64:
			types, body = append(types, serialReal), binary.BigEndian.AppendUint64(body, math.Float64bits(v))
		case string:
			types, body = appendVarint(types, uint64(2*len(v)+13)), append(body, v...)
		case []byte:
			types, body = appendVarint(types, uint64(2*len(v)+12)), append(body, v...)
		default:
			panic(fmt.Sprintf("no record has a %T", v))
		}
	}
	head := appendVarint(nil, uint64(len(types)+1)) // tests keep headers below 128 bytes
	return append(append(head, types...), body...)
}

// spill adds a payload to a cell, with its tail on overflow pages as the format asks.
func (f *fixture) spill(cell, payload []byte, limit int) []byte {
	if len(payload) <= limit {
		return append(cell, payload...)
	}
	least := (f.pageBytes-12)*32/255 - 23
	local := least + (len(payload)-least)%(f.pageBytes-4)
	if local > limit {
		local = least
	}
	cell = append(cell, payload[:local]...)
	rest := payload[local:]
	number := f.newPage()
	cell = binary.BigEndian.AppendUint32(cell, number)
	for {
		page := f.pages[number-1]
		count := copy(page[4:], rest)
		if rest = rest[count:]; len(rest) == 0 {
			return cell
		}
		number = f.newPage()
		binary.BigEndian.PutUint32(page, number)
	}
}

func (f *fixture) tableCell(rowid int, payload []byte) []byte {
	cell := appendVarint(nil, uint64(len(payload)))
	cell = appendVarint(cell, uint64(rowid))
	return f.spill(cell, payload, f.pageBytes-35)
}

func (f *fixture) indexCell(payload []byte) []byte {
	return f.spill(appendVarint(nil, uint64(len(payload))), payload, (f.pageBytes-12)*64/255-23)
}

// fill lays cells out on a page.
func fill(page []byte, header int, kind byte, right uint32, cells [][]byte) {
	page[header] = kind
	binary.BigEndian.PutUint16(page[header+3:], uint16(len(cells)))
	at, pointer := len(page), header+8
	if right != 0 {
		binary.BigEndian.PutUint32(page[header+8:], right)
		pointer += 4
	}
	for _, cell := range cells {
		at -= len(cell)
		copy(page[at:], cell)
		binary.BigEndian.PutUint16(page[pointer:], uint16(at))
		pointer += 2
	}
	binary.BigEndian.PutUint16(page[header+5:], uint16(at))
}

// table builds a two-level table b-tree; the rows are records with rowids from 1 on.
func (f *fixture) table(perLeaf int, rows [][]byte) uint32 {
	root := f.newPage()
	var cells [][]byte
	right := uint32(0)
	for begin := 0; begin < len(rows); begin += perLeaf {
		end := min(begin+perLeaf, len(rows))
		var leaf [][]byte
		for i := begin; i < end; i++ {
			leaf = append(leaf, f.tableCell(i+1, rows[i]))
		}
		number := f.newPage()
		fill(f.pages[number-1], 0, pageTableLeaf, 0, leaf)
		if right = number; end < len(rows) {
			cells = append(cells, appendVarint(binary.BigEndian.AppendUint32(nil, number), uint64(end)))
		}
	}
	fill(f.pages[root-1], 0, pageTableInterior, right, cells)
	return root
}

// index builds a two-level index b-tree of sorted entries, one of which stands between leaves.
func (f *fixture) index(perLeaf int, entries [][]byte) uint32 {
	root := f.newPage()
	var cells [][]byte
	right := uint32(0)
	for begin := 0; begin < len(entries); {
		end := min(begin+perLeaf, len(entries))
		if end == len(entries)-1 { // it would be an entry with no leaf after it
			end++
		}
		var leaf [][]byte
		for _, entry := range entries[begin:end] {
			leaf = append(leaf, f.indexCell(entry))
		}
		number := f.newPage()
		fill(f.pages[number-1], 0, pageIndexLeaf, 0, leaf)
		if right = number; end < len(entries) {
			cells = append(cells, append(binary.BigEndian.AppendUint32(nil, number), f.indexCell(entries[end])...))
			end++
		}
		begin = end
	}
	fill(f.pages[root-1], 0, pageIndexInterior, right, cells)
	return root
}

func (f *fixture) declare(kind, name, table string, root uint32, sql string) {
	f.schema = append(f.schema, f.tableCell(len(f.schema)+1, encodeRecord(kind, name, table, int(root), sql)))
}

// bytes finishes the file.
func (f *fixture) bytes() []byte {
	first := f.pages[0]
	copy(first, "SQLite format 3\x00")
	binary.BigEndian.PutUint16(first[16:], uint16(f.pageBytes))
	copy(first[18:], []byte{1, 1, 0, 64, 32, 32})
	binary.BigEndian.PutUint32(first[28:], uint32(len(f.pages)))
	binary.BigEndian.PutUint32(first[44:], 4)
	binary.BigEndian.PutUint32(first[56:], 1)
	fill(first, headerBytes, pageTableLeaf, 0, f.schema)
	var file []byte
	for _, page := range f.pages {
		file = append(file, page...)
	}
	return file
}

const fixtureRows = 60

// sampleDatabase has a table with an index, overflow rows and short records, and a WITHOUT ROWID
// table.
func sampleDatabase() []byte {
	f := newFixture(512)
	var rows, entries, pairs [][]byte
	for i := 1; i <= fixtureRows; i++ {
		text := fmt.Sprintf("text %d", i)
		if i%20 == 0 {
			text = strings.Repeat("long ", 300)
		}
		row := []any{nil, i % 7, float64(i) / 4, text, i}
		if i <= 5 {
			row = row[:4] // written before ALTER TABLE added the last column
		}
		rows = append(rows, encodeRecord(row...))
	}
	for n := range 7 {
		for i := 1; i <= fixtureRows; i++ {
			if i%7 == n {
				entries = append(entries, encodeRecord(n, i))
			}
		}
	}
	for i := range 40 {
		pairs = append(pairs, encodeRecord(fmt.Sprintf("k%02d", i/4), i%4, float64(i)))
	}
	f.declare("table", "t", "t", f.table(7, rows),
		"CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, r REAL, a TEXT COLLATE NOCASE, later INT DEFAULT 42)")
	f.declare("index", "t_n", "t", f.index(9, entries), "CREATE INDEX t_n ON t(n)")
	f.declare("table", "w", "w", f.index(6, pairs),
		"CREATE TABLE w(v REAL, k TEXT, l INT, PRIMARY KEY(k, l)) WITHOUT ROWID")
	return f.bytes()
}

// ask runs a query on bytes that stand for a file.
func ask(file []byte, sql string) (answer string, items int64, err error) {
	p := &pager{path: "test.db", data: file}
	if err := p.checkHeader(); err != nil {
		return "", 0, err
	}
	out := &renderer{write: func(b []byte) error { answer += string(b); return nil }}
	items, err = p.execute(sql, out)
	out.flush()
	return answer, items, err
}

// fileOf stores bytes as a database file.
func fileOf(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
