//go:build vm

package vm

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// report is what "fanctl features --json" says.
type report struct {
	Kernel   string
	Features []struct{ Name, State string }
	Programs []struct {
		Name         string
		Instructions int
		Verified     int
	}
	Paths []struct{ Type, Datapath, State, Why string }
}

// state is "yes", "no" or "unknown".
func (r report) state(name string) string {
	for _, f := range r.Features {
		if f.Name == name {
			return f.State
		}
	}
	return "unknown"
}

// path is which way a type's packets go, and why.
func (r report) path(kind string) string {
	for _, p := range r.Paths {
		if p.Type == kind {
			return p.Datapath + ": " + p.Why
		}
	}
	return "none"
}

// found is what a kernel has said, with all modules and without the ipip device.
type found struct {
	series          string
	whole, withheld report
}

// rows are those of the table of paths: a name, and what stands in a kernel's column.
func rows() []struct {
	name string
	of   func(found) string
} {
	has := func(feature, yes, no string) func(found) string {
		return func(f found) string {
			return map[string]string{"yes": yes, "no": no, "unknown": "unknown"}[f.whole.state(feature)]
		}
	}
	return []struct {
		name string
		of   func(found) string
	}{
		{"ipip", func(f found) string { return f.whole.path("ipip") }},
		{"ipip, the module withheld", func(f found) string { return f.withheld.path("ipip") }},
		{"vxlan", func(f found) string { return f.whole.path("vxlan") }},
		{"several vxlan fans", has("vxlan-vnifilter", "on one UDP port", "on a UDP port each")},
		{"programs at the underlay's device", has("tcx", "by tcx", "by clsact")},
		{"programs at the ipip device see", has("inner-first", "the inner header", "the outer header first")},
		{"`bpf_redirect_neigh`", has("bpf_redirect_neigh", "yes", "no")},
		{"eBPF clears a tunnel's GSO marks", has("clear-gso", "yes", "no: TCP goes past the bridge device")},
		{"description of the kernel's types (BTF), not needed", has("btf", "yes", "no")},
		{"iptables by nftables", has("iptables-nft", "yes", "no")},
		{"iptables of old", has("iptables-legacy", "yes", "no")},
	}
}

// page is docs/kernels.md.
func page(all []found) string {
	var out strings.Builder
	out.WriteString("# Kernels\n\nWhat `fanctl features` says on Debian's kernels, where the whole-program tests run. `make test-vm` fails where\n" +
		"this page is not true; `make kernels` writes it.\n\n| |")
	line := func(first string, of func(found) string) {
		fmt.Fprintf(&out, "| %s |", first)
		for _, f := range all {
			fmt.Fprintf(&out, " %s |", of(f))
		}
		out.WriteString("\n")
	}
	for _, f := range all {
		fmt.Fprintf(&out, " %s |", f.series)
	}
	out.WriteString("\n|---|" + strings.Repeat("---|", len(all)) + "\n")
	line("release", func(f found) string { return "`" + f.whole.Kernel + "`" })
	for _, r := range rows() {
		line(r.name, r.of)
	}
	out.WriteString("\nThe same objects load on all of them. Instructions of each program as the kernel runs it, and how many its verifier\n" +
		"has looked at on all ways through (0: it does not say):\n\n| program |")
	for _, f := range all {
		fmt.Fprintf(&out, " %s |", f.series)
	}
	out.WriteString("\n|---|" + strings.Repeat("---|", len(all)) + "\n")
	for i, p := range all[0].whole.Programs {
		line("`"+p.Name+"`", func(f found) string {
			if i >= len(f.whole.Programs) {
				return "does not load"
			}
			return fmt.Sprintf("%d, %d", f.whole.Programs[i].Instructions, f.whole.Programs[i].Verified)
		})
	}
	return out.String()
}

// lasting is what of a page is true as long as nobody changes something: releases and
// the lengths of programs differ with each update of a kernel.
func lasting(page string) []string {
	number := regexp.MustCompile(`^\|.*\| \d+, \d+ \|$`)
	return slices.DeleteFunc(strings.Split(page, "\n"), func(line string) bool {
		return strings.HasPrefix(line, "| release |") || number.MatchString(line)
	})
}
