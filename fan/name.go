package fan

import (
	"fmt"
	"net/netip"
	"strings"
)

// maxName is the longest name of a network device (IFNAMSIZ-1, linux/if.h).
const maxName = 15

// SharedTunnel is the ipip device that all ipip fans of a host share, where the kernel
// has it: one that takes its headers from metadata, of which the kernel allows one
// (net/ipv4/ip_tunnel.c). It receives what is in fragments.
const SharedTunnel = "ftun-ipip"

// BridgeName returns the name of an overlay's bridge: its octets without
// trailing zeros, "fan-250" for 250.0.0.0/8 and "fan-10-254" for 10.254.0.0/16.
// Where that is longer than a device's name may be, it is the address in hex.
func BridgeName(overlay netip.Prefix) string { return name("fan-", overlay) }

// TunnelName returns the name of an overlay's tunnel, "ftun-250".
func TunnelName(overlay netip.Prefix) string { return name(TunnelPrefix, overlay) }

// TunnelPrefix is what the names of all fan tunnels begin with, SharedTunnel's
// too.
const TunnelPrefix = "ftun-"

// PortNames returns the names of the bridge's ports that can be a fan's own: those of
// tunnel, inlet and room.
func PortNames(overlay netip.Prefix) []string {
	return []string{TunnelName(overlay), inletName(overlay), name(roomPrefix, overlay)}
}

const inletPrefix = "ftin-"

func inletName(overlay netip.Prefix) string { return name(inletPrefix, overlay) }

// roomPrefix is that of the port that makes room for the header of ipip.
const roomPrefix = "ftrm-"

// IsInlet says whether a device's name is that of a fan tunnel's inlet.
func IsInlet(device string) bool { return strings.HasPrefix(device, inletPrefix) }

func name(prefix string, overlay netip.Prefix) string {
	octets := overlay.Addr().As4()
	n := len(octets)
	for n > 1 && octets[n-1] == 0 {
		n--
	}
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprint(octets[i])
	}
	if s := prefix + strings.Join(words, "-"); len(s) <= maxName {
		return s
	}
	return fmt.Sprintf("%s%08x", prefix, number(overlay.Addr()))
}

// ParseBridgeName returns the name if a network device can have it
// (net/core/dev.c: dev_valid_name). Errors are ErrUsage.
func ParseBridgeName(s string) (string, error) {
	switch {
	case s == "":
		return "", Usagef("bridge name is empty; use a name such as fan-250")
	case len(s) > maxName:
		return "", Usagef("bridge name %q has %d characters; a device's name has at most %d", s, len(s), maxName)
	case !validName(s):
		return "", Usagef("bridge name %q: a device's name has no space, slash, colon or control character and is not . or ..", s)
	case s == "all" || s == "default":
		// Folders of /proc/sys/net/ipv4/conf (net/ipv4/devinet.c: sysctl_dev_name_is_allowed).
		return "", Usagef("bridge name %q: the kernel lets no device have it; use a name such as fan-250", s)
	}
	for _, prefix := range []string{TunnelPrefix, inletPrefix, roomPrefix} {
		if strings.HasPrefix(s, prefix) {
			return "", Usagef("bridge name %q: names with %s are those of fan tunnels; use a name such as fan-250", s, prefix)
		}
	}
	return s, nil
}

func validName(s string) bool {
	if s == "" || len(s) > maxName || s == "." || s == ".." {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c == '/' || c == ':' || c == '%' || c >= 0x7f {
			return false
		}
	}
	return true
}
