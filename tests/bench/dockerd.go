package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/tests/bed/cgroup"
)

// Where Debian has them. Another client may be too new for the daemon.
const (
	dockerdProgram = "/usr/sbin/dockerd"
	dockerProgram  = "/usr/bin/docker"
)

func hasDocker() bool {
	for _, program := range []string{dockerdProgram, dockerProgram, busybox} {
		if _, err := os.Stat(program); err != nil {
			return false
		}
	}
	return true
}

// daemonScript becomes the daemon, as the first process of a pid namespace: when it is
// killed, or this program is, all that it has started is, too. Its /run, data and key
// are in memory, in a mount namespace of its own, and end with it. $1 is its folder,
// $2 the parent of its containers' control groups.
const daemonScript = `set -e
mount --make-rprivate /
umount --recursive --lazy /run/netns || true
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
[ ! -d /etc/docker ] || mount -t tmpfs tmpfs /etc/docker
mkdir $1/data
mount -t tmpfs tmpfs $1/data
echo {} >$1/daemon.json
exec ` + dockerdProgram + ` --config-file $1/daemon.json --data-root $1/data --exec-root $1/exec --pidfile $1/pid \
	--host unix://$1/socket --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent /$2
`

// dockerd is a Docker daemon in a host's network namespace.
type dockerd struct {
	host  string
	dir   string
	group string
	pid   int
	ended chan struct{}
}

// startDockerd starts one that close takes away.
func (b *bed) startDockerd(host string) (*dockerd, error) {
	d := &dockerd{host: host, dir: filepath.Join(b.folder, host), group: host, ended: make(chan struct{})}
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		return nil, err
	}
	// Not while everything is taken away: nobody would end it.
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.gone {
		return nil, errGone
	}
	if err := d.start(); err != nil {
		return nil, fmt.Errorf("start dockerd: %w", err)
	}
	b.daemons = append(b.daemons, d)
	return d, nil
}

func (d *dockerd) start() error {
	log, err := os.Create(d.dir + "/log")
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("nsenter", "--net=/run/netns/"+d.host, "sh", "-c", daemonScript, "dockerd", d.dir, d.group)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	started := make(chan error)
	go func() {
		// A child is told of the death of the thread that made it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed
			close(d.ended)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	d.pid = cmd.Process.Pid
	return nil
}

// await returns when the daemon answers.
func (d *dockerd) await() error {
	const long = time.Minute
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		_, err := d.docker("version")
		if err == nil {
			return nil
		}
		select {
		case <-d.ended:
			return fmt.Errorf("dockerd has ended: %s", d.lastWords())
		default:
		}
		if time.Since(start) > long {
			return fmt.Errorf("dockerd does not answer: %w: %s", err, d.lastWords())
		}
	}
}

// docker runs the client and returns what it prints.
func (d *dockerd) docker(args ...string) (string, error) {
	cmd := exec.Command(dockerProgram, append([]string{"--host", "unix://" + d.dir + "/socket"}, args...)...)
	cmd.Env = []string{"DOCKER_CONFIG=" + d.dir, "HOME=" + d.dir}
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(failed.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

// lastWords is the end of the daemon's log.
func (d *dockerd) lastWords() string {
	log, _ := os.ReadFile(d.dir + "/log")
	const enough = 2000
	return string(log[max(0, len(log)-enough):])
}

// remove kills the daemon, with its containers, and takes their control groups away.
func (d *dockerd) remove() error {
	select {
	case <-d.ended:
	default:
		_ = unix.Kill(d.pid, unix.SIGKILL) // it ends when all in its namespace has
		<-d.ended
	}
	return errors.Join(removeGroups(d.group), os.RemoveAll(d.dir))
}

// removeGroups removes a control group and those below it wherever there is one. The
// kernel may be about to take the last processes out of them.
func removeGroups(name string) error {
	roots, err := cgroup.Split()
	if err != nil {
		return err
	}
	if unified, err := cgroup.Unified(); err == nil {
		roots = append(roots, unified)
	}
	defer cgroup.Close(roots)
	for try := 0; ; try++ {
		err = nil
		for _, root := range roots {
			err = errors.Join(err, removeTree(root.Path(name)))
		}
		if err == nil || try == 100 {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// removeTree removes a folder of folders, the deepest first. None is fine.
func removeTree(top string) error {
	var folders []string
	_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return nil
	})
	var failed []error
	for _, path := range slices.Backward(folders) {
		if err := unix.Rmdir(path); err != nil && !errors.Is(err, unix.ENOENT) {
			failed = append(failed, fmt.Errorf("remove control group %s: %w", path, err))
		}
	}
	return errors.Join(failed...)
}
