package main

import (
	"slices"
	"strconv"
	"strings"
)

// function is what --agg can ask for.
type function uint8

const (
	countRows function = iota
	countValues
	sumOf
	minOf
	maxOf
	meanOf
)

// isNumeric says whether the function needs its column to be numbers.
func (f function) isNumeric() bool { return f >= sumOf }

// aggregate is one item of --agg.
type aggregate struct {
	function   function
	label      string // sum, min ...
	columnName string
}

// parseAggregates reads count,sum:COL,...
func parseAggregates(source string) ([]aggregate, error) {
	functions := map[string]function{
		"count": countValues, "sum": sumOf, "min": minOf, "max": maxOf, "mean": meanOf,
	}
	var parsed []aggregate
	for item := range strings.SplitSeq(source, ",") {
		label, columnName, hasColumn := strings.Cut(item, ":")
		function, known := functions[label]
		switch {
		case !known:
			return nil, badRequest("--agg %s: unknown function %s (count sum min max mean)", quoteValue(source), quoteValue(label))
		case hasColumn && columnName == "":
			return nil, badRequest("--agg %s: %s: without a column", quoteValue(source), label)
		case !hasColumn && label != "count":
			return nil, badRequest("--agg %s: %s needs a column, as in %s:COL", quoteValue(source), label, label)
		case !hasColumn:
			function = countRows
		}
		parsed = append(parsed, aggregate{function, label, columnName})
	}
	return parsed, nil
}

// plannedAggregate is an aggregate with its place among the group's columns.
type plannedAggregate struct {
	function function
	slot     int
}

// valueColumn is one column that is aggregated, however often.
type valueColumn struct {
	column                 int
	isNumeric, needsBounds bool
}

// plan is the request resolved against the header of one input.
type plan struct {
	columnNames  []string
	groupColumns []int
	conditions   []condition
	valueColumns []valueColumn
	aggregates   []plannedAggregate
	outputNames  []string
}

// newPlan finds every named column. The errors name the column, not yet the file.
func newPlan(request *options, columnNames []string) (*plan, error) {
	p := &plan{columnNames: columnNames}
	for _, name := range request.groupBy {
		column, err := p.resolve(name)
		if err != nil {
			return nil, err
		}
		p.groupColumns = append(p.groupColumns, column)
		p.outputNames = append(p.outputNames, name)
	}
	for _, wanted := range request.aggregates {
		if err := p.addAggregate(wanted); err != nil {
			return nil, err
		}
	}
	for _, wanted := range request.conditions {
		column, err := p.resolve(wanted.columnName)
		if err != nil {
			return nil, err
		}
		wanted.column = column
		p.conditions = append(p.conditions, wanted)
	}
	return p, nil
}

func (p *plan) addAggregate(wanted aggregate) error {
	if wanted.function == countRows {
		p.aggregates = append(p.aggregates, plannedAggregate{function: countRows})
		p.outputNames = append(p.outputNames, wanted.label)
		return nil
	}
	column, err := p.resolve(wanted.columnName)
	if err != nil {
		return err
	}
	slot := slices.IndexFunc(p.valueColumns, func(v valueColumn) bool { return v.column == column })
	if slot < 0 {
		slot = len(p.valueColumns)
		p.valueColumns = append(p.valueColumns, valueColumn{column: column})
	}
	value := &p.valueColumns[slot]
	value.isNumeric = value.isNumeric || wanted.function.isNumeric()
	value.needsBounds = value.needsBounds || wanted.function == minOf || wanted.function == maxOf
	p.aggregates = append(p.aggregates, plannedAggregate{wanted.function, slot})
	p.outputNames = append(p.outputNames, wanted.label+"_"+wanted.columnName)
	return nil
}

// resolve finds a column by name; a name that is used must be there once.
func (p *plan) resolve(name string) (int, error) {
	column := slices.Index(p.columnNames, name)
	if column < 0 {
		return 0, badRequest("unknown column: %s", quoteValue(name))
	}
	if slices.Contains(p.columnNames[column+1:], name) {
		return 0, badRequest("duplicate column: %s", quoteValue(name))
	}
	return column, nil
}

// numberedColumns are the names of columns without a header: 1, 2, ...
func numberedColumns(count int) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = strconv.Itoa(i + 1)
	}
	return names
}
