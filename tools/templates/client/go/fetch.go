package main

import (
	"errors"
	"net"
	"strconv"
	"syscall"

	"github.com/cespare/xxhash/v2"
)

const statusOK = 200

// fetchAll asks for all keys and appends the answer.
func fetchAll(answer []byte, request *options, keys [][]byte) ([]byte, error) {
	for done := 0; done < len(keys); {
		count, err := 0, error(nil)
		if answer, count, err = fetchSome(answer, request, keys[done:]); err != nil {
			return answer, err
		}
		done += count
	}
	return answer, nil
}

// fetchSome asks over one connection, until all is there or the server closes it behind a reply.
func fetchSome(answer []byte, request *options, keys [][]byte) ([]byte, int, error) {
	server := request.server.String()
	link, err := connect(request.server)
	if err != nil {
		return answer, 0, serverFailure(server, err)
	}
	defer link.close()
	hash := xxhash.New()
	var asked []byte
	sent := 0
	for done, key := range keys {
		if sent-done <= request.pipeline/2 { // half of them come back before more are sent, in one piece
			asked = asked[:0]
			for sent < min(len(keys), done+request.pipeline) {
				asked = appendRequest(asked, keys[sent], server)
				sent++
			}
			if err := link.send(asked); err != nil {
				return answer, done, serverFailure(server, err)
			}
		}
		found, err := readResponse(link.line)
		if err == nil && found.status == statusOK && found.length < 0 {
			err = errors.New("sent a body without a Content-Length")
		}
		if err != nil {
			return answer, done, serverFailure(server, err)
		}
		if found.status != statusOK {
			return answer, done, statusFailure(key, found.status)
		}
		if err := hashBody(link, hash, found.length); err != nil {
			return answer, done, serverFailure(server, err)
		}
		answer = appendLine(answer, key, found.length, hash.Sum64())
		if found.closes {
			return answer, done + 1, nil
		}
	}
	return answer, len(keys), nil
}

func appendRequest(out, key []byte, server string) []byte {
	out = append(out, "GET /"...)
	out = append(out, key...)
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, server...)
	return append(out, "\r\n\r\n"...)
}

func hashBody(link *connection, hash *xxhash.Digest, left int64) error {
	hash.Reset()
	for left > 0 {
		piece, err := link.some(left)
		if err != nil {
			return err
		}
		_, _ = hash.Write(piece) // a hash never fails
		left -= int64(len(piece))
	}
	return nil
}

// appendLine writes one line of the answer.
func appendLine(out, key []byte, length int64, hash uint64) []byte {
	out = append(append(out, key...), ' ')
	out = append(strconv.AppendInt(out, length, 10), ' ')
	for shift := 60; shift >= 0; shift -= 4 {
		out = append(out, "0123456789abcdef"[hash>>shift&15])
	}
	return append(out, '\n')
}

// statusFailure tells a key that is not there from a server that failed.
func statusFailure(key []byte, status int) error {
	if status >= 400 && status < 500 {
		return badRequest("key %s: the server answers %d", quoteValue(string(key)), status)
	}
	return machineFailure("key %s: the server answers %d", quoteValue(string(key)), status)
}

func serverFailure(server string, err error) error {
	var code syscall.Errno
	var late net.Error
	switch {
	case errors.As(err, &code):
		err = code
	case errors.As(err, &late) && late.Timeout():
		err = errors.New("did not answer in time")
	}
	return machineFailure("%s: %v", server, err)
}
