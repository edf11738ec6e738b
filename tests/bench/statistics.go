package main

import (
	"math"
	"slices"
)

// quantile returns the value that a share q of all values is not above, between two of
// them in proportion. There must be a value.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	below := sorted[int(at)]
	above := sorted[int(math.Ceil(at))]
	return below + (above-below)*(at-math.Floor(at))
}

// spread is a median with the quarters around it.
type spread struct{ median, low, high float64 }

func spreadOf(values []float64) spread {
	return spread{median: quantile(values, 0.5), low: quantile(values, 0.25), high: quantile(values, 0.75)}
}

func mid(values []float64) float64 { return quantile(values, 0.5) }

// ratio returns the spread of the rounds' ratios of two paths: what disturbs a whole
// round disturbs both, and falls out. There is none if a path was not measured.
func ratio(data map[string][]float64, path, to string) (spread, bool) {
	a, b := data[path], data[to]
	if len(a) == 0 || len(a) != len(b) {
		return spread{}, false
	}
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return spreadOf(ratios), true
}
