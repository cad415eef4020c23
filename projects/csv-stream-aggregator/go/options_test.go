package main

import (
	"strings"
	"testing"
)

func TestBothWaysToGiveAValue(t *testing.T) {
	request, err := parseOptions([]string{"--input=a=b", "--agg", "count", "--repeats=3", "--delimiter", `\t`})
	if err != nil || request.inputPath != "a=b" || request.repeats != 3 || request.delimiter != '\t' {
		t.Errorf("got %+v, %v", request, err)
	}
}

func TestBadUsageIsRefused(t *testing.T) {
	for _, test := range []struct{ arguments, want string }{
		{"--agg count", "--input is missing"},
		{"--input f", "--agg is missing"},
		{"--input f --agg", "--agg needs a value"},
		{"--input= --agg=count", "--input needs a value"},
		{"--nonsense", `unknown option: "--nonsense"`},
		{"f", `unknown option: "f"`},
		{"--no-header=1", "takes no value"},
		{"--repeats 0", "not a whole number"},
		{"--repeats +1", "not a whole number"},
		{"--repeats 1000000001", "not a whole number"},
		{"--delimiter \"", "not one ASCII byte"},
		{"--delimiter=", "not one ASCII byte"},
		{"--format xml", "not one of csv, json"},
		{"--agg median:a", "unknown function"},
		{"--agg sum", "sum needs a column"},
		{"--agg sum:", "without a column"},
		{"--agg count,,count", "unknown function"},
		{"--input=- --agg=count --repeats=2", "cannot be read 2 times"},
	} {
		if _, err := parseOptions(strings.Fields(test.arguments)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.arguments, err, test.want)
		}
	}
}
