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

// canonical writes one way what iptables-save writes in several: protocol 4 is a
// number or a name, which depends on its version and on the host's
// /etc/protocols: "ipencap" on Debian, "ipv4" on Fedora.
func canonical(spec string) string {
	words := strings.Split(spec, " ")
	for i, word := range words[:len(words)-1] {
		if word == "-p" && (words[i+1] == "ipencap" || words[i+1] == "ipv4" || words[i+1] == "ip-encap") {
			words[i+1] = "4"
		}
	}
	return strings.Join(words, " ")
}
