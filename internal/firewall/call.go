package firewall

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/coreos/go-iptables/iptables"
	"golang.org/x/sys/unix"
)

// lockSeconds is how long a change waits for another program that has the lock
// of iptables-legacy (/run/xtables.lock). Over nftables there is no lock:
// iptables tries again by itself when another change came between.
const lockSeconds = "10"

// restore makes changes, each of a table as a whole.
func restore(input string) error {
	_, err := call(input, "iptables-restore", "--noflush", "-w", lockSeconds)
	if err == nil {
		return nil
	}
	if line := failedLine(err.Error(), input); line != "" {
		return fmt.Errorf("iptables %s: %w", line, err)
	}
	return err
}

// failedLine returns the command of the input that iptables-restore complains of,
// which it names only by its number; "" if it names none.
func failedLine(complaint, input string) string {
	number := regexp.MustCompile(`\bline:? (\d+)`).FindStringSubmatch(complaint)
	if number == nil {
		return ""
	}
	n, err := strconv.Atoi(number[1])
	lines := strings.Split(input, "\n")
	if err != nil || n < 1 || n > len(lines) || !strings.HasPrefix(lines[n-1], "-") {
		return "" // the whole table, at its COMMIT
	}
	return lines[n-1]
}

// call runs one of the programs of the package iptables.
func call(input, name string, args ...string) (string, error) {
	path, err := find(name)
	if err != nil {
		return "", err
	}
	cmd := exec.Command(path, args...)
	// A Ctrl-C is for this program, which knows what is to be finished or taken back.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Stdin = strings.NewReader(input)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", explain(fmt.Errorf("%s: %w: %s", name, err, strings.Join(strings.Fields(errOut.String()), " ")))
	}
	return out.String(), nil
}

// find returns a program's path. It also looks where root's programs are, which
// is not in the path of a service or of a root shell that su opened.
func find(name string) (string, error) {
	for _, path := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", ErrMissing
}

// explain adds to the error of a call what can be wrong with the program. It
// costs a call of its own, so it is for failures only.
func explain(failed error) error {
	path, err := find("iptables")
	if err != nil {
		return err
	}
	ipt, err := iptables.New(iptables.Path(path))
	if err != nil {
		return errors.Join(failed, err)
	}
	// iptables-restore knows --wait since 1.6.2.
	major, minor, patch := ipt.GetIptablesVersion()
	if major < 1 || major == 1 && (minor < 6 || minor == 6 && patch < 2) {
		return fmt.Errorf("iptables %d.%d.%d is too old, 1.6.2 or newer is needed: %w", major, minor, patch, failed)
	}
	return failed
}
