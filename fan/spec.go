package fan

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Spec is a fan as somebody asks for it. What is left out is chosen by the host
// that brings it up.
type Spec struct {
	Underlay UnderlaySpec
	Overlay  netip.Prefix
	Type     Type     // IPIP if zero
	Bridge   string   // named after the overlay if empty
	Port     uint16   // of vxlan; DefaultPort if 0
	NoNAT    bool     // packets leave the overlay with their own addresses
	MTU      MTU      // from the underlay device if 0
	Datapath Datapath // chosen if Auto
	Fast     Fast     // whether TCP and UDP go past the host's stack
	Off      bool     // stays down: a line of a file that is switched off
	Debug    bool     // is only looked at: what it would be is told
	Auto     bool     // one of a list; no word says so
	DHCP     bool     // hand out addresses to containers
	Reserve  uint8    // addresses of the slice that the bridge gets; 1 if 0
}

// Option is a word that says more of a fan than its networks. On a command line
// and in a file it has two dashes before it, or none as in 2015.
type Option struct {
	Name string
	// Value says that a value follows: as one word, --name=value, or as the next.
	Value bool
	// Bare is what the option means without a value, if that may be left out. Then one
	// is only ever in the same word: the next word is another.
	Bare string

	set func(s *Spec, value string) error
}

// Options returns all options of a fan.
func Options() []Option {
	return []Option{
		{"underlay", true, "", func(s *Spec, v string) (err error) { s.Underlay, err = ParseUnderlay(v); return err }},
		{"overlay", true, "", func(s *Spec, v string) (err error) { s.Overlay, err = ParseOverlay(v); return err }},
		{"type", true, "", func(s *Spec, v string) (err error) { s.Type, err = ParseType(v); return err }},
		{"bridge", true, "", func(s *Spec, v string) (err error) { s.Bridge, err = ParseBridgeName(v); return err }},
		{"port", true, "", func(s *Spec, v string) (err error) { s.Port, err = ParsePort(v); return err }},
		{"mtu", true, "", func(s *Spec, v string) (err error) { s.MTU, err = ParseMTU(v); return err }},
		{"datapath", true, "", func(s *Spec, v string) (err error) { s.Datapath, err = ParseDatapath(v); return err }},
		{"fast", true, FastIfSafe.String(), func(s *Spec, v string) (err error) { s.Fast, err = ParseFast(v); return err }},
		{"no-nat", false, "", func(s *Spec, _ string) error { s.NoNAT = true; return nil }},
		{"dhcp", false, "", func(s *Spec, _ string) error { s.DHCP = true; return nil }},
		{"host-reserve", true, "", func(s *Spec, v string) (err error) { s.Reserve, err = ParseReserve(v); return err }},
		{"disable", false, "", func(s *Spec, _ string) error { s.Off = true; return nil }},
		{"off", false, "", func(s *Spec, _ string) error { s.Off = true; return nil }},
		{"debug", false, "", func(s *Spec, _ string) error { s.Debug = true; return nil }},
		{"enable", false, "", func(*Spec, string) error { return nil }},
	}
}

// ParseSpec reads a fan from words: its networks, in either order or as options,
// and options with or without dashes. Errors are ErrUsage.
func ParseSpec(words []string) (Spec, error) {
	var s Spec
	var networks []string
	given := map[string]bool{}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		option, value, attached, err := optionOf(word)
		if err != nil {
			return Spec{}, err
		}
		switch {
		case option.Name == "":
			networks = append(networks, word)
			continue
		case given[option.Name]:
			return Spec{}, Usagef("%s is given twice, the second time as %q", option.Name, word)
		case attached && !option.Value:
			return Spec{}, Usagef("word %q: %s takes no value", word, option.Name)
		case option.Bare != "" && !attached:
			value = option.Bare
		case option.Value && !attached && len(words) == 0:
			return Spec{}, Usagef("word %q: a value has to follow", word)
		case option.Value && !attached:
			value, words = words[0], words[1:]
		}
		given[option.Name] = true
		if err := option.set(&s, value); err != nil {
			return Spec{}, err
		}
	}
	if err := s.setNetworks(networks); err != nil {
		return Spec{}, err
	}
	if err := checkMasks(s.Underlay, s.Underlay.Bits, s.Overlay); err != nil {
		return Spec{}, err
	}
	return s, nil
}

// Words returns the spec as ParseSpec reads it: underlay, overlay, and the options
// that were given.
func (s Spec) Words() []string {
	words := []string{s.Underlay.String(), s.Overlay.String()}
	if strings.HasPrefix(words[0], "-") { // a device may be named so
		words[0] = "--underlay=" + words[0]
	}
	for _, o := range []struct {
		name, value string
		given       bool
	}{
		{"type", s.Type.String(), s.Type != 0},
		{"bridge", s.Bridge, s.Bridge != ""},
		{"port", strconv.Itoa(int(s.Port)), s.Port != 0},
		{"mtu", strconv.Itoa(int(s.MTU)), s.MTU != 0},
		{"datapath", s.Datapath.String(), s.Datapath != Auto},
		{"fast", "", s.Fast == FastIfSafe},
		{"fast=" + s.Fast.String(), "", s.Fast == FastAnyway},
		{"no-nat", "", s.NoNAT},
		{"dhcp", "", s.DHCP},
		{"host-reserve", strconv.Itoa(int(s.Reserve)), s.Reserve != 0},
		{"disable", "", s.Off},
		{"debug", "", s.Debug},
	} {
		switch {
		case o.given && o.value != "":
			words = append(words, "--"+o.name, o.value)
		case o.given:
			words = append(words, "--"+o.name)
		}
	}
	return words
}

