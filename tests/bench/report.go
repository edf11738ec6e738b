package main

import (
	"fmt"
	"io"
	"slices"
)

// goal is a ratio that the project wants to reach.
type goal struct {
	measure, path, to string
	ratio             float64
}

func goals() []goal {
	return []goal{
		{udpPackets, "ipip-ebpf", "route", 0.9},
		{udpPackets, "ipip-ebpf", "flannel", 1.2},
		{udpPackets, "ipip-device", "flannel", 1},
		{udpPackets, "vxlan", "flannel", 0.95},
		{tcpRate, "vxlan", "flannel", 0.8},
		{tcpRate, "ipip-device", "flannel", 0.95},
		{tcpRate, "ipip-ebpf", "flannel", 0.65},
	}
}

// report prints each measure with its ratios.
func report(out io.Writer, data *results) {
	for _, name := range []string{udpPackets, udpCost, tcpRate, roundTrips, median, worst} {
		if len(data.Values[name]) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%-30s %10s %21s %9s %9s %9s\n", name, "median", "least - most", "/route", "/flannel", "/host")
		for _, p := range data.Paths {
			values := data.Values[name][p]
			fmt.Fprintf(out, "  %-28s %10.4g %10.4g -%9.4g", p, mid(values), slices.Min(values), slices.Max(values))
			for _, to := range []string{"route", "flannel", "host"} {
				fmt.Fprintf(out, " %9s", ratioText(data.Values[name], p, to))
			}
			fmt.Fprintln(out)
		}
	}
	fmt.Fprintln(out, "\nratios wanted (median of the rounds' ratios)")
	for _, g := range goals() {
		r, ok := ratio(data.Values[g.measure], g.path, g.to)
		if !ok {
			continue
		}
		verdict := "reached"
		if r < g.ratio {
			verdict = "NOT reached"
		}
		fmt.Fprintf(out, "  %-22s %-12s / %-8s %5.2f  wanted %.2f  %s\n", g.measure, g.path, g.to, r, g.ratio, verdict)
	}
}

func ratioText(data map[string][]float64, path, to string) string {
	r, ok := ratio(data, path, to)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.2f", r)
}

// ratio returns the median of the rounds' ratios of two paths.
func ratio(data map[string][]float64, path, to string) (float64, bool) {
	a, b := data[path], data[to]
	if len(a) == 0 || len(a) != len(b) {
		return 0, false
	}
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return mid(ratios), true
}

func mid(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
