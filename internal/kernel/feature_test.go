package kernel

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExplain(t *testing.T) {
	for _, test := range []struct {
		err     error
		missing bool
	}{
		{nil, false}, {unix.EPERM, false}, {unix.EEXIST, false}, {unix.EINVAL, false},
		{unix.EOPNOTSUPP, true}, {unix.ENOENT, true}, {fmt.Errorf("add: %w", unix.EOPNOTSUPP), true},
	} {
		got := VXLAN().Explain(test.err)
		if !errors.Is(got, test.err) {
			t.Errorf("%v is not %v", got, test.err)
		}
		if !test.missing {
			if fmt.Sprint(got) != fmt.Sprint(test.err) {
				t.Errorf("%v is explained as %v", test.err, got)
			}
			continue
		}
		for _, word := range []string{"vxlan", "CONFIG_VXLAN", "4.3", Release()} {
			if !strings.Contains(got.Error(), word) {
				t.Errorf("%q does not name %s", got, word)
			}
		}
	}
}

// Where something else does as well, it is said.
func TestExplainWhatDoesInstead(t *testing.T) {
	got := IPIP().Explain(unix.EOPNOTSUPP).Error()
	for _, word := range []string{"CONFIG_NET_IPIP", "4.9", "eBPF", "leave --datapath out"} {
		if !strings.Contains(got, word) {
			t.Errorf("%q does not name %s", got, word)
		}
	}
}