// optionOf returns the option that a word is, its value if that is attached, and
// the zero Option for the word of a network.
func optionOf(word string) (o Option, value string, attached bool, err error) {
	name, dashed := strings.CutPrefix(word, "--")
	switch {
	case dashed:
	case strings.HasPrefix(word, "-u") || strings.HasPrefix(word, "-o"):
		name = map[byte]string{'u': "underlay", 'o': "overlay"}[word[1]]
		if rest := strings.TrimPrefix(word[2:], "="); rest != "" {
			name += "=" + rest
		}
		dashed = true
	case strings.HasPrefix(word, "-"):
		return Option{}, "", false, unknownWord(word)
	}
	name, value, attached = strings.Cut(name, "=")
	options := Options()
	if i := slices.IndexFunc(options, func(o Option) bool { return o.Name == name }); i >= 0 && (dashed || !attached) {
		return options[i], value, attached, nil
	}
	if dashed || !validNetworkWord(word) {
		return Option{}, "", false, unknownWord(word)
	}
	return Option{}, "", false, nil
}

func unknownWord(word string) error {
	for option, parse := range map[string]func(string) error{
		"type":     func(s string) error { _, err := ParseType(s); return err },
		"datapath": func(s string) error { _, err := ParseDatapath(s); return err },
	} {
		if parse(word) == nil {
			return Usagef("word %q is a value without its option; did you mean: %s %s", word, option, word)
		}
	}
	var names []string
	for _, o := range Options() {
		names = append(names, o.Name)
	}
	return Usagef("word %q is not understood; use a network such as eth0/16 or 250.0.0.0/8, or one of %s", word, strings.Join(names, ", "))
}

// validNetworkWord says whether a word can be a network or a device at all.
func validNetworkWord(word string) bool {
	who, _, _ := strings.Cut(word, "/")
	return validName(who)
}

// certainNetwork says whether a word can be nothing but a network: it has a mask,
// or is an address or a number.
func certainNetwork(word string) bool {
	return strings.Contains(word, "/") || strings.Trim(word, "0123456789.") == "" || word == "default"
}

// setNetworks sets the networks that were given as words: the underlay has the
// longer mask, so that either may come first.
func (s *Spec) setNetworks(words []string) error {
	hasUnderlay, hasOverlay := s.Underlay != UnderlaySpec{}, s.Overlay.IsValid()
	wanted := 2
	for _, has := range []bool{hasUnderlay, hasOverlay} {
		if has {
			wanted--
		}
	}
	if len(words) > wanted {
		for _, word := range slices.Backward(words) { // a slip is more likely behind the networks
			if _, err := ParseFast(word); err == nil && s.Fast != Normal {
				return Usagef("word %q stands alone, and a value of fast is attached; did you mean: --fast=%s", word, word)
			}
			if !certainNetwork(word) {
				return unknownWord(word)
			}
		}
		return Usagef("network %q is one too many; a fan has one underlay and one overlay", words[wanted])
	}
	var err error
	switch {
	case len(words) < wanted && len(words) == 0 && !hasUnderlay:
		return Usagef("--underlay is missing; give one such as --underlay eth0/16")
	case len(words) < wanted && len(words) == 0:
		return Usagef("--overlay is missing; give one such as --overlay 250.0.0.0/8")
	case len(words) < wanted && !certainNetwork(words[0]):
		return Usagef("word %q is no network, and if it is a device, an overlay is missing; a fan has an underlay such as eth0/16 and an overlay such as 250.0.0.0/8", words[0])
	case len(words) < wanted:
		return Usagef("network %q is alone; a fan has an underlay such as eth0/16 and an overlay such as 250.0.0.0/8", words[0])
	case len(words) == 0:
	case hasUnderlay:
		s.Overlay, err = ParseOverlay(words[0])
	case hasOverlay:
		s.Underlay, err = ParseUnderlay(words[0])
	default:
		err = s.setBoth(words[0], words[1])
	}
	return err
}

// setBoth tells the underlay from the overlay: a device can only be the one, a
// number only the other, and else the masks tell.
func (s *Spec) setBoth(first, second string) error {
	a, b := maskOf(first), maskOf(second)
	switch {
	case a == b && a == deviceMask && !certainNetwork(first) && !certainNetwork(second):
		return Usagef("%q and %q are not networks; a fan is an underlay and an overlay, such as eth0/16 250.0.0.0/8", first, second)
	case a == b && a == deviceMask:
		return Usagef("%q and %q: either can only be the underlay, by a device's name; the overlay is a network such as 250.0.0.0/8", first, second)
	case a == b:
		return Usagef("networks %q and %q: which one is the underlay can't be told; its mask is longer than the overlay's", first, second)
	}
	if a < b {
		first, second = second, first
	}
	var err error
	if s.Underlay, err = ParseUnderlay(first); err != nil {
		return err
	}
	s.Overlay, err = ParseOverlay(second)
	return err
}

// deviceMask is what maskOf returns for a device: more than any mask.
const deviceMask = 1000

// maskOf returns how long the mask of a network's word is, as far as that tells an
// underlay from an overlay: more than any mask for a device, and 0 for a number.
// Whether the word is right is for its parser to say.
func maskOf(word string) int {
	who, mask, masked := strings.Cut(word, "/")
	bits, err := strconv.Atoi(mask)
	switch {
	case strings.Trim(word, "0123456789") == "":
		return 0
	case !looksLikeAddress(who):
		return deviceMask
	case masked && err == nil && bits < deviceMask:
		return bits
	case masked:
		return 1
	}
	return defaultUnderlayBits
}
