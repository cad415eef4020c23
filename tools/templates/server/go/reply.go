package main

import (
	"bytes"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// status is what a reply says first.
type status int

const (
	statusOK status = iota
	statusBadRequest
	statusNotFound
	statusMethodNotAllowed
	statusURITooLong
	statusHeadTooLarge
	statusCount
)

var statusLines = [statusCount]string{
	"200 OK",
	"400 Bad Request",
	"404 Not Found",
	"405 Method Not Allowed\r\nAllow: GET",
	"414 URI Too Long",
	"431 Request Header Fields Too Large",
}

const (
	hashPath    = "/hash/"
	metricsPath = "/metrics"
	plainText   = "text/plain"
	metricsText = "text/plain; version=0.0.4"
)

// appendReply answers a whole request.
func appendReply(out []byte, found *request, closes bool, counts *counters) []byte {
	if !found.isGet {
		return appendError(out, statusMethodNotAllowed, closes, counts)
	}
	if found.hasBody {
		return appendError(out, statusBadRequest, closes, counts)
	}
	path, _, _ := bytes.Cut(found.target, []byte{'?'})
	if string(path) == metricsPath {
		counts.replies[statusOK].Add(1)
		body := counts.text()
		return append(appendHead(out, statusOK, metricsText, len(body), closes), body...)
	}
	text, isHash := bytes.CutPrefix(path, []byte(hashPath))
	if !isHash || bytes.IndexByte(text, '/') >= 0 {
		return appendError(out, statusNotFound, closes, counts)
	}
	counts.replies[statusOK].Add(1)
	return appendHex(appendHead(out, statusOK, plainText, 16, closes), xxhash.Sum64(text))
}

// appendError answers without a body, so that what follows is clear whatever the method was.
func appendError(out []byte, code status, closes bool, counts *counters) []byte {
	counts.replies[code].Add(1)
	return appendHead(out, code, "", 0, closes)
}

func appendHead(out []byte, code status, contentType string, length int, closes bool) []byte {
	out = append(out, "HTTP/1.1 "...)
	out = append(out, statusLines[code]...)
	if contentType != "" {
		out = append(out, "\r\nContent-Type: "...)
		out = append(out, contentType...)
	}
	out = append(out, "\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(length), 10)
	if closes {
		out = append(out, "\r\nConnection: close"...)
	}
	return append(out, "\r\n\r\n"...)
}

func appendHex(out []byte, value uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		out = append(out, "0123456789abcdef"[value>>shift&15])
	}
	return out
}
