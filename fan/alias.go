package fan

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ErrNotAlias says that a text is not what Alias writes.
var ErrNotAlias = errors.New("not a fan's alias")

// aliasMark begins an alias; the number is the form's version.
const aliasMark = "fan1"

// Alias returns the fan as words, which are stored as the alias of its bridge:
// the kernel is the database. ParseAlias reads it; the bridge's name is not in it.
func (f Fan) Alias() string {
	words := []string{aliasMark,
		fmt.Sprintf("underlay=%s/%d", f.Host, f.Mapping.Underlay().Bits()),
		"overlay=" + f.Mapping.Overlay().String(),
		"dev=" + f.Device, "type=" + f.Type.String(), fmt.Sprintf("mtu=%d", f.MTU)}
	if f.Port != 0 {
		words = append(words, fmt.Sprintf("port=%d", f.Port))
	}
	if f.FixedMTU {
		words = append(words, "fixed-mtu=1")
	}
	if !f.NAT {
		words = append(words, "nat=0")
	}
	if f.Auto {
		words = append(words, "auto=1")
	}
	if f.DHCP {
		words = append(words, "dhcp=1")
	}
	if f.Reserve > 1 {
		words = append(words, fmt.Sprintf("reserve=%d", f.Reserve))
	}
	if f.Datapath != Auto {
		words = append(words, "datapath="+f.Datapath.String())
	}
	if f.Fast != Normal {
		words = append(words, "fast="+f.Fast.String())
	}
	return strings.Join(words, " ")
}

// ParseAlias reads the alias of the bridge with that name. Words that are not a
// fan's come back in extra. The error is ErrNotAlias.
func ParseAlias(bridge, s string) (f Fan, extra map[string]string, err error) {
	words := strings.Fields(s)
	if len(words) == 0 || words[0] != aliasMark {
		return Fan{}, nil, ErrNotAlias
	}
	f = Fan{Bridge: bridge, NAT: true}
	extra = map[string]string{}
	networks := map[string]netip.Prefix{}
	for _, word := range words[1:] {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			return Fan{}, nil, fmt.Errorf("%w: word %q", ErrNotAlias, word)
		}
		if key == "underlay" || key == "overlay" {
			networks[key], err = netip.ParsePrefix(value)
		} else if known, failed := f.setWord(key, value); known {
			err = failed
		} else {
			extra[key] = value
		}
		if err != nil {
			return Fan{}, nil, fmt.Errorf("%w: word %q", ErrNotAlias, word)
		}
	}
	f.Host = networks["underlay"].Addr()
	if f.Mapping, err = NewMapping(networks["underlay"].Masked(), networks["overlay"]); err == nil {
		err = f.Validate()
	}
	if err != nil {
		return Fan{}, nil, fmt.Errorf("%w: %w", ErrNotAlias, err)
	}
	return f, extra, nil
}

func (f *Fan) setWord(key, value string) (known bool, err error) {
	switch key {
	case "dev":
		f.Device = value
	case "type":
		f.Type, err = ParseType(value)
	case "mtu":
		var n uint64
		n, err = strconv.ParseUint(value, 10, 16)
		f.MTU = MTU(n)
	case "port":
		var n uint64
		n, err = strconv.ParseUint(value, 10, 16)
		f.Port = uint16(n)
	case "fixed-mtu":
		f.FixedMTU = value == "1"
	case "auto":
		f.Auto = value == "1"
	case "dhcp":
		f.DHCP = value == "1"
	case "reserve":
		f.Reserve, err = ParseReserve(value)
	case "nat":
		f.NAT = value != "0"
	case "datapath":
		f.Datapath, err = ParseDatapath(value)
	case "fast":
		f.Fast, err = ParseFast(value)
	default:
		return false, nil
	}
	return true, err
}

// WithExtra returns an alias with further words, sorted by key.
func WithExtra(alias string, extra map[string]string) string {
	for _, key := range slices.Sorted(maps.Keys(extra)) {
		alias += " " + key + "=" + extra[key]
	}
	return alias
}
