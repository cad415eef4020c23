package main

import (
	"bufio"
	"errors"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	standardStream = "-"
	// compressedBlockBytes is the size of one read in front of a decompressor.
	compressedBlockBytes = 64 << 10
	// maxZstdWindowBytes refuses frames that ask for more memory than we promise to use.
	maxZstdWindowBytes = 32 << 20
)

// compression names how the input is packed.
type compression string

const (
	compressionAuto compression = "auto"
	compressionNone compression = "none"
	compressionGzip compression = "gzip"
	compressionZstd compression = "zstd"
)

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// source reads the text of one input, decompressed. It is reused between
// repeats: the decoders keep their tables, never their data.
type source struct {
	path       string
	file       *os.File
	fileError  error // what the file itself failed with, to tell it from corrupt data
	packed     compression
	buffered   *bufio.Reader
	gzipReader *gzip.Reader
	zstdReader *zstd.Decoder
	text       io.Reader
}

// open starts from the first byte of the file.
func (s *source) open(path string, packed compression) error {
	s.path, s.fileError, s.file = path, nil, os.Stdin
	if path != standardStream {
		file, err := os.Open(path)
		if err != nil {
			return pathFailure(path, err)
		}
		s.file = file
	}
	if s.buffered == nil {
		s.buffered = bufio.NewReaderSize(nil, compressedBlockBytes)
	}
	s.buffered.Reset(fileReader{s})
	if packed == compressionAuto {
		packed = s.detect()
	}
	s.packed = packed
	return s.unpack()
}

// detect decides by the magic bytes. A read error here comes back at the next read.
func (s *source) detect() compression {
	head, _ := s.buffered.Peek(len(zstdMagic))
	switch {
	case len(head) >= len(gzipMagic) && string(head[:len(gzipMagic)]) == string(gzipMagic):
		return compressionGzip
	case string(head) == string(zstdMagic):
		return compressionZstd
	}
	return compressionNone
}

func (s *source) unpack() (err error) {
	switch s.packed {
	case compressionGzip:
		if s.gzipReader == nil {
			s.gzipReader, err = gzip.NewReader(s.buffered)
		} else {
			err = s.gzipReader.Reset(s.buffered)
		}
		s.text = s.gzipReader
	case compressionZstd:
		if s.zstdReader == nil {
			s.zstdReader, err = zstd.NewReader(s.buffered,
				zstd.WithDecoderConcurrency(1), // decodes inside Read: no goroutines
				zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(maxZstdWindowBytes))
		} else {
			err = s.zstdReader.Reset(s.buffered)
		}
		s.text = s.zstdReader
	default:
		s.text = s.buffered
	}
	return s.explain(err)
}

// read fills the whole block unless the input ends; atEnd says that it did.
func (s *source) read(block []byte) (count int, atEnd bool, err error) {
	for count < len(block) {
		got, err := s.text.Read(block[count:])
		count += got
		if err == io.EOF {
			return count, true, nil
		}
		if err != nil {
			return count, false, s.explain(err)
		}
	}
	return count, false, nil
}

// explain says whose fault a read error is: the file's, or that of the data in it.
func (s *source) explain(err error) error {
	if err == nil {
		return nil
	}
	if s.fileError != nil || s.packed == compressionNone {
		return pathFailure(s.path, err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return badRequest("%s: truncated %s data", escape(s.path), s.packed)
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return badRequest("%s: zstd window of more than %d bytes", escape(s.path), maxZstdWindowBytes)
	}
	return badRequest("%s: corrupt %s data: %s", escape(s.path), s.packed, escape(err.Error()))
}

func (s *source) close() {
	if s.file != nil && s.file != os.Stdin {
		_ = s.file.Close() // it was only read
	}
	s.file = nil
}

// fileReader remembers the error of the file below the decompressor.
type fileReader struct{ source *source }

func (r fileReader) Read(block []byte) (int, error) {
	count, err := r.source.file.Read(block)
	if err != nil && err != io.EOF {
		r.source.fileError = err
	}
	return count, err
}
