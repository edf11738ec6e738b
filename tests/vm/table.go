//go:build vm

package vm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// table is what came out: a row a test, a column a machine.
type table struct {
	mutex   sync.Mutex
	columns []*column
}

// column is what a machine has told.
type column struct {
	series, release, part string
	took                  time.Duration // of this machine's time
	groups                []verdict     // all, outermost tests and those inside
}

func newTable() *table { return &table{} }

// column adds a machine.
func (t *table) column(series, release, part string) *column {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	c := &column{series: series, release: release, part: part}
	t.columns = append(t.columns, c)
	return c
}

func (c *column) add(group []verdict) { c.groups = append(c.groups, group...) }

// pathLetters are how the table names the paths that a test has gone by.
func pathLetters() []struct{ word, letter string } {
	return []struct{ word, letter string }{{"ipip_by_device", "d"}, {"ipip_by_eBPF", "e"}, {"vxlan", "v"}}
}

// cell says what has become of a test: "pass", or the letters of the paths by which
// it has passed, "skip", or "FAIL".
func (c *column) cell(test string) string {
	result := ""
	went := map[string]bool{}
	for _, v := range c.groups {
		outermost, _, _ := strings.Cut(v.name, "/")
		if outermost != test {
			continue
		}
		if v.result == "FAIL" {
			return "FAIL"
		}
		if v.name == test {
			result = strings.ToLower(v.result)
		}
		for _, path := range pathLetters() {
			if v.result == "PASS" && strings.Contains(v.name+"/", "/"+path.word+"/") {
				went[path.letter] = true
			}
		}
	}
	if len(went) > 0 && result == "pass" {
		return strings.Join(slices.Sorted(maps.Keys(went)), " ")
	}
	return result
}

// String is the table, the sums of each column, and why tests were left out.
func (t *table) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	slices.SortFunc(t.columns, func(a, b *column) int { return strings.Compare(a.series+a.part, b.series+b.part) })
	var out strings.Builder
	out.WriteString("d: ipip by the kernel's device, e: ipip by eBPF alone, v: vxlan, pass: a test without paths\n\n")
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	line := func(first string, of func(*column) string) {
		cells := []string{first}
		for _, c := range t.columns {
			cells = append(cells, of(c))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	line("kernel", func(c *column) string { return c.series })
	line("release", func(c *column) string { release, _, _ := strings.Cut(c.release, "-"); return release })
	line("part", func(c *column) string { return c.part })
	for _, test := range t.tests() {
		line(test, func(c *column) string { return c.cell(test) })
	}
	for _, result := range []string{"PASS", "SKIP", "FAIL"} {
		line("in all: "+result, func(c *column) string { return fmt.Sprint(c.count(result)) })
	}
	line("seconds", func(c *column) string { return fmt.Sprintf("%.0f", c.took.Seconds()) })
	_ = w.Flush() // to memory
	for _, c := range t.columns {
		for _, v := range c.groups {
			if v.result == "SKIP" {
				fmt.Fprintf(&out, "left out on %s: %s: %s\n", c.series, v.name, strings.TrimSpace(strings.Join(v.log, " ")))
			}
		}
	}
	return out.String()
}

func (t *table) tests() []string {
	all := map[string]bool{}
	for _, c := range t.columns {
		for _, v := range c.groups {
			if !strings.Contains(v.name, "/") {
				all[v.name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// count counts the verdicts, those of tests inside of others included.
func (c *column) count(result string) (n int) {
	for _, v := range c.groups {
		if v.result == result {
			n++
		}
	}
	return n
}
