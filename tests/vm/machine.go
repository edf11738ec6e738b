//go:build vm

package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// verdictMark begins the line by which init tells the exit code of its command.
const verdictMark = "machine: exit code "

// consoleTail is how many of the console's last lines an error shows: a panic with
// its registers and stack.
const consoleTail = 100

// machine is a virtual machine that runs one command and ends.
type machine struct {
	kernel kernel
	image  string // the first file system
	// card are QEMU's words for a network card. With one, the machine's time is that
	// of this machine, for machines that talk to each other must agree on it.
	card []string
}

// run starts the machine, passes on what its command prints, line by line, and
// returns the command's exit code. A machine that panics, hangs until the context
// is done, or ends without a verdict is an error with the end of its console.
//
// There are two serial ports, so that the kernel does not write into the middle
// of the command's lines: its console, and one for the command.
func (m machine) run(ctx context.Context, line func(string)) (int, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer report.Close()
	console := &tail{}
	cmd := m.command(ctx, reportEnd, console)
	if err := cmd.Start(); err != nil {
		return 0, errors.Join(fmt.Errorf("start machine: %w", err), reportEnd.Close())
	}
	reportEnd.Close() // qemu has its own
	code, readErr := readReport(report, line)
	if code >= 0 {
		// The machine has nothing more to say; it may take its time to power off.
		time.AfterFunc(10*time.Second, stop)
	}
	waitErr := cmd.Wait()
	switch {
	case code >= 0:
		return code, nil
	case ctx.Err() != nil:
		err = fmt.Errorf("the machine was stopped: %w", context.Cause(ctx))
	default:
		err = errors.New("the machine ended without a verdict")
	}
	return 0, fmt.Errorf("%w\nthe end of its console:\n%s", errors.Join(err, readErr, waitErr), console)
}

// command is QEMU's, and no KVM: test machines are virtual machines themselves.
//
// Time in the machine goes by instructions, a nanosecond each, and leaps when the
// processor has nothing to do. So nothing in it runs into a time limit because
// this machine is slow or busy, waiting costs nothing, and benchmarks count
// instructions.
//
// QEMU 7.2 emulates cmpxchg16b wrongly (kernels panic in kmalloc), several
// processors slowly, and the string instructions that newer processors are fast
// at slowest of all. Addresses are not random, as what is translated once can only
// be used again at the same address: programs start four times as fast. A kernel does not
// try whether its timer ticks, which takes a busy processor for a broken one. An oops is
// a panic, and a panic ends the machine.
func (m machine) command(ctx context.Context, report *os.File, console io.Writer) *exec.Cmd {
	clock := []string{"-icount", "shift=0,sleep=off"}
	if len(m.card) > 0 {
		clock = m.card
	}
	p := m.kernel.platform
	words := slices.Concat(p.emulator[1:], p.ports, clock, []string{
		"-accel", "tcg", "-smp", "1", "-m", "2048",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", m.kernel.image, "-initrd", m.image,
		"-append", p.kernel + " no_timer_check loglevel=4 panic=-1 oops=panic mitigations=off norandmaps random.trust_cpu=on audit=0"})
	cmd := exec.CommandContext(ctx, p.emulator[0], words...)
	cmd.Stdout, cmd.Stderr = console, console
	cmd.ExtraFiles = []*os.File{report}
	// The kernel kills it with the test, should that be killed itself.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// readReport passes lines on until the verdict, and returns the exit code in it,
// or -1 if there is none.
func readReport(report io.Reader, line func(string)) (int, error) {
	lines := bufio.NewScanner(report)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text := strings.TrimRight(lines.Text(), "\r")
		if word, found := strings.CutPrefix(text, verdictMark); found {
			return strconv.Atoi(word)
		}
		line(text)
	}
	return -1, lines.Err()
}

// tail keeps the last lines that are written to it.
type tail struct {
	mutex sync.Mutex
	lines []string
}

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	parts := strings.Split(strings.ReplaceAll(string(b), "\r", ""), "\n")
	if len(t.lines) == 0 {
		t.lines = []string{""}
	}
	t.lines[len(t.lines)-1] += parts[0]
	t.lines = append(t.lines, parts[1:]...)
	t.lines = t.lines[max(0, len(t.lines)-consoleTail):]
	return len(b), nil
}

// String is the lines as they came.
func (t *tail) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return strings.Join(t.lines, "\n")
}
