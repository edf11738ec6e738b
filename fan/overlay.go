package fan

import (
	"net/netip"
	"strconv"
)

// ParseOverlay reads an overlay: a network such as 250.0.0.0/8, or the first
// octet of a /8 alone, 250. Errors are ErrUsage.
func ParseOverlay(s string) (netip.Prefix, error) {
	if n, err := strconv.ParseUint(s, 10, 8); err == nil && s == strconv.FormatUint(n, 10) {
		s += ".0.0.0/8"
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return netip.Prefix{}, Usagef("overlay %q is not an IPv4 network; use one such as 250.0.0.0/8 or just 250", s)
	}
	if err := checkNetwork("overlay", p); err != nil {
		return netip.Prefix{}, err
	}
	return p, nil
}
