package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// While packages are installed, none of their services may start; what keeps them from it
// goes again however that ends, and one of somebody else's stays as it is. /usr/sbin and
// the programs of dpkg and apt are of this test, in a mount namespace of its own.
func TestDepsStartNoServices(t *testing.T) {
	t.Parallel()
	const others = "#!/bin/sh\nexit 0\n"
	left := "#!/bin/sh\n# By tests/deps.sh of fan, while it installs; one that is left can be removed.\nexit 101\n"
	for name, c := range map[string]struct {
		before, during, after string
		apt                   string // what apt does
		end                   bool   // somebody ends it
		code                  int
	}{
		"done":            {during: left},
		"fails":           {during: left, apt: "exit 1", code: 1},
		"ended":           {during: left, apt: "sleep 1", end: true, code: 1},
		"somebody else's": {before: others, during: others, after: others},
		"left":            {before: left, during: left},
	} {
		dir := t.TempDir()
		sbin, bin := filepath.Join(dir, "sbin"), filepath.Join(dir, "bin")
		policy, seen := filepath.Join(sbin, "policy-rc.d"), filepath.Join(dir, "seen")
		apt := "#!/bin/sh\n[ $2 = install ] || exit 0\ncp -p /usr/sbin/policy-rc.d '" + dir + "/policy'\nmv '" + dir + "/policy' '" + seen + "'\n" + c.apt + "\n"
		for path, text := range map[string]string{policy: c.before, filepath.Join(bin, "apt-get"): apt, filepath.Join(bin, "dpkg-query"): "#!/bin/sh\nexit 1\n"} {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if text == "" {
				continue
			}
			if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-c", "mount --bind '"+sbin+"' /usr/sbin && exec bash deps.sh firewalld")
		cmd.Env = append(os.Environ(), "PATH="+bin+":/usr/bin:/bin")
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			if _, err := os.Stat(seen); err == nil || !c.end {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if c.end {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, c.code, said.String())
		}
		during, _ := os.ReadFile(seen)
		after, _ := os.ReadFile(policy)
		if string(during) != c.during || string(after) != c.after {
			t.Errorf("%s: policy-rc.d is %q while apt installs and %q afterwards, want %q and %q", name, during, after, c.during, c.after)
		}
		if info, err := os.Stat(seen); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: apt has seen no policy-rc.d that it can run: %v", name, err)
		}
	}
}
