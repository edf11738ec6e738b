//go:build vm

// Command init is the first process of a test machine: it mounts what programs
// expect, runs one command with another port than the console as its output, writes the
// exit code there, and powers off.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	report, err := prepare()
	if err != nil {
		// To the console: the kernel panics when its first process ends, and the
		// machine with it, without a verdict.
		fmt.Fprintln(os.Stderr, "init:", err)
		os.Exit(1)
	}
	code := runCommand(report)
	fmt.Fprintf(report, "\nmachine: exit code %d\n", code)
	// Until all has left the port; powering off loses what has not. One of virtio's
	// returns from a write only then.
	if err := unix.IoctlSetInt(int(report.Fd()), unix.TCSBRK, 1); err != nil && !errors.Is(err, unix.ENOTTY) {
		fmt.Fprintln(os.Stderr, "init: wait for the serial port:", err)
	}
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintln(os.Stderr, "init: power off:", err)
	}
}

// prepare makes the machine one in which programs run, and opens the port.
func prepare() (*os.File, error) {
	for _, m := range []struct{ source, target, kind string }{
		{"dev", "/dev", "devtmpfs"},
		{"proc", "/proc", "proc"},
		{"sys", "/sys", "sysfs"},
		{"run", "/run", "tmpfs"},
		{"tmp", "/tmp", "tmpfs"},
		{"bpf", "/sys/fs/bpf", "bpf"},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return nil, err
		}
		if err := unix.Mount(m.source, m.target, m.kind, 0, ""); err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	for name, value := range map[string]string{"PATH": "/usr/sbin:/usr/bin", "HOME": "/root", "FANCTL": "/bin/fanctl"} {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("set lo up: %w: %s", err, out)
	}
	return openReport("/dev/" + os.Getenv("report"))
}

// openReport opens the port that the kernel's command line names, which has become a
// variable. A serial port is there; one of virtio's comes after its driver.
func openReport(port string) (*os.File, error) {
	serial := strings.HasPrefix(port, "/dev/tty")
	if !serial {
		if out, err := exec.Command("modprobe", "-a", "virtio_pci", "virtio_console").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("load virtio's drivers: %w: %s", err, out)
		}
	}
	fd, err := unix.Open(port, unix.O_WRONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	for range 1000 {
		if !errors.Is(err, unix.ENOENT) {
			break
		}
		time.Sleep(10 * time.Millisecond)
		fd, err = unix.Open(port, unix.O_WRONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", port, err)
	}
	report := os.NewFile(uintptr(fd), port)
	if serial {
		return report, plain(report)
	}
	return report, nil
}

// plain keeps the terminal driver from changing what is written.
func plain(port *os.File) error {
	settings, err := unix.IoctlGetTermios(int(port.Fd()), unix.TCGETS)
	if err != nil {
		return fmt.Errorf("read settings of the serial port: %w", err)
	}
	settings.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(int(port.Fd()), unix.TCSETS, settings); err != nil {
		return fmt.Errorf("set up the serial port: %w", err)
	}
	return nil
}

// runCommand runs the words of /etc/command and returns the exit code as a shell
// tells it: 127 if there is no such program, 128 and more for a signal.
func runCommand(report *os.File) int {
	text, err := os.ReadFile("/etc/command")
	if err != nil {
		fmt.Fprintln(report, "init:", err)
		return 127
	}
	words := strings.Split(string(text), "\x00")
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = report, report
	cmd.Dir = "/root"
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		fmt.Fprintln(report, "init:", err)
		return 127
	}
	status, ok := exit.Sys().(interface{ Signaled() bool })
	if ok && status.Signaled() {
		fmt.Fprintln(report, "init:", exit)
		return 128
	}
	return exit.ExitCode()
}
