package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

const (
	exitMachine = 1 // the machine failed the job
	exitInput   = 2 // bad usage or bad input

	headerBytes        = 100
	walHeaderBytes     = 32
	minimumUsableBytes = 480
	maximumPayload     = 1<<31 - 1 // SQLite's own limit for one row
)

// failure is an error with the exit code that it deserves.
type failure struct {
	code int
	text string
}

func (f *failure) Error() string { return f.text }

func badInput(format string, arguments ...any) error {
	return &failure{exitInput, fmt.Sprintf(format, arguments...)}
}

func machineFailed(format string, arguments ...any) error {
	return &failure{exitMachine, fmt.Sprintf(format, arguments...)}
}

// pager is one mapped database file. Nothing in the file is trusted: every page number that
// comes out of it goes through page, every length is checked where it is read.
type pager struct {
	path      string
	data      []byte // the mapping
	pageBytes int
	usable    int // bytes of a page that hold content
	pageCount uint32
	maxLocal  int // largest payload that stays wholly on a table leaf
	minLocal  int
	maxIndex  int // the same for index pages
}

// openPager maps the file and checks everything that can be checked before a page is read.
func openPager(path string) (*pager, error) {
	data, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	p := &pager{path: path, data: data}
	err = p.checkSidecars()
	if err == nil {
		err = p.checkHeader()
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pager) close() {
	if p.data != nil {
		_ = syscall.Munmap(p.data) // fails only for a mapping that is not one
		p.data = nil
	}
}

// mapFile maps a regular file read-only. An empty file gives an empty slice.
func mapFile(path string) ([]byte, error) {
	// O_NONBLOCK: opening a FIFO must not hang.
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, openError(path, err)
	}
	defer syscall.Close(fd)
	var status syscall.Stat_t
	if err := syscall.Fstat(fd, &status); err != nil {
		return nil, machineFailed("%s: %v", path, err)
	}
	if status.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil, badInput("%s: not a regular file", path)
	}
	if status.Size == 0 {
		return nil, nil
	}
	data, err := syscall.Mmap(fd, 0, int(status.Size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, machineFailed("%s: cannot map: %v", path, err)
	}
	return data, nil
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission),
		errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR),
		errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP),
		errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENXIO):
		return badInput("%s: %v", path, err)
	}
	return machineFailed("%s: %v", path, err)
}

// checkSidecars refuses a database whose content is not in its file alone: a write-ahead log
// with a frame, or a hot rollback journal.
func (p *pager) checkSidecars() error {
	var status syscall.Stat_t
	if syscall.Stat(p.path+"-wal", &status) == nil && status.Size > walHeaderBytes {
		return badInput("%s: the write-ahead log %s-wal has content: checkpoint it first", p.path, p.path)
	}
	if syscall.Stat(p.path+"-journal", &status) != nil || status.Size == 0 {
		return nil
	}
	journal, err := os.Open(p.path + "-journal")
	if err != nil {
		return openError(p.path+"-journal", err)
	}
	defer journal.Close()
	var magic [8]byte
	count, _ := journal.Read(magic[:]) // a short or failed read is not a valid header
	if count == len(magic) && string(magic[:]) == "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" {
		return badInput("%s: hot rollback journal %s-journal: recover the database first", p.path, p.path)
	}
	return nil
}

func (p *pager) checkHeader() error {
	h := p.data
	if len(h) == 0 {
		return nil // an empty database
	}
	if len(h) < headerBytes || string(h[:16]) != "SQLite format 3\x00" {
		return badInput("%s: file is not a database (or it is encrypted)", p.path)
	}
	p.pageBytes = int(binary.BigEndian.Uint16(h[16:]))
	if p.pageBytes == 1 {
		p.pageBytes = 65536
	}
	if p.pageBytes < 512 || p.pageBytes&(p.pageBytes-1) != 0 {
		return badInput("%s: header: page size %d is not a power of two from 512 to 65536", p.path, p.pageBytes)
	}
	if h[19] > 2 {
		return badInput("%s: header: file format version %d is not known", p.path, h[19])
	}
	p.usable = p.pageBytes - int(h[20])
	if p.usable < minimumUsableBytes {
		return badInput("%s: header: %d reserved bytes leave too little of a page", p.path, h[20])
	}
	if h[21] != 64 || h[22] != 32 || h[23] != 32 {
		return badInput("%s: header: payload fractions %d/%d/%d are not 64/32/32", p.path, h[21], h[22], h[23])
	}
	if format := binary.BigEndian.Uint32(h[44:]); format > 4 {
		return badInput("%s: header: schema format %d is not known", p.path, format)
	}
	switch encoding := binary.BigEndian.Uint32(h[56:]); encoding {
	case 0, 1:
	case 2, 3:
		return badInput("%s: header: text encoding UTF-16 is not supported", p.path)
	default:
		return badInput("%s: header: text encoding %d is not known", p.path, encoding)
	}
	p.maxLocal = p.usable - 35
	p.minLocal = (p.usable-12)*32/255 - 23
	p.maxIndex = (p.usable-12)*64/255 - 23
	return p.checkSize()
}

// checkSize finds the page count: the header's when it is valid, else that of the file.
func (p *pager) checkSize() error {
	whole := uint64(len(p.data) / p.pageBytes)
	if whole > 1<<32-2 {
		whole = 1<<32 - 2
	}
	count := uint64(binary.BigEndian.Uint32(p.data[28:]))
	if count == 0 || string(p.data[24:28]) != string(p.data[92:96]) {
		count = whole
	}
	if count > whole {
		return badInput("%s: truncated: header says %d pages of %d bytes, the file has %d bytes",
			p.path, count, p.pageBytes, len(p.data))
	}
	if count == 0 {
		return badInput("%s: truncated: %d bytes are less than one page of %d", p.path, len(p.data), p.pageBytes)
	}
	p.pageCount = uint32(count)
	return nil
}

// page gives the usable bytes of a page, or nil when there is no such page.
func (p *pager) page(number uint32) []byte {
	if number-1 >= p.pageCount { // 0 wraps around
		return nil
	}
	begin := int(number-1) * p.pageBytes
	return p.data[begin : begin+p.usable : begin+p.usable]
}

// corrupt makes the error for a damaged page.
func (p *pager) corrupt(page uint32, format string, arguments ...any) error {
	return badInput("%s: page %d: %s", p.path, page, fmt.Sprintf(format, arguments...))
}
