package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/selftest"
	"github.com/fanctl/fanctl/internal/setup"
)

// test asks what to test and does it.
func (w *wizardRun) test() error {
	onlyTest := w.fan.Bridge == ""
	if onlyTest {
		f, err := fanToTest(w.c, w.Setup)
		if err != nil {
			return err
		}
		w.fan = f
	}
	engines, err := w.Engines(w.c.Context, w.fan)
	switch {
	case err != nil && (onlyTest || w.c.Err() != nil):
		return err
	case err != nil: // the fan is up, which is what was asked for
		w.say("Nothing was tested, for no container engine answers%s", reason(err))
		return nil
	}
	if len(engines) == 0 {
		w.say("Neither Docker nor LXD is on the fan, so there is nothing to test")
		return nil
	}
	slices.Reverse(engines) // LXD first, as in the original
	var failed error
	for _, engine := range engines {
		title := map[string]string{setup.EngineDocker: "docker", setup.EngineLXD: "LXD"}[engine]
		yes, err := w.yes(fmt.Sprintf("Test %s networking for %s", title, w.networks()))
		if err != nil {
			return err
		}
		if yes {
			failed = errors.Join(failed, local(w.c, w.Setup, w.fan, engine).run())
		}
	}
	return errors.Join(failed, w.testRemote())
}

// testRemote asks for another host and tests together with it.
func (w *wizardRun) testRemote() error {
	w.say("This host IP address: %s", w.fan.Host)
	var peer netip.Addr
	err := w.ask("Remote test host IP address (none to skip)", "", func(answer string) (err error) {
		peer = netip.Addr{} // of an answer that was refused
		if answer == "" || answer == "none" {
			return nil
		}
		if peer, err = netip.ParseAddr(answer); err != nil {
			return fan.Usagef("%q is not an address; type the underlay address of the other host, such as %s", answer, w.fan.Host.Next())
		}
		if peer == w.fan.Host || !w.fan.Mapping.Underlay().Contains(peer) {
			return fan.Usagef("%s is not another host of %s", peer, w.fan.Mapping.Underlay())
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !peer.IsValid() {
		w.say("Testing skipped")
		return nil
	}
	return withPeer(w.c, w.Setup, w.fan, func(ctx context.Context, t selftest.Test) (selftest.Outcome, error) { return t.Meet(ctx, peer) })
}
