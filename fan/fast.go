package fan

// Fast says whether TCP and UDP of the fan's containers go past the host's network
// stack, and so past its firewall: from the container's port straight to the
// underlay device, and from there to the port. It shows on this host only, never on
// the wire. What can't go so, such as fragments, what is too long and flows whose
// addresses are translated, goes the normal way.
type Fast uint8

const (
	// Normal is through the host's stack and its firewall.
	Normal Fast = iota
	// FastIfSafe is fast only while no rule of the host's firewall stands in the way,
	// and else normal; which rule that is, is told.
	FastIfSafe
	// FastAnyway is fast in spite of such rules.
	FastAnyway
)

// ParseFast reads "on" or "force". Errors are ErrUsage.
func ParseFast(s string) (Fast, error) {
	for _, f := range []Fast{FastIfSafe, FastAnyway} {
		if s == f.String() {
			return f, nil
		}
	}
	return Normal, Usagef("fast %q is unknown; use on or force, or no value, which is on", s)
}

// String returns the word, or "" for the zero value.
func (f Fast) String() string {
	switch f {
	case FastIfSafe:
		return "on"
	case FastAnyway:
		return "force"
	}
	return ""
}
