package main

import (
	"slices"
	"testing"
)

func stateOf(values ...string) (state columnState, err error) {
	for _, value := range values {
		number, _ := parseDecimal([]byte(value))
		if err := state.add(number, true); err != nil {
			return state, err
		}
	}
	return state, nil
}

func TestSumsAndBoundsTakeTheLargestScale(t *testing.T) {
	state, err := stateOf("1.50", "-3", "2.5", "0.125")
	if err != nil || state.sum != int128From(1125) || state.scale != 3 || state.count != 4 ||
		state.bound(state.min, state.minScale) != int128From(-3000) ||
		state.bound(state.max, state.maxScale) != int128From(2500) {
		t.Errorf("got %+v, %v", state, err)
	}
}

func TestSumsEndAt128Bits(t *testing.T) {
	const most, least = "999999999999999999", "0.000000000000000001"
	for _, test := range []struct {
		values []string
		ok     bool
	}{
		{append([]string{least}, slices.Repeat([]string{most}, 170)...), true},
		{append([]string{least}, slices.Repeat([]string{most}, 171)...), false},
		{append([]string{least}, slices.Repeat([]string{"-" + most}, 171)...), false},
		{slices.Repeat([]string{most}, 171), true},
		{append(slices.Repeat([]string{most}, 171), least), false},
	} {
		if _, err := stateOf(test.values...); (err == nil) != test.ok {
			t.Errorf("%d values from %s: got %v", len(test.values), test.values[0], err)
		}
	}
}
