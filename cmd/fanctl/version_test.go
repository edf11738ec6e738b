package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/internal/command"
)

func TestVersion(t *testing.T) {
	for _, args := range []string{"version", "--version"} {
		var out, errOut bytes.Buffer
		code := run([]string{"fanctl", args}, &out, &errOut)
		if want := "fanctl " + command.Version(version) + "\n"; code != 0 || out.String() != want || errOut.Len() > 0 {
			t.Errorf("fanctl %s: exit code %d, %q, error %q; want %q", args, code, out.String(), errOut.String(), want)
		}
	}
	var out, errOut bytes.Buffer
	if code := run([]string{"fanctl", "version", "2"}, &out, &errOut); code != 2 || !strings.Contains(errOut.String(), `"2"`) {
		t.Errorf("fanctl version 2: exit code %d, %q", code, errOut.String())
	}
}
