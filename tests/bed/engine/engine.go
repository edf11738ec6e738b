// Package engine runs real container engines on the hosts of a bed: Docker, LXD
// and Incus, each as a daemon in the host's network namespace with everything of
// its own in a folder of the test.
//
//	the machine            a daemon
//	/run                   a tmpfs: no socket, lock or pid file of the machine's
//	/sys                   that of the host's network namespace
//	/sys/fs/cgroup/X       the group fant-engine-PID-N in it
//	its data               tmpfs: what is not written to a disk need not wait for one
//
// So daemons do not see each other, and all of one, with whatever runs in its
// containers, is found in its groups and killed there. Its socket and its file of
// configuration are on the machine's disk, where other programs find them.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tests/bed"
)

// prefix begins the names of folders and groups: fant-engine-PID-N.
const prefix = "fant-engine-"

// Daemons that do not answer, or do not end, within this time are given up.
const patience = time.Minute

// daemon is a container engine on a host: what stays the same while its process
// is started and ended.
type daemon struct {
	t      testing.TB
	host   *bed.Host
	name   string // in messages
	dir    string // of the test, on the machine's disk
	groups groups
	// root makes the groups the root of all groups for the process and what it
	// starts. Docker needs it to show a container its group. liblxc can't have it: it
	// takes the group of process 1, which is outside then, for where to make groups.
	root   bool
	mounts *os.File // the mount namespace
	words  []string // of the process
	env    []string
	ping   string // what GET answers as soon as the daemon works
	socket string

	process *process
	refuse  atomic.Bool
}

// process is one run of a daemon.
type process struct {
	pid   int
	ended chan struct{}
	err   error // of its end
}

// newDaemon makes the folder, the groups and the mount namespace of a daemon. They
// go away with the test, and with them all that runs in the groups.
func newDaemon(t testing.TB, h *bed.Host, name string) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", prefix, os.Getpid()))
	if err != nil {
		t.Fatalf("make a folder for %s: %v", name, err)
	}
	d := &daemon{t: t, host: h, name: name, dir: dir, groups: groups(filepath.Base(dir))}
	t.Cleanup(d.remove)
	// A container's root user is another user outside, and has to get through.
	err = errors.Join(os.Chmod(dir, 0o711), d.groups.make())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

// isolate makes the mount namespace: what is common to all daemons, and what more
// does. more runs with the network namespace of the host.
func (d *daemon) isolate(more func() error) {
	d.t.Helper()
	err := d.host.Do(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("unshare mounts: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
		if err := d.mountGroups(); err != nil {
			return err
		}
		if err := tmpfs("/run", 0o755); err != nil {
			return err
		}
		if err := more(); err != nil {
			return err
		}
		d.mounts, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/mnt", unix.Gettid()))
		return err
	})
	if err != nil {
		d.t.Fatalf("%s: make its mount namespace: %v", d.name, err)
	}
}

// mountGroups puts the daemon's groups where it looks for the machine's, in a
// /sys that shows the devices of the host's network namespace.
func (d *daemon) mountGroups() error {
	aside := filepath.Join(d.dir, "groups")
	if err := os.Mkdir(aside, 0o755); err != nil {
		return err
	}
	if err := d.groups.mount(aside); err != nil {
		return err
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	if err := unix.Mount(aside, groupRoot, "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move groups to %s: %w", groupRoot, err)
	}
	return nil
}

// tmpfs mounts one on a folder, which is made if it is missing.
func tmpfs(path string, mode os.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("mode=%o", mode)); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", path, err)
	}
	return nil
}

// bind shows a folder at another place, too.
func bind(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", from, to, err)
	}
	return nil
}

// enter brings the calling thread, which is in the host's network namespace, into
// the daemon's mount namespace and groups. It must be one that ends afterwards.
func (d *daemon) enter() error {
	if err := d.groups.join(); err != nil {
		return err
	}
	unshare := unix.CLONE_FS
	if d.root {
		unshare |= unix.CLONE_NEWCGROUP
	}
	if err := unix.Unshare(unshare); err != nil {
		return fmt.Errorf("unshare root folder and groups: %w", err)
	}
	if err := unix.Setns(int(d.mounts.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter mount namespace: %w", err)
	}
	return nil
}

// start starts the process and returns when it answers, or has ended instead.
func (d *daemon) start() error {
	if d.refuse.Load() {
		return fmt.Errorf("%s was told not to start", d.name)
	}
	log, err := os.OpenFile(d.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p := &process{ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// A child has the namespaces of the thread that makes it, and is killed when
		// that thread ends.
		started <- d.host.Do(func() error {
			if err := d.enter(); err != nil {
				started <- err
				return nil
			}
			cmd := exec.Command(d.words[0], d.words[1:]...)
			cmd.Dir, cmd.Env = "/", d.env
			cmd.Stdout, cmd.Stderr = log, log
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				started <- err
				return nil
			}
			p.pid = cmd.Process.Pid
			started <- nil
			p.err = cmd.Wait()
			close(p.ended)
			return nil
		})
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", d.words[0], err)
	}
	d.process = p
	return d.await()
}

// await returns when the daemon answers.
func (d *daemon) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		_, err := d.get(ctx, d.ping)
		if err == nil {
			return nil
		}
		select {
		case <-d.process.ended:
			return fmt.Errorf("%s has ended instead of answering: %w", d.name, errors.Join(d.process.err, errors.New(d.lastWords())))
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w\n%s", d.name, err, d.lastWords())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// get asks the daemon's API.
func (d *daemon) get(ctx context.Context, path string) ([]byte, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.Outside(d.socket))
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	err = errors.Join(err, response.Body.Close())
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("get %s: %s: %s", path, response.Status, body)
	}
	return body, err
}

