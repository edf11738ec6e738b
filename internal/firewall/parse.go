package firewall

import "strings"

// parse reads what iptables-save(8) prints. Lines that it does not know, such as
// comments, count for nothing.
func parse(saved string) map[string]map[string]Chain {
	tables := map[string]map[string]Chain{}
	var chains map[string]Chain
	for line := range strings.Lines(saved) {
		line = strings.TrimRight(line, "\n")
		if table, ok := strings.CutPrefix(line, "*"); ok {
			if chains = tables[table]; chains == nil {
				chains = map[string]Chain{}
				tables[table] = chains
			}
		}
		if chains == nil {
			continue
		}
		if head, ok := strings.CutPrefix(line, ":"); ok {
			name, rest, _ := strings.Cut(head, " ")
			policy, _, _ := strings.Cut(rest, " ")
			chains[name] = Chain{Policy: policy, Rules: chains[name].Rules}
		}
		if rule, ok := strings.CutPrefix(line, "-A "); ok {
			name, spec, _ := strings.Cut(rule, " ")
			c := chains[name]
			c.Rules = append(c.Rules, canonical(spec))
			chains[name] = c
		}
	}
	return tables
}

// canonical writes protocols as numbers. iptables-save prints their names where
// it finds one, which depends on its version and on the host's /etc/protocols:
// protocol 4 is "ipencap" on Debian, "ipv4" on Fedora.
func canonical(spec string) string {
	words := strings.Split(spec, " ")
	for i, word := range words[:len(words)-1] {
		if word != "-p" {
			continue
		}
		switch words[i+1] {
		case "icmp":
			words[i+1] = "1"
		case "ipencap", "ipv4", "ip-encap":
			words[i+1] = "4"
		case "udp":
			words[i+1] = "17"
		}
	}
	return strings.Join(words, " ")
}
