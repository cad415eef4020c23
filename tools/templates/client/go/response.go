package main

import (
	"bytes"
	"errors"
	"strconv"
)

// response is what a head says.
type response struct {
	status int
	length int64 // of the body; -1: it is not said
	closes bool  // the connection, behind the body
}

var errNoResponse = errors.New("sent something that is no HTTP/1.1 response")

// maxHeadLines bounds a head, whose lines are bounded too.
const maxHeadLines = 200

// readResponse reads the head of a response.
func readResponse(lines func() ([]byte, error)) (found response, err error) {
	line, err := lines()
	if err != nil {
		return found, err
	}
	if found, err = parseStatusLine(line); err != nil {
		return found, err
	}
	for range maxHeadLines {
		if line, err = lines(); err != nil || len(line) == 0 {
			return found, err
		}
		if err = found.readField(line); err != nil {
			return found, err
		}
	}
	return found, errNoResponse
}

func parseStatusLine(line []byte) (response, error) {
	found := response{length: -1}
	rest, isNew := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !isNew {
		rest, found.closes = bytes.CutPrefix(line, []byte("HTTP/1.0 "))
	}
	if !isNew && !found.closes || len(rest) < 3 || len(rest) > 3 && rest[3] != ' ' {
		return found, errNoResponse
	}
	for _, digit := range rest[:3] {
		if digit < '0' || digit > '9' {
			return found, errNoResponse
		}
		found.status = found.status*10 + int(digit-'0')
	}
	return found, nil
}

// readField reads a header line. Only what frames the response matters here.
func (r *response) readField(line []byte) (err error) {
	name, value, hasColon := bytes.Cut(line, []byte{':'})
	if !hasColon {
		return errNoResponse
	}
	value = bytes.Trim(value, " \t")
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		length, err := strconv.ParseUint(string(value), 10, 63)
		if err != nil {
			return errNoResponse
		}
		r.length = int64(length)
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		return errors.New("sent a body without a Content-Length")
	case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(value, []byte("close")):
		r.closes = true
	}
	return nil
}