// Get asks the daemon's API and returns the JSON that it answers with.
func (d *daemon) Get(t testing.TB, path string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := d.get(ctx, path)
	if err != nil {
		t.Fatalf("%s on %s: %v", d.name, d.host, err)
	}
	return string(answer)
}

// end sends the process a signal, unless it has ended, and waits for its end.
func (d *daemon) end(signal syscall.Signal) error {
	if d.process == nil {
		return nil
	}
	select {
	case <-d.process.ended:
		return nil
	default:
	}
	if err := unix.Kill(d.process.pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end %s: %w", d.name, err)
	}
	select {
	case <-d.process.ended:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s does not end on %v:\n%s", d.name, signal, d.lastWords())
	}
}

// remove kills all that runs in the daemon's groups and takes away what there is
// of it.
func (d *daemon) remove() {
	if d.t.Failed() {
		d.t.Logf("%s on %s, its log:\n%s", d.name, d.host, d.lastWords())
	}
	if err := d.groups.remove(); err != nil {
		d.t.Errorf("%s: %v", d.name, err)
	}
	if d.process != nil {
		<-d.process.ended
	}
	if d.mounts != nil {
		d.mounts.Close()
	}
	if err := os.RemoveAll(d.dir); err != nil {
		d.t.Errorf("%s: %v", d.name, err)
	}
}

func (d *daemon) log() string { return filepath.Join(d.dir, "log") }

// lastWords is the end of the daemon's log.
func (d *daemon) lastWords() string {
	log, err := os.ReadFile(d.log())
	if err != nil {
		return err.Error()
	}
	const enough = 6000
	return string(log[max(0, len(log)-enough):])
}

// PID is the daemon's process.
func (d *daemon) PID() int { return d.process.pid }

// Kill ends the daemon as a crash does; what runs in containers goes on.
func (d *daemon) Kill(t testing.TB) {
	t.Helper()
	if err := d.end(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// Start starts the daemon again that was ended, with the same words.
func (d *daemon) Start(t testing.TB) {
	t.Helper()
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
}

// Outside is where a file of the daemon's mount namespace is found from outside, while
// the daemon runs.
func (d *daemon) Outside(path string) string {
	return filepath.Join("/proc", strconv.Itoa(d.PID()), "root", path)
}

// Inside runs a command in the host's network namespace and the daemon's mount
// namespace.
func (d *daemon) Inside(args ...string) bed.Result { return d.host.Exec(d.Enter(args...)...) }

// Enter returns the words of a command that, run on the host, runs another one in the
// daemon's mount namespace.
func (d *daemon) Enter(args ...string) []string {
	return append([]string{"nsenter", fmt.Sprintf("--mount=/proc/%d/fd/%d", os.Getpid(), d.mounts.Fd())}, args...)
}

// Do runs fn on a thread of its own that is inside the host's network namespace and
// the daemon's mount namespace. See bed.NS.Do.
func (d *daemon) Do(fn func() error) error {
	return d.host.Do(func() error {
		if err := d.enter(); err != nil {
			return err
		}
		return fn()
	})
}

// Sweep takes away what engines of dead processes have left.
func Sweep() error {
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return err
	}
	groupNames, err := allGroups()
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range groupNames {
		if orphaned(string(name)) {
			failed = append(failed, name.remove())
		}
	}
	for _, path := range folders {
		if orphaned(filepath.Base(path)) {
			failed = append(failed, os.RemoveAll(path))
		}
	}
	return errors.Join(failed...)
}

// orphaned says whether the process that a name has in it is no more.
func orphaned(name string) bool {
	word, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "-")
	pid, err := strconv.Atoi(word)
	return err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}
