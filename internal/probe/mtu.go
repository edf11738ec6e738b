package probe

import (
	"context"
	"slices"
	"time"
)

// Size asks for the longest packet that passes whole.
type Size struct {
	Path
	Want int           // bytes, the IPv4 header included, that should pass
	Wait time.Duration // for answers
}

// Passed is the answer to Size.
type Passed struct {
	Largest  int       `json:"largest"` // bytes; 0 if nothing passes
	Refusals []Refusal `json:"refusals,omitempty"`
}

// Run sends a packet of the wanted size that may not be fragmented and, if it gets no
// answer, looks for the largest that does.
func (s Size) Run(ctx context.Context) (Passed, error) {
	s.Want = min(max(s.Want, Smallest), Biggest)
	// The first one may be lost while the way's hosts are looked for.
	e := exchange{Path: s.Path, sizes: []int{s.Want, s.Want, s.Want}, interval: 20 * time.Millisecond, wait: s.Wait}
	if err := e.run(ctx); err != nil {
		return Passed{}, err
	}
	if len(e.answered) > 0 {
		return Passed{Largest: s.Want}, nil
	}
	found := Passed{Refusals: e.refusals}
	low, high := 0, s.Want // low passes, or is nothing; high does not
	for high-low > 1 {
		e := exchange{Path: s.Path, sizes: between(low, high), interval: 5 * time.Millisecond, wait: s.Wait}
		if err := e.run(ctx); err != nil {
			return Passed{}, err
		}
		passed := low
		for i := range e.answered {
			passed = max(passed, e.sizes[i])
		}
		high = slices.Min(append(above(e.sizes, passed), high))
		if passed == low && high <= max(low, Smallest)+1 {
			break
		}
		low = passed
	}
	found.Largest = low
	return found, nil
}

// steps is how many sizes are tried at once: what is silent costs a whole wait, so
// that trying one after the other takes many times as long.
const steps = 16

// between returns sizes that part a range, from the first that may pass to the one
// before high, each twice because one packet may be lost for other reasons.
func between(low, high int) []int {
	first := max(low+1, Smallest)
	var sizes []int
	span := high - 1 - first
	last := 0
	for i := range steps + 1 {
		if size := first + span*i/steps; size != last && size >= first {
			sizes = append(sizes, size, size)
			last = size
		}
	}
	return sizes
}

func above(sizes []int, than int) []int {
	return slices.DeleteFunc(slices.Clone(sizes), func(s int) bool { return s <= than })
}
