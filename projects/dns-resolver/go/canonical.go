package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

var typeNames = map[uint16]string{
	typeA: "A", typeNS: "NS", typeCNAME: "CNAME", typeSOA: "SOA", typePTR: "PTR", typeMX: "MX", typeTXT: "TXT",
	typeAAAA: "AAAA", typeSRV: "SRV",
}

var rcodeNames = map[uint16]string{
	rcodeNoError: "NOERROR", rcodeFormErr: "FORMERR", rcodeServFail: "SERVFAIL", rcodeNXDomain: "NXDOMAIN",
	rcodeNotImp: "NOTIMP", rcodeRefused: "REFUSED", rcodeYXDomain: "YXDOMAIN",
}

// parseType reads a type: a name we know, or TYPE and a number.
func parseType(text string) (uint16, bool) {
	upper := strings.ToUpper(text)
	for qtype, known := range typeNames {
		if known == upper {
			return qtype, true
		}
	}
	digits, isNumber := strings.CutPrefix(upper, "TYPE")
	number, err := strconv.ParseUint(digits, 10, 16)
	return uint16(number), isNumber && err == nil
}

func appendType(to []byte, qtype uint16) []byte {
	if known := typeNames[qtype]; known != "" {
		return append(to, known...)
	}
	return strconv.AppendUint(append(to, "TYPE"...), uint64(qtype), 10)
}

// appendCanonical writes the line that an answer is in the output.
func appendCanonical(to []byte, q question, b body) []byte {
	a := decode(q, b)
	to = q.name.appendText(to)
	to = appendType(append(to, ' '), q.qtype)
	to = append(to, ' ')
	if known := rcodeNames[a.rcode]; known != "" {
		to = append(to, known...)
	} else {
		to = strconv.AppendUint(append(to, "RCODE"...), uint64(a.rcode), 10)
	}
	separator := " "
	for i := range a.records {
		if a.records[i].qtype == typeDNAME && q.qtype != typeDNAME {
			continue // the CNAME made from it says the same
		}
		to = appendSet(to, &a.records[i], &separator)
	}
	if separator == " " {
		to = append(to, " -"...)
	}
	return append(to, '\n')
}

// appendSet writes the records of a set in their canonical order, that of RFC 4034.
func appendSet(to []byte, set *rrset, separator *string) []byte {
	for _, data := range set.data {
		lowerNames(set.qtype, data)
	}
	slices.SortFunc(set.data, bytes.Compare)
	for _, data := range set.data {
		to = append(to, *separator...)
		*separator = " ; "
		to = set.owner.appendText(to)
		to = appendType(append(to, ' '), set.qtype)
		to = appendDataText(append(to, ' '), set.qtype, data)
	}
	return to
}

// lowerNames lowers the names in the data of a record, which has no other letters around them.
func lowerNames(qtype uint16, data []byte) {
	switch qtype {
	case typeNS, typeCNAME, typePTR:
		lowerBytes(data)
	case typeMX:
		lowerBytes(data[2:])
	case typeSRV:
		lowerBytes(data[6:])
	case typeSOA:
		lowerBytes(data[:len(data)-20])
	}
}

// appendDataText writes the data of a record as master files have it.
func appendDataText(to []byte, qtype uint16, data []byte) []byte {
	switch qtype {
	case typeA, typeAAAA:
		address, _ := netip.AddrFromSlice(data) // its length was checked when it came
		return address.AppendTo(to)
	case typeNS, typeCNAME, typePTR:
		return name(data).appendText(to)
	case typeMX:
		return name(data[2:]).appendText(appendNumbers(to, data[:2], 2))
	case typeSRV:
		return name(data[6:]).appendText(appendNumbers(to, data[:6], 2))
	case typeSOA:
		server := firstName(data)
		mail := name(data[len(server) : len(data)-20])
		to = append(server.appendText(to), ' ')
		to = append(mail.appendText(to), ' ')
		to = appendNumbers(to, data[len(data)-20:], 4)
		return to[:len(to)-1]
	case typeTXT:
		return appendStrings(to, data)
	}
	to = strconv.AppendUint(append(to, `\# `...), uint64(len(data)), 10)
	if len(data) > 0 {
		to = hex.AppendEncode(append(to, ' '), data)
	}
	return to
}

// appendNumbers writes numbers of so many bytes, each with a space behind it.
func appendNumbers(to, data []byte, size int) []byte {
	for ; len(data) > 0; data = data[size:] {
		number := uint64(binary.BigEndian.Uint16(data))
		if size == 4 {
			number = uint64(binary.BigEndian.Uint32(data))
		}
		to = append(strconv.AppendUint(to, number, 10), ' ')
	}
	return to
}

// appendStrings writes the strings of a text, each in quotes.
func appendStrings(to, data []byte) []byte {
	for len(data) > 0 {
		end := 1 + int(data[0])
		to = append(to, '"')
		for _, c := range data[1:end] {
			switch {
			case c == '"' || c == '\\':
				to = append(to, '\\', c)
			case c < ' ' || c > '~':
				to = appendDecimal(to, c)
			default:
				to = append(to, c)
			}
		}
		to = append(to, '"', ' ')
		data = data[end:]
	}
	return to[:len(to)-1]
}
