package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// table is text in columns, of which the first is the rows' names.
type table struct {
	Title string
	Head  []string
	Rows  [][]string
}

func (t *table) add(cells ...string) { t.Rows = append(t.Rows, cells) }

// widths are those of the columns.
func (t table) widths() []int {
	widths := make([]int, len(t.Head))
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// print writes the table for a terminal.
func (t table) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s\n", t.Title)
	widths := t.widths()
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		line := "  " + fmt.Sprintf("%-*s", widths[0], row[0])
		for i, cell := range row[1:] {
			line += fmt.Sprintf("  %*s", widths[i+1], cell)
		}
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
}

// markdown writes the table for docs.
func (t table) markdown(out io.Writer) {
	fmt.Fprintf(out, "\n## %s\n\n", strings.ToUpper(t.Title[:1])+t.Title[1:])
	line := func(cells []string) { fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.Head)
	rule := []string{"---"}
	for range t.Head[1:] {
		rule = append(rule, "---:")
	}
	line(rule)
	for _, row := range t.Rows {
		line(row)
	}
}
