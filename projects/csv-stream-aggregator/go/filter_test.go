package main

import "testing"

func TestConditionsSplitAtTheFirstOperator(t *testing.T) {
	for _, test := range []struct {
		source, column string
		operator       comparison
		text           string
		number         decimal
	}{
		{"a=b", "a", equal, "b", decimal{}},
		{"a  =  b ", "a", equal, "b ", decimal{}},
		{" a b != <>=", " a b", notEqual, "<>=", decimal{}},
		{"a=!5", "a", equal, "!5", decimal{}},
		{"=", "", equal, "", decimal{}},
		{"a<1.5", "a", less, "1.5", decimal{15, 1}},
		{"a <= -1", "a", lessOrEqual, "-1", decimal{-1, 0}},
		{"a>1e2", "a", greater, "1e2", decimal{100, 0}},
		{"a>=0", "a", greaterOrEqual, "0", decimal{0, 0}},
	} {
		got, err := parseCondition(test.source)
		if err != nil || got.columnName != test.column || got.operator != test.operator ||
			string(got.text) != test.text || got.number != test.number {
			t.Errorf("%q: got %+v, %v", test.source, got, err)
		}
	}
	for _, source := range []string{"", "a", "a!b", "a<b", "a<", "a<=>1", "a>1e30"} {
		if _, err := parseCondition(source); err == nil {
			t.Errorf("%q must fail", source)
		}
	}
}

func TestAnEmptyFieldMatchesNoOrder(t *testing.T) {
	row := &record{[]byte(",x,1.50"), 0, []uint32{0, 2, 7}}
	for _, test := range []struct {
		source string
		column int
		want   bool
		status numberStatus
	}{
		{"c < 1", 0, false, numberOK},
		{"c >= 1", 0, false, numberOK},
		{"c =", 0, true, numberOK},
		{"c > 1", 1, false, numberMalformed},
		{"c = 1.5", 2, false, numberOK},
		{"c >= 1.5", 2, true, numberOK},
		{"c > 1.5", 2, false, numberOK},
	} {
		condition, err := parseCondition(test.source)
		if err != nil {
			t.Fatal(err)
		}
		condition.column = test.column
		var scratch []byte
		if got, status := condition.holds(row, &scratch); got != test.want || status != test.status {
			t.Errorf("%s on column %d: got %v %v", test.source, test.column, got, status)
		}
	}
}
