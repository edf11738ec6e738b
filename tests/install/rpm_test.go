//go:build install

package install

import (
	"path/filepath"
	"strings"
	"testing"
)

// The RPM package has what the Debian package has, and scripts that are well-formed.
func TestRPM(t *testing.T) {
	dir, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := runMake("rpm", "VERSION="+older, "SOURCE_DATE_EPOCH=1700000000", "PROGRAM="+filepath.Join(to, "fanctl"), "DIST="+to); err != nil {
		t.Fatal(err)
	}
	listed := command(t, nil, "sh", "-ec", `rpm -qlp "$0"/*.rpm | sort`, to)
	deb := command(t, nil, "sh", "-ec", `dpkg-deb --fsys-tarfile "$0" | tar -t | sed -n 's#^\.\(.*[^/]\)$#\1#p' | sort`, filepath.Join(dir, older+".deb"))
	for file := range strings.Lines(deb) {
		if !strings.Contains(listed, file) {
			t.Errorf("the RPM package lacks %s", file)
		}
	}
	if strings.Count(deb, "\n") < 15 {
		t.Errorf("the Debian package has only %s", deb)
	}
	scripts := command(t, nil, "sh", "-ec", `rpm -qp --scripts "$0"/*.rpm | tee "$0/scripts" | sed '/scriptlet (using/d' | sh -n; cat "$0/scripts"`, to)
	for _, kind := range []string{"postinstall", "preuninstall", "postuninstall"} {
		if !strings.Contains(scripts, kind+" scriptlet") {
			t.Errorf("the RPM package has no script %s: %s", kind, scripts)
		}
	}
}
