//go:build vm

package vm

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// wantedModules are patterns of the names of the modules that hosts with a fan,
// their containers and the test bed may ask for. What they depend on comes along.
func wantedModules() []string {
	return []string{
		"ipip", "vxlan", "veth", "bridge", "br_netfilter",
		"sch_ingress", "cls_bpf", "act_bpf",
		"nf_tables", "nft_*", "nf_conntrack", "nf_nat", "nf_log_syslog",
		"x_tables", "xt_*", "ip_tables", "iptable_*", "ipt_*",
		"wireguard", "bonding", "8021q", "vrf", // what an underlay may be on
		"virtio_net", "virtio_pci",
	}
}

// needed are modules without which the tests would leave out what this is for.
func neededModules() []string {
	return []string{"ipip", "vxlan", "veth", "bridge", "sch_ingress", "cls_bpf", "nf_tables", "nft_compat", "xt_conntrack", "xt_MASQUERADE",
		"wireguard", "bonding", "8021q"}
}

// moduleName is what the kernel calls a module's file: "-" and "_" are the same.
func moduleName(file string) string {
	base, _, _ := strings.Cut(path.Base(file), ".")
	return strings.ReplaceAll(base, "-", "_")
}

// dependencies reads modules.dep: a module's file, a colon, the files of all
// modules that must be there before.
func dependencies(text string) map[string][]string {
	all := map[string][]string{}
	for line := range strings.Lines(text) {
		module, needs, found := strings.Cut(line, ":")
		if found {
			all[module] = strings.Fields(needs)
		}
	}
	return all
}

// chosenModules returns the names of the modules that match a pattern and of those
// that these need.
func chosenModules(all map[string][]string, patterns []string) map[string]bool {
	chosen := map[string]bool{}
	for file, needs := range all {
		for _, pattern := range patterns {
			// The patterns are ours and well-formed.
			if match, _ := path.Match(pattern, moduleName(file)); match {
				chosen[moduleName(file)] = true
				for _, need := range needs {
					chosen[moduleName(need)] = true
				}
			}
		}
	}
	return chosen
}

// addModules puts the modules that are wanted into the archive, and depmod's lists
// cut down to them, which modprobe in the machine reads on every call.
func addModules(a *archive, k kernel) error {
	list, err := os.ReadFile(filepath.Join(k.modules, "modules.dep"))
	if err != nil {
		return err
	}
	all := dependencies(string(list))
	chosen := chosenModules(all, append(wantedModules(), k.platform.modules...))
	delete(chosen, k.withheld)
	for _, name := range neededModules() {
		if !chosen[name] && name != k.withheld {
			return fmt.Errorf("kernel %s has no module %s", k.release, name)
		}
	}
	folder := path.Join("/lib/modules", k.release)
	for file := range all {
		if chosen[moduleName(file)] {
			a.file(path.Join(folder, file), filepath.Join(k.modules, file))
		}
	}
	a.text(path.Join(folder, "modules.dep"), keepLines(string(list), func(line string) bool {
		file, _, _ := strings.Cut(line, ":")
		return chosen[moduleName(file)]
	}), 0o644)
	for _, name := range []string{"modules.alias", "modules.symbols", "modules.softdep"} {
		text, err := os.ReadFile(filepath.Join(k.modules, name))
		if err != nil {
			return err
		}
		a.text(path.Join(folder, name), keepLines(string(text), func(line string) bool {
			words := strings.Fields(line) // alias PATTERN MODULE, softdep MODULE pre: …
			return len(words) > 2 && (chosen[words[len(words)-1]] || chosen[words[1]])
		}), 0o644)
	}
	a.file(path.Join(folder, "modules.builtin"), filepath.Join(k.modules, "modules.builtin"))
	return nil
}

func keepLines(text string, keep func(line string) bool) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if keep(line) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
