package main

import (
	"strings"
	"testing"
)

func TestBothWaysToGiveAValue(t *testing.T) {
	request, err := parseOptions([]string{"--server=[::1]:80", "--keys", "a=b", "--pipeline=3", "--repeats", "2"})
	if err != nil || request.server.String() != "[::1]:80" || request.keysPath != "a=b" || request.pipeline != 3 || request.repeats != 2 {
		t.Errorf("got %+v, %v", request, err)
	}
}

func TestBadUsageIsRefused(t *testing.T) {
	for _, test := range []struct{ arguments, want string }{
		{"", "--server is missing"},
		{"--server", "--server needs a value"},
		{"--server nowhere", `--server "nowhere"`},
		{"--server 127.0.0.1:0", "127.0.0.1:0"},
		{"--server 127.0.0.1:65536", "65536"},
		{"--server 127.0.0.1:1", "--keys is missing"},
		{"--keys=", "--keys needs a value"},
		{"--output=", "--output needs a value"},
		{"--nonsense", `unknown option: "--nonsense"`},
		{"--version=1", "takes no value"},
		{"--pipeline 0", "from 1 to 64"},
		{"--pipeline 65", `--pipeline "65"`},
		{"--repeats x", `--repeats "x"`},
	} {
		if _, err := parseOptions(strings.Fields(test.arguments)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.arguments, err, test.want)
		}
	}
}
