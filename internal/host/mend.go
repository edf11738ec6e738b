package host

import "github.com/fanctl/fanctl/fan"

// mendError says which fan could not be put right. It is not the error that it
// tells of: nobody has asked for anything, so that it is never bad input.
type mendError struct {
	bridge string
	err    error
}

func (e mendError) Error() string { return e.bridge + ": " + e.err.Error() }

// Mend puts right, one after the other, the fans that are up, and reports each; it
// goes on past failures and returns the last. A fan is to be as its alias says, at
// the address that it had or, if the host has that no more, at the one that its device
// has inside the underlay (fan.SpecAmong).
func (h *Host) Mend(dryRun bool, report func(Result, error)) error {
	return locked(func() error {
		now, err := h.look()
		if err != nil {
			return err
		}
		var last error
		for _, k := range fansOf(now.State) {
			result, err := h.mend(k.Fan, now, dryRun)
			if err != nil {
				err = mendError{k.Bridge, err}
				last = err
			}
			report(result, err)
			if len(result.Plan) == 0 {
				continue // what was seen is what there is
			}
			if now, err = h.look(); err != nil {
				return err
			}
		}
		return last
	})
}

func (h *Host) mend(f fan.Fan, now seen, dryRun bool) (Result, error) {
	_, hasDevice := now.Link(f.Device)
	spec, err := f.SpecAmong(locals(now.State), hasDevice)
	if err != nil {
		return Result{Fan: f}, err
	}
	result, err := h.planUp(spec, now, true)
	if err != nil || dryRun {
		return result, err
	}
	return result, result.Plan.Apply(h.Observe)
}
