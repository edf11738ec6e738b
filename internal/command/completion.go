package command

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/ifupdown"
	"github.com/fanctl/fanctl/internal/completion"
	"github.com/fanctl/fanctl/internal/host"
)

// CompletionCommand prints the scripts that shells complete a program's lines by.
// what says what is completed.
func CompletionCommand(program, what string) *cli.Command {
	shells := completion.Shells()
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the script by which a shell completes " + program + "'s command lines",
		UsageText: program + " completion " + strings.Join(shells, "|") + "\n\n. <(" + program + " completion bash)\n" + program + " completion fish | source",
		Description: what + "\n" +
			"For good, it belongs in the shell's startup file, or where its other completions are.",
		OnUsageError: UsageError(program),
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 || !slices.Contains(shells, c.Args().First()) {
				return fan.Usagef("shell %q is unknown; use one of %s", strings.Join(c.Args().Slice(), " "), strings.Join(shells, ", "))
			}
			script, err := completion.Script(c.Args().First(), c.App.Name)
			if err != nil {
				return err
			}
			_, err = io.WriteString(c.App.Writer, script)
			return err
		},
	}
}

// CompleteCommand is what the scripts call. It says nothing where it can't know.
func CompleteCommand(source completion.Source) *cli.Command {
	return &cli.Command{
		Name: "complete", Hidden: true, HideHelp: true,
		Action: func(c *cli.Context) error {
			return completion.Print(c.App.Writer, completion.Complete(c.App, c.Args().Slice(), source))
		},
	}
}

// Takes is what the words of a command, and its options for networks, stand for.
type Takes uint8

// What commands take.
const (
	NewFan    Takes = iota + 1 // networks that a fan of this host can have
	FanUp                      // the networks of a fan that is up
	ListedFan                  // the networks of a fan of the list
	Bridge                     // bridges of fans that are up
)

// Candidates returns the values of options and the words of commands, by what each
// command takes. more knows options of the program's own. Numbers and new names have
// no candidates.
func Candidates(takes map[string]Takes, more map[string][]completion.Candidate) completion.Source {
	return func(l completion.Line) []completion.Candidate {
		switch l.Option {
		case "type":
			return []completion.Candidate{{Word: fan.IPIP.String(), Help: "routed, 20 bytes a packet"}, {Word: fan.VXLAN.String(), Help: "bridged, 50 bytes a packet"}}
		case "datapath":
			return []completion.Candidate{{Word: fan.Auto.String()}, {Word: fan.Device.String()}, {Word: fan.EBPF.String()}}
		case "fast":
			return []completion.Candidate{{Word: fan.FastIfSafe.String(), Help: "unless the firewall's rules are in the way"}, {Word: fan.FastAnyway.String(), Help: "in spite of them"}}
		case "file":
			return []completion.Candidate{{Path: true}}
		case "underlay", "overlay":
			return networks(l, takes[l.Command], l.Option)
		case "":
			return wordsFor(l, takes[l.Command], more)
		}
		return more[l.Option]
	}
}

func wordsFor(l completion.Line, takes Takes, more map[string][]completion.Candidate) []completion.Candidate {
	var list []completion.Candidate
	switch {
	case l.Command == "completion" && len(l.Words) == 0:
		for _, shell := range completion.Shells() {
			list = append(list, completion.Candidate{Word: shell})
		}
	case takes == Bridge:
		for _, f := range fansUp() {
			list = append(list, completion.Candidate{Word: f.Bridge, Help: "overlay " + f.Mapping.Overlay().String()})
		}
	case takes != 0:
		for _, which := range []string{"underlay", "overlay"} {
			if !hasNetwork(l, takes, which) {
				list = append(list, networks(l, takes, which)...)
			}
		}
	default:
		list = slices.Clone(more[l.Command])
	}
	return slices.DeleteFunc(list, func(c completion.Candidate) bool { return slices.Contains(l.Words, c.Word) })
}

// hasNetwork says whether one of the networks, by its name, is given already.
func hasNetwork(l completion.Line, takes Takes, which string) bool {
	for _, option := range []string{which, "all", "every"} { // with a whole list none is named
		if _, given := l.Given[option]; given {
			return true
		}
	}
	if len(l.Words) == 0 {
		return false
	}
	// A word that can be either is one of those that were offered.
	return len(l.Words) > 1 || slices.ContainsFunc(networks(l, takes, which), func(c completion.Candidate) bool { return c.Word == l.Words[0] })
}

// networks are those that a fan can have, that a fan that is up has, or one of the
// list, as the command needs it.
func networks(l completion.Line, takes Takes, which string) []completion.Candidate {
	fans := map[string]string{}
	var order []string
	add := func(underlay, overlay, help string) {
		word, other, otherName := underlay, overlay, "overlay"
		if which == "overlay" {
			word, other, otherName = overlay, underlay, "underlay"
		}
		if given, has := l.Given[otherName]; has && other != "" && !sameNetwork(given, other) {
			return
		}
		if _, double := fans[word]; word == "" || double {
			return
		}
		fans[word], order = help, append(order, word)
	}
	switch takes {
	case ListedFan:
		for _, s := range listed(l) {
			add(s.Underlay.String(), s.Overlay.String(), "in the list")
		}
	case FanUp, Bridge:
		for _, f := range fansUp() {
			add(f.Mapping.Underlay().String(), f.Mapping.Overlay().String(), f.Bridge)
		}
	default:
		for _, u := range underlays() {
			add(u.Word, "", u.Help)
		}
		add("", "250.0.0.0/8", "the usual one")
	}
	var list []completion.Candidate
	for _, word := range order {
		list = append(list, completion.Candidate{Word: word, Help: fans[word]})
	}
	return list
}

// sameNetwork says whether what was written means the network, "250" being short
// for 250.0.0.0/8.
func sameNetwork(written, network string) bool {
	o, err := fan.ParseOverlay(written)
	return written == network || err == nil && o.String() == network
}

// underlays are the forms of underlays that this host can have.
func underlays() []completion.Candidate {
	var list []completion.Candidate
	_ = onHost(func(h *host.Host) error {
		locals, err := h.Underlays()
		for _, l := range locals {
			for _, bits := range slices.Compact([]int{16, cmp.Or(usableBits(l.Prefix), 16)}) {
				list = append(list, completion.Candidate{Word: fmt.Sprintf("%s/%d", l.Device, bits), Help: "this host has " + l.Prefix.String()})
			}
		}
		return err
	})
	return append(list, completion.Candidate{Word: "default/16", Help: "the device with the default route"})
}

// usableBits is the length of a mask, if an underlay can have it over the usual
// overlay.
func usableBits(p netip.Prefix) int {
	if _, err := fan.NewMapping(p.Masked(), netip.MustParsePrefix("250.0.0.0/8")); err != nil {
		return 0
	}
	return p.Bits()
}

// fansUp returns the fans that are up, none if that can't be found out.
func fansUp() []fan.Fan {
	var fans []fan.Fan
	_ = onHost(func(h *host.Host) (err error) {
		fans, err = h.Fans()
		return err
	})
	return fans
}

// listed returns the fans of the list that the command line names.
func listed(l completion.Line) []fan.Spec {
	list, err := ifupdown.Load(cmp.Or(l.Given["file"], ifupdown.Path))
	if err != nil {
		return nil
	}
	var specs []fan.Spec
	for _, e := range list.Entries() {
		if e.Err == nil {
			specs = append(specs, e.Spec)
		}
	}
	return specs
}

func onHost(do func(*host.Host) error) error {
	h, err := host.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	return do(h)
}
