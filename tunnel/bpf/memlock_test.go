package bpf

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// The limit on locked memory is as it was afterwards, and what load says comes back.
func TestWithoutMemlock(t *testing.T) {
	limit := func() (l unix.Rlimit) {
		if err := unix.Prlimit(0, unix.RLIMIT_MEMLOCK, nil, &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	before, said := limit(), errors.New("said")
	var inside unix.Rlimit
	err := WithoutMemlock(func() error {
		inside = limit()
		return said
	})
	if !errors.Is(err, said) {
		t.Errorf("got error %v", err)
	}
	if inside.Cur < before.Cur || inside.Max < before.Max {
		t.Errorf("the limit was %+v, and is %+v while programs are loaded", before, inside)
	}
	if after := limit(); after != before {
		t.Errorf("the limit was %+v, and is %+v afterwards", before, after)
	}
}
