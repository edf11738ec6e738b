package main

import (
	"math"
	"testing"
)

func TestQuantile(t *testing.T) {
	for _, test := range []struct {
		values []float64
		q      float64
		want   float64
	}{
		{[]float64{7}, 0.5, 7},
		{[]float64{7}, 1, 7},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{4, 1, 3, 2}, 0.25, 1.75},
		{[]float64{5, 4, 3, 2, 1}, 0.75, 4},
		{[]float64{5, 4, 3, 2, 1}, 0, 1},
		{[]float64{5, 4, 3, 2, 1}, 1, 5},
	} {
		if got := quantile(test.values, test.q); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("quantile(%v, %v) = %v, want %v", test.values, test.q, got, test.want)
		}
	}
}

func TestQuantileLeavesTheOrder(t *testing.T) {
	values := []float64{3, 1, 2}
	quantile(values, 0.5)
	if values[0] != 3 || values[1] != 1 || values[2] != 2 {
		t.Errorf("values are %v afterwards", values)
	}
}

// A ratio is that of two values of one round, not of two medians.
func TestRatioPairsRounds(t *testing.T) {
	data := map[string][]float64{"a": {10, 200, 3000}, "b": {10, 100, 1000}, "short": {1}}
	got, ok := ratio(data, "a", "b")
	if want := (spread{median: 2, low: 1.5, high: 2.5}); !ok || got != want {
		t.Errorf("ratio is %v, %t; want %v", got, ok, want)
	}
	for _, path := range []string{"short", "missing"} {
		if got, ok := ratio(data, path, "b"); ok {
			t.Errorf("%s has ratio %v to another number of rounds", path, got)
		}
	}
}

func TestGoalReached(t *testing.T) {
	for _, test := range []struct {
		goal  goal
		ratio float64
		want  bool
	}{
		{least("a", udpPackets, "b", 1.4), 1.4, true},
		{least("a", udpPackets, "b", 1.4), 1.39, false},
		{most("a", udpWorst, "b", 1.1), 1.1, true},
		{most("a", udpWorst, "b", 1.1), 1.11, false},
	} {
		if got := test.goal.reached(test.ratio); got != test.want {
			t.Errorf("%s %s %v is reached by %v: %t", test.goal.measure, test.goal.sign(), test.goal.ratio, test.ratio, got)
		}
	}
}

// A goal for a path or a measure that there is not would never be looked at.
func TestGoalsAreMeasured(t *testing.T) {
	known := map[string]bool{}
	for _, s := range (&bed{}).setups() {
		known[s.name] = true
	}
	direction := map[string]bool{}
	for _, name := range rates() {
		direction[name] = false
	}
	for _, name := range costs() {
		direction[name] = true
	}
	for _, g := range goals() {
		if !known[g.path] || !known[g.to] {
			t.Errorf("goal %v is of a path that there is not", g)
		}
		if less, is := direction[g.measure]; !is || less != g.most {
			t.Errorf("goal %v is of no measure, or asks for the wrong direction", g)
		}
	}
}
