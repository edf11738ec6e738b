package main

import (
	"fmt"
	"math"
)

// base is the path that others are compared with.
const base = "route"

// reportTables are what the measures say: ratios first, for they are the result.
func reportTables(data *results) []table {
	const quarters = " (median [25% - 75%] of the rounds)"
	tables := []table{
		ratioTable("ratios to plain routing, more is better"+quarters, data, rates()),
		ratioTable("ratios to plain routing, less is better"+quarters, data, costs()),
		absoluteTable("absolute, more is better"+quarters, data, rates()),
		absoluteTable("absolute, less is better"+quarters, data, costs()),
		goalTable(data),
	}
	var full []table
	for _, t := range tables {
		if len(t.Rows) > 0 && len(t.Head) > 1 {
			full = append(full, t)
		}
	}
	return full
}

// ratioTable has the paths as rows and measures as columns.
func ratioTable(title string, data *results, measures []string) table {
	return pathTable(title, data, measures, func(measure, path string) string {
		if r, ok := ratio(data.Values[measure], path, base); ok {
			return ratioCell(r)
		}
		return ""
	})
}

func absoluteTable(title string, data *results, measures []string) table {
	return pathTable(title, data, measures, func(measure, path string) string {
		values := data.Values[measure][path]
		if len(values) == 0 {
			return ""
		}
		s := spreadOf(values)
		return fmt.Sprintf("%s [%s - %s]", number(s.median), number(s.low), number(s.high))
	})
}

// pathTable leaves out measures of which every cell would be empty.
func pathTable(title string, data *results, measures []string, cell func(measure, path string) string) table {
	t := table{Title: title, Head: []string{"path"}}
	rows := make([][]string, len(data.Paths))
	for i, path := range data.Paths {
		rows[i] = []string{path}
	}
	for _, measure := range measures {
		some, column := false, make([]string, len(rows))
		for i, path := range data.Paths {
			column[i] = cell(measure, path)
			some = some || column[i] != ""
		}
		if !some {
			continue
		}
		t.Head = append(t.Head, measure)
		for i := range rows {
			rows[i] = append(rows[i], column[i])
		}
	}
	t.Rows = rows
	return t
}

func ratioCell(s spread) string {
	return fmt.Sprintf("%.2f [%.2f - %.2f]", s.median, s.low, s.high)
}

// number writes three digits of a value, or all before the point.
func number(value float64) string {
	digits := 0
	if size := math.Abs(value); size < 100 && size > 0 {
		digits = min(2-int(math.Floor(math.Log10(size))), 4)
	}
	return fmt.Sprintf("%.*f", digits, value)
}
