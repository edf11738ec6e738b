package image

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// asked says, for each processor, what its program asks of the kernel, where in the
// code that stands, and what asks for the process's number instead: a call that
// returns at once.
var asked = map[string]struct {
	call   string
	number int // of the call
	at     int
	getpid []byte
	qemu   string
}{
	"386":     {"pause", 29, 1, []byte{20}, "qemu-i386-static"},
	"amd64":   {"pause", 34, 1, []byte{39}, "qemu-x86_64-static"},
	"arm":     {"pause", 29, 0, []byte{20}, "qemu-arm-static"},
	"arm64":   {"ppoll", 73, 20, binary.LittleEndian.AppendUint32(nil, 0xd2801588), "qemu-aarch64-static"}, // mov x8, #172
	"ppc64le": {"pause", 29, 0, []byte{20}, "qemu-ppc64le-static"},
	"s390x":   {"pause", 29, 1, []byte{20}, "qemu-s390x-static"},
}

func store(t *testing.T, m machine) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "init")
	if err := os.WriteFile(path, m.program(), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// emulated starts a program with the emulator of its processor, which writes the
// program's system calls down, and returns what it writes.
func emulated(t *testing.T, arch string, m machine) *bufio.Reader {
	t.Helper()
	qemu, err := exec.LookPath(asked[arch].qemu)
	if err != nil {
		t.Skipf("the program for %s is not run: %v (Debian: apt install qemu-user-static)", arch, err)
	}
	cmd := exec.Command(qemu, "-strace", store(t, m))
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	return bufio.NewReader(errs)
}

// nextCall reads on to the next call's name. A call that does not return has no end of
// line.
func nextCall(t *testing.T, trace *bufio.Reader) string {
	t.Helper()
	text, err := trace.ReadString('(')
	if err != nil {
		t.Fatalf("it has ended: %q", text)
	}
	words := strings.Fields(strings.TrimSuffix(text, "("))
	if len(words) == 0 {
		t.Fatalf("no call: %q", text)
	}
	return words[len(words)-1]
}

func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // whose end the kernel takes for this one's
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		runtime.UnlockOSThread()
	})
}

// The first and only thing that each program does is the call that waits.
func TestWaits(t *testing.T) {
	for _, arch := range processors {
		t.Run(arch, func(t *testing.T) {
			m, err := machineFor(arch)
			if err != nil {
				t.Fatal(err)
			}
			if call := nextCall(t, emulated(t, arch, m)); call != asked[arch].call {
				t.Errorf("it calls %q, want %q", call, asked[arch].call)
			}
		})
	}
}

// Whenever the call returns, the program calls again. No signal can show that, as the
// program catches none; so it is shown with a call that returns.
func TestWaitsAgain(t *testing.T) {
	for _, arch := range processors {
		t.Run(arch, func(t *testing.T) {
			m, err := machineFor(arch)
			if err != nil {
				t.Fatal(err)
			}
			m.waiting = slices.Concat(m.waiting[:asked[arch].at], asked[arch].getpid, m.waiting[asked[arch].at+len(asked[arch].getpid):])
			trace := emulated(t, arch, m)
			for range 3 {
				if call := nextCall(t, trace); call != "getpid" {
					t.Errorf("it calls %q", call)
				}
			}
		})
	}
}

// This processor's program, run by this kernel, comes to wait in its call.
func TestNative(t *testing.T) {
	m, err := machineFor(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(store(t, m))
	start(t, cmd)
	want := strconv.Itoa(asked[runtime.GOARCH].number)
	for {
		if in, err := systemCall(cmd.Process.Pid); err != nil {
			t.Fatal(err)
		} else if in == want {
			return
		}
		runtime.Gosched()
	}
}

// systemCall returns the number of the call in which a process waits, or "running". The
// error says that it has ended.
func systemCall(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	if _, after, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(after, "Z") {
		return "", errors.New("it has ended")
	}
	call, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(call)), " ")
	return first, nil
}
