package engine

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strings"
)

// busybox is Debian's static one, from package busybox-static.
const busybox = "/bin/busybox"

// root collects the files of a container's root file system, below a folder of the
// archive.
type root struct {
	below string
	buf   bytes.Buffer
	tar   *tar.Writer
	err   error
}

func newRoot(below string) *root {
	r := &root{below: below}
	r.tar = tar.NewWriter(&r.buf)
	return r
}

func (r *root) add(h tar.Header, content []byte) {
	if r.err != nil {
		return
	}
	h.Name = path.Join(r.below, h.Name)
	h.Size = int64(len(content))
	if r.err = r.tar.WriteHeader(&h); r.err == nil {
		_, r.err = r.tar.Write(content)
	}
}

func (r *root) folder(name string, mode int64) {
	r.add(tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}, nil)
}

func (r *root) file(name string, mode int64, content []byte) {
	r.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, content)
}

func (r *root) link(name, to string) {
	r.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}, nil)
}

// bytes ends the archive and returns it.
func (r *root) bytes() ([]byte, error) {
	if r.err == nil {
		r.err = r.tar.Close()
	}
	return r.buf.Bytes(), r.err
}

// busybox adds busybox under all of its names.
func (r *root) busybox() error {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return fmt.Errorf("%w (make deps-containers installs busybox-static)", err)
	}
	names, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("list the commands of %s: %w", busybox, err)
	}
	for _, dir := range []string{"bin", "sbin", "dev", "etc", "proc", "root", "run", "sys", "var", "usr"} {
		r.folder(dir, 0o755)
	}
	r.folder("tmp", 0o1777)
	r.file("bin/busybox", 0o755, program)
	for _, name := range strings.Fields(string(names)) {
		if name != "busybox" {
			r.link("bin/"+name, "busybox")
		}
	}
	return r.err
}

// dockerImage is a root file system for docker import.
func dockerImage() ([]byte, error) {
	r := newRoot("")
	if err := r.busybox(); err != nil {
		return nil, err
	}
	return r.bytes()
}

// What a container of LXD does: it keeps asking for an address, as a
// distribution's does.
const inittab = `::sysinit:/bin/ip link set lo up
::respawn:/bin/udhcpc -f -R -i eth0 -O mtu -t 3 -T 1 -A 1 -s /etc/udhcpc.script
`

const udhcpcScript = `#!/bin/sh
case $1 in
deconfig)
	ip address flush dev $interface
	ip link set $interface up
	;;
bound | renew)
	[ -z "$mtu" ] || ip link set $interface mtu $mtu
	ip address replace $ip/$mask broadcast + dev $interface
	for r in $router; do ip route replace default via $r; done
	for s in $dns; do echo nameserver $s; done >/etc/resolv.conf
	;;
esac
`

// lxd adds what every container of LXD has: busybox as its init, which keeps asking
// for an address.
func (r *root) lxd() error {
	if err := r.busybox(); err != nil {
		return err
	}
	r.link("sbin/init", "/bin/busybox")
	r.file("etc/inittab", 0o644, []byte(inittab))
	r.file("etc/udhcpc.script", 0o755, []byte(udhcpcScript))
	r.file("etc/hosts", 0o644, []byte("127.0.0.1 localhost\n"))
	return r.err
}

// describe adds LXD's description of the image, outside of the root file system.
func (r *root) describe() {
	r.below = ""
	r.file("metadata.yaml", 0o644, []byte("architecture: "+architecture()+"\ncreation_date: 1700000000\nproperties: {os: busybox, description: busybox}\n"))
}

// lxdImage is an image for lxc image import: one tarball with its description.
func lxdImage() ([]byte, error) {
	r := newRoot("rootfs")
	if err := r.lxd(); err != nil {
		return nil, err
	}
	r.describe()
	return r.bytes()
}
