package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/kernel"
)

// Place is where an address of a fan is.
type Place struct {
	// Asked is the word that was asked for, and Address what it stands for.
	Asked   string
	Address netip.Addr
	// Bridge is the fan's, "" where it is not up here and another fan has its name.
	Bridge  string
	Mapping fan.Mapping
	Owner   fan.Owner
	// Here says that the owner is this host.
	Here bool
}

// calcFan is a fan that addresses are looked up in.
type calcFan struct {
	bridge  string
	mapping fan.Mapping
	host    netip.Addr // this host's; the zero Addr if it is none of the fan's
}

// Calc says who owns addresses, each an address of an overlay or underlay, the
// name of a host, or the bridge of a fan; with no words, what this host owns. It
// looks into the fan that is named or, with the zero Spec, into those that are up. What
// some of the words are is told beside the errors of the others, which are joined.
func (h *Host) Calc(ctx context.Context, words []string, named fan.Spec) ([]Place, error) {
	s, err := kernel.Look(h.handle)
	if err != nil {
		return nil, err
	}
	fans, err := calcFans(named, s)
	if err != nil {
		return nil, err
	}
	places, err := placesFor(ctx, words, fans)
	places = asUp(places, s)
	for _, p := range places {
		h.explain([]string{whySlice(p.Mapping, p.Owner.Host)})
	}
	return places, err
}

// asUp names the bridges of places in a fan that was named: those of the fan if it is
// up here, and none where another fan, such as one over another underlay, has its name.
func asUp(places []Place, s kernel.State) []Place {
	for i, p := range places {
		for _, k := range fansOf(s) {
			switch {
			case k.Mapping == p.Mapping:
				places[i].Bridge = k.Bridge
			case k.Bridge == p.Bridge:
				places[i].Bridge = ""
			}
		}
	}
	return places
}

// placesFor returns the places of all words that have one, and the errors of the others.
func placesFor(ctx context.Context, words []string, fans []calcFan) ([]Place, error) {
	if len(words) == 0 {
		return hereIn(fans)
	}
	var places []Place
	var wrong []error
	for _, word := range words {
		found, err := find(ctx, word, fans)
		if err != nil {
			wrong = append(wrong, err)
		}
		places = append(places, found...)
	}
	return places, errors.Join(wrong...)
}

func calcFans(named fan.Spec, s kernel.State) ([]calcFan, error) {
	if named.Overlay.IsValid() {
		return namedFan(named, s)
	}
	var fans []calcFan
	for _, k := range fansOf(s) {
		fans = append(fans, calcFan{k.Bridge, k.Mapping, k.Host})
	}
	if len(fans) == 0 {
		return nil, fan.Usagef("no fan is up here; name one, such as -u 10.0.0.0/16 -o 250.0.0.0/8")
	}
	return fans, nil
}

// namedFan needs the host only where the underlay is named by a device of it.
func namedFan(named fan.Spec, s kernel.State) ([]calcFan, error) {
	result := calcFan{bridge: fan.BridgeName(named.Overlay)}
	if f, err := resolve(fan.Spec{Underlay: named.Underlay, Overlay: named.Overlay}, s); err == nil {
		result.mapping, result.host = f.Mapping, f.Host
		return []calcFan{result}, nil
	} else if !named.Underlay.Addr.IsValid() {
		return nil, err
	}
	m, err := fan.NewMapping(netip.PrefixFrom(named.Underlay.Addr, named.Underlay.Bits).Masked(), named.Overlay)
	result.mapping = m
	return []calcFan{result}, err
}

func hereIn(fans []calcFan) ([]Place, error) {
	var places []Place
	for _, f := range fans {
		if !f.host.IsValid() {
			return nil, fan.Usagef("this host has no address in underlay %s; ask for one, such as fanctl calc %s", f.mapping.Underlay(), f.mapping.Underlay().Addr().Next())
		}
		found, err := placesOf(f.bridge, f.host, []calcFan{f})
		if err != nil {
			return nil, err
		}
		places = append(places, found...)
	}
	return places, nil
}

// find returns the places that a word means.
func find(ctx context.Context, word string, fans []calcFan) ([]Place, error) {
	for _, f := range fans {
		if f.bridge == word {
			return hereIn([]calcFan{f})
		}
	}
	address, err := addressOf(ctx, word, fans)
	if err != nil {
		return nil, err
	}
	return placesOf(word, address, fans)
}

// addressOf returns the address that a word stands for.
func addressOf(ctx context.Context, word string, fans []calcFan) (netip.Addr, error) {
	if a, err := netip.ParseAddr(word); err == nil {
		return a.Unmap(), nil
	}
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", word)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && !dns.IsNotFound:
		// Its text is of sockets and says nothing of what was asked for.
		return netip.Addr{}, fan.Usagef("%q is neither an address nor the name of a fan here, and no name server answers that knows hosts; use an address such as %s",
			word, fans[0].mapping.Overlay().Addr().Next())
	case errors.As(err, &dns):
		return netip.Addr{}, fan.Usagef("%q is neither an address nor the name of a fan here or of a host; use an address such as %s",
			word, fans[0].mapping.Overlay().Addr().Next())
	case err != nil:
		return netip.Addr{}, fmt.Errorf("look up host %q: %w", word, err)
	}
	for _, a := range list {
		for _, f := range fans {
			if _, err := f.mapping.Owner(a.Unmap()); err == nil {
				return a.Unmap(), nil
			}
		}
	}
	return list[0].Unmap(), nil
}

// placesOf returns the places of an address, one in each fan that has it: an
// underlay can carry several fans.
func placesOf(word string, a netip.Addr, fans []calcFan) ([]Place, error) {
	var places []Place
	var last error
	for _, f := range fans {
		owner, err := f.mapping.Owner(a)
		if err != nil {
			last = err
			continue
		}
		places = append(places, Place{Asked: word, Address: a, Bridge: f.bridge, Mapping: f.mapping, Owner: owner, Here: owner.Host == f.host})
	}
	switch {
	case len(places) > 0:
		return places, nil
	case len(fans) == 1:
		return nil, last
	}
	return nil, fan.Usagef("%s is nobody's in any of the fans that are up; fanctl show lists their networks", a)
}
