package main

import "fmt"

// goal is a ratio that the project wants to reach: at least it of what more is better
// of, and at most it of the others.
type goal struct {
	path, measure, to string
	ratio             float64
	most              bool
}

// reached says whether a ratio is as wanted.
func (g goal) reached(ratio float64) bool {
	if g.most {
		return ratio <= g.ratio
	}
	return ratio >= g.ratio
}

func (g goal) sign() string {
	if g.most {
		return "<="
	}
	return ">="
}

func least(path, measure, to string, ratio float64) goal {
	return goal{path, measure, to, ratio, false}
}
func most(path, measure, to string, ratio float64) goal { return goal{path, measure, to, ratio, true} }

func goals() []goal {
	return []goal{
		least("ipip-fast", udpPackets, "host", 0.95),
		least("ipip-fast", udpPackets, "route", 1.4),
		least("ipip-fast", udpPackets, "flannel", 2),
		least("ipip-fast", udpPackets, "swarm", 2.5),
		least("ipip-fast", tcpRate, "route", 1),
		least("ipip-fast", tcp8Rate, "route", 1),
		most("ipip-fast", udpMedian, "route", 1.05),
		most("ipip-fast", udpWorst, "route", 1.1),
		most("ipip-fast", tcpMedian, "route", 1.05),
		most("ipip-fast", tcpWorst, "route", 1.1),
		least("vxlan-fast", udpPackets, "route", 1.2),
		least("ipip-ebpf", udpPackets, "route", 0.9),
		least("ipip-ebpf", udpPackets, "route", 1.05),
		least("ipip-ebpf", udpPackets, "flannel", 1.2),
		least("ipip-ebpf", tcpRate, "flannel", 0.65),
		least("ipip-ebpf", tcpRate, "flannel", 0.95),
		least("ipip-ebpf", tcp8Rate, "flannel", 0.95),
		least("ipip-device", udpPackets, "flannel", 1),
		least("ipip-device", tcpRate, "flannel", 0.95),
		least("vxlan", udpPackets, "flannel", 0.95),
		least("vxlan", udpPackets, "flannel", 1),
		least("vxlan", tcpRate, "flannel", 0.8),
		least("vxlan", tcpRate, "flannel", 1),
		least("vxlan", tcp8Rate, "flannel", 1),
	}
}

// goalTable says which of the ratios that were measured are as wanted.
func goalTable(data *results) table {
	t := table{Title: "ratios wanted", Head: []string{"path", "measure", "to", "ratio", "wanted", ""}}
	for _, g := range goals() {
		r, ok := ratio(data.Values[g.measure], g.path, g.to)
		if !ok {
			continue
		}
		verdict := "reached"
		if !g.reached(r.median) {
			verdict = "NOT reached"
		}
		t.add(g.path, g.measure, g.to, ratioCell(r), fmt.Sprintf("%s %.2f", g.sign(), g.ratio), verdict)
	}
	return t
}
