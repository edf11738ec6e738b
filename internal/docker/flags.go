package docker

import (
	"slices"
	"strings"

	"github.com/fanctl/fanctl/fan"
)

// usualConfig is where dockerd looks for its configuration unless it is told.
const usualConfig = "/etc/docker/daemon.json"

// flag is one option of dockerd's command line, by its long name.
type flag struct{ name, value string }

// switches are the flags of dockerd that take no value as a further word; one of
// these may have a value after "=". The list has all that newer and older ones know
// and that people use; a word that is taken for a value by mistake is none of ours.
func switches() []string {
	return []string{"debug", "tls", "tlsverify", "ipv6", "icc", "ip-forward", "ip-forward-no-drop", "ip-masq", "ip6tables", "iptables",
		"userland-proxy", "live-restore", "selinux-enabled", "experimental", "raw-logs", "init", "validate", "rootless", "help", "version",
		"no-new-privileges", "allow-nondistributable-artifacts", "bridge-accept-fwmark", "allow-direct-routing", "cri-containerd"}
}

// flagsOf reads the command line of dockerd without the program (pflag's rules).
func flagsOf(words []string) (list []flag) {
	short := map[string]string{"b": "bridge", "H": "host", "p": "pidfile", "G": "group", "g": "graph", "l": "log-level", "s": "storage-driver"}
	for i := 0; i < len(words); i++ {
		word := words[i]
		var name, value string
		var has bool
		switch {
		case word == "--":
			return list
		case strings.HasPrefix(word, "--"):
			name, value, has = strings.Cut(word[2:], "=")
			has = has || slices.Contains(switches(), name)
		case len(word) > 1 && word[0] == '-':
			if name = short[word[1:2]]; name == "" {
				continue // -D and -v have no value
			}
			value = strings.TrimPrefix(word[2:], "=")
			has = len(word) > 2
		default:
			continue
		}
		if !has && i+1 < len(words) {
			i++
			value = words[i]
		}
		list = append(list, flag{name, value})
	}
	return list
}

// hosts returns where a command line has dockerd listen.
func hosts(flags []flag) (list []string) {
	for _, f := range flags {
		if f.name == "host" {
			list = append(list, f.value)
		}
	}
	return list
}

// configPath returns the configuration file of a command line, and whether it is named.
func configPath(flags []flag) (path string, named bool) {
	path = usualConfig
	for _, f := range flags {
		if f.name == "config-file" {
			path, named = f.value, true
		}
	}
	return path, named
}

// checkFlags refuses (fan.ErrUsage) flags that contradict a default bridge in the
// file: dockerd does not start with the same setting in both.
func checkFlags(flags []flag, path string) error {
	for _, f := range flags {
		if slices.Contains(append(keys(), "bip", "default-gateway"), f.name) {
			return fan.Usagef("dockerd is started with --%s %s, so %s must not say another thing; take the flag out of its unit (systemctl edit docker) or give Docker the fan as a network", f.name, f.value, path)
		}
	}
	return nil
}

// withoutConfig returns a command line without the name of its configuration file.
func withoutConfig(words []string) (list []string) {
	for i := 0; i < len(words); i++ {
		switch {
		case words[i] == "--config-file":
			i++
		case !strings.HasPrefix(words[i], "--config-file="):
			list = append(list, words[i])
		}
	}
	return list
}
