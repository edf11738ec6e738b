package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample are results of two rounds; a path's name needs escaping.
func sample() *results {
	data := newResults()
	data.Paths = []string{"route", "ipip-fast", "a<b"}
	for i := range 2 {
		more := float64(1 + i)
		data.add("route", map[string]float64{udpPackets: 1000 * more, udpMedian: 20, tcpRate: 2})
		data.add("ipip-fast", map[string]float64{udpPackets: 1500 * more, udpMedian: 25, tcpRate: 1})
		data.add("a<b", map[string]float64{udpPackets: 250 * more, udpMedian: 40})
	}
	return data
}

func TestReport(t *testing.T) {
	var out bytes.Buffer
	for _, table := range reportTables(sample()) {
		table.print(&out)
	}
	const want = `
ratios to plain routing, more is better (median [25% - 75%] of the rounds)
  path       UDP 64 B, packets/s    TCP 1 flow, Gb/s
  route       1.00 [1.00 - 1.00]  1.00 [1.00 - 1.00]
  ipip-fast   1.50 [1.50 - 1.50]  0.50 [0.50 - 0.50]
  a<b         0.25 [0.25 - 0.25]

ratios to plain routing, less is better (median [25% - 75%] of the rounds)
  path           UDP_RR p50, us
  route      1.00 [1.00 - 1.00]
  ipip-fast  1.25 [1.25 - 1.25]
  a<b        2.00 [2.00 - 2.00]

absolute, more is better (median [25% - 75%] of the rounds)
  path       UDP 64 B, packets/s    TCP 1 flow, Gb/s
  route       1500 [1250 - 1750]  2.00 [2.00 - 2.00]
  ipip-fast   2250 [1875 - 2625]  1.00 [1.00 - 1.00]
  a<b            375 [312 - 438]

absolute, less is better (median [25% - 75%] of the rounds)
  path           UDP_RR p50, us
  route      20.0 [20.0 - 20.0]
  ipip-fast  25.0 [25.0 - 25.0]
  a<b        40.0 [40.0 - 40.0]

ratios wanted
  path                   measure     to               ratio   wanted
  ipip-fast  UDP 64 B, packets/s  route  1.50 [1.50 - 1.50]  >= 1.40      reached
  ipip-fast     TCP 1 flow, Gb/s  route  0.50 [0.50 - 0.50]  >= 1.00  NOT reached
  ipip-fast       UDP_RR p50, us  route  1.25 [1.25 - 1.25]  <= 1.05  NOT reached
`
	if got := out.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestReportOfNothing(t *testing.T) {
	if tables := reportTables(newResults()); len(tables) > 0 {
		t.Errorf("tables without a value: %v", tables)
	}
}

func TestNumber(t *testing.T) {
	for value, want := range map[float64]string{0: "0", 123456: "123456", 99.94: "99.9", 5.678: "5.68", 0.1234: "0.123", 0.00001: "0.0000", -5.678: "-5.68"} {
		if got := number(value); got != want {
			t.Errorf("number(%v) = %q, want %q", value, got, want)
		}
	}
}

// A table in Markdown has as many cells in each line.
func TestMarkdown(t *testing.T) {
	for _, table := range reportTables(sample()) {
		var out bytes.Buffer
		table.markdown(&out)
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if !strings.HasPrefix(lines[0], "## ") || len(lines) != 4+len(table.Rows) {
			t.Errorf("no heading, or not all rows:\n%s", out.String())
		}
		for _, line := range lines[2:] {
			if strings.Count(line, "|") != len(table.Head)+1 {
				t.Errorf("%s: %d columns in %q", table.Title, len(table.Head), line)
			}
		}
	}
}

func TestDocs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "docs")
	a := about{Kernel: "6.1.0-test", Processor: "any", Processors: 2, Date: "2026-01-02", Command: "fanbench",
		Without: []string{"without swarm: no dockerd"}}
	commands := table{Title: "commands, ms", Head: []string{"", "up"}, Rows: [][]string{{"vxlan", "12.3"}}}
	if err := (raw{a, sample(), []table{commands}}).writeDocs(dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "bench.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"6.1.0-test", "2026-01-02", "not the absolute numbers", "without swarm", "bench.svg", "## Ratios wanted", "| vxlan | 12.3 |"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page has no %q:\n%s", want, page)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Kernel string
		Values map[string]map[string][]float64
	}
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if got := back.Values[udpPackets]["ipip-fast"]; back.Kernel != a.Kernel || len(got) != 2 || got[1] != 3000 {
		t.Errorf("the raw data has kernel %q and %v", back.Kernel, got)
	}
	if _, err := os.Stat(filepath.Join(dir, "bench.svg")); err != nil {
		t.Error(err)
	}
}
