package main

import (
	"strings"
	"testing"
)

func TestBothWaysToGiveAValue(t *testing.T) {
	request, err := parseOptions([]string{"--input=a=b", "--top", "3", "--repeats=2"})
	if err != nil || request.inputPath != "a=b" || request.top != 3 || request.repeats != 2 {
		t.Errorf("got %+v, %v", request, err)
	}
}

func TestBadUsageIsRefused(t *testing.T) {
	for _, test := range []struct{ arguments, want string }{
		{"", "--input is missing"},
		{"--input", "--input needs a value"},
		{"--input=", "--input needs a value"},
		{"--input f --output=", "--output needs a value"},
		{"--nonsense", `unknown option: "--nonsense"`},
		{"f", `unknown option: "f"`},
		{"--version=1", "takes no value"},
		{"--top 0", "not a whole number"},
		{"--top x", `--top "x"`},
		{"--top 1000001", "from 1 to 1000000"},
		{"--repeats +1", "not a whole number"},
		{"--repeats 1000000001", "not a whole number"},
		{"--repeats 99999999999999999999", "not a whole number"},
	} {
		if _, err := parseOptions(strings.Fields(test.arguments)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.arguments, err, test.want)
		}
	}
}
