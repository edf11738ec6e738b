package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
)

const (
	// restartPatience is how long the restarting program may take. dockerd gives
	// containers 10 to 15 seconds to end.
	restartPatience = 2 * time.Minute
	// answerPatience is how long the daemon may take to answer after that.
	answerPatience = time.Minute
	// pollInterval is how often it is asked.
	pollInterval = 100 * time.Millisecond
)

// restartWords returns the program that restarts the daemon, with its words.
func (d *Daemon) restartWords(p process) ([]string, error) {
	if len(d.restart) > 0 {
		return d.restart, nil
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		if unit := p.unit(); unit != "" {
			return []string{"systemctl", "restart", unit}, nil
		}
	}
	pid, err := os.ReadFile("/var/run/docker.pid")
	if _, script := os.Stat("/etc/init.d/docker"); err == nil && script == nil && strings.TrimSpace(string(pid)) == strconv.Itoa(p.pid) {
		return []string{"service", "docker", "restart"}, nil
	}
	return nil, fan.Usagef("the Docker daemon (process %d) was started neither by systemd nor by its init script, so it can't be restarted; say how with --docker-restart PROGRAM", p.pid)
}

// run runs a program and returns what it says when it fails. The daemon that it may
// start gets its output, so that is a file without a name and not a pipe, which would
// be waited for, and break, with us.
func run(words []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), restartPatience)
	defer cancel()
	fd, err := unix.MemfdCreate("output", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make a file for the output of %s: %w", words[0], err)
	}
	out := os.NewFile(uintptr(fd), "output")
	defer out.Close()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	// In a group of its own it does not get the terminal's Ctrl-C, which would end it,
	// and Docker with it, half-way.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("it has not ended after %s", restartPatience)
	}
	const enough = 4096
	text, errRead := io.ReadAll(io.NewSectionReader(out, 0, enough))
	if said := strings.TrimSpace(string(text)); errRead == nil && said != "" {
		return fmt.Errorf("%w: %s", err, strings.ReplaceAll(said, "\n", "; "))
	}
	return err
}

// restartTo restarts the daemon and waits until it answers with that default bridge.
func (d *Daemon) restartTo(words []string, wanted func(bridge string) bool) error {
	before, errBefore := findProcess(d.socket)
	if filepath.Base(words[0]) == "systemctl" {
		// It refuses to start what was started often in a short time.
		_ = run([]string{words[0], "reset-failed", words[len(words)-1]})
	}
	if err := run(words); err != nil {
		return err
	}
	end := time.Now().Add(answerPatience)
	for {
		bridge, p, err := d.asked()
		switch {
		case err == nil && wanted(bridge):
			return nil
		case err == nil && errBefore == nil && !p.is(before):
			return fmt.Errorf("the daemon has restarted, but its default bridge is %s", orNone(bridge))
		case time.Now().After(end) && err != nil:
			return fmt.Errorf("the daemon does not answer after %s: %w", answerPatience, err)
		case time.Now().After(end):
			return fmt.Errorf("the daemon was not restarted: its default bridge is still %s", orNone(bridge))
		}
		time.Sleep(pollInterval)
	}
}

// asked returns the default bridge and the process of a daemon that answers.
func (d *Daemon) asked() (bridge string, p process, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list, err := d.client.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return "", p, err
	}
	if p, err = findProcess(d.socket); err != nil {
		return "", p, err
	}
	if filepath.Base(p.exe) != "dockerd" {
		return "", p, errors.New("dockerd is not there yet")
	}
	return look{networks: list.Items}.defaultBridge(), p, nil
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
