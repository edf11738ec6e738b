// Package image makes the image of the container that self-tests start: a root file
// system with one program, /sbin/init, that does nothing but wait. It is put together
// here, of a few hundred bytes of machine code, so that a test needs no download and
// no program of the host. What a test does in the container it does from outside, in
// the container's network namespace.
package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"time"
)

// Init is the path of the program that an image's container runs.
const Init = "/sbin/init"

// made is the date of all that is in an image, in seconds: with a fixed one the same
// version of this package always makes the same image.
const made = 1700000000

// Docker returns the root file system for a processor, named as GOARCH does, as the
// tar archive that "docker import" takes. The error names a processor for which there
// is no program, and those for which there is one.
func Docker(arch string) ([]byte, error) {
	m, err := machineFor(arch)
	if err != nil {
		return nil, err
	}
	return archive(root(m, ""))
}

// LXD returns the image for a processor, named as GOARCH does, as the compressed tar
// archive that LXD and Incus import: metadata.yaml and the root file system. The error
// names a processor for which there is no program, and those for which there is one.
func LXD(arch string) ([]byte, error) {
	m, err := machineFor(arch)
	if err != nil {
		return nil, err
	}
	metadata := fmt.Sprintf(`architecture: %s
creation_date: %d
properties:
  architecture: %s
  description: container of fanatic's self-tests
  os: fanatic
`, m.lxd, made, m.lxd)
	plain, err := archive(append([]entry{{name: "metadata.yaml", mode: 0o644, content: []byte(metadata)}}, root(m, "rootfs/")...))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(plain); err != nil {
		return nil, fmt.Errorf("compress a test container's image: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress a test container's image: %w", err)
	}
	return b.Bytes(), nil
}

// entry is a file of an archive, or a folder if its name ends with a slash.
type entry struct {
	name    string
	mode    int64
	content []byte
}

// root is the file system: the program, and the folders on which engines mount and in
// which they write.
func root(m machine, below string) []entry {
	var list []entry
	if below != "" {
		list = append(list, entry{name: below, mode: 0o755})
	}
	for _, name := range []string{"dev/", "etc/", "mnt/", "proc/", "root/", "run/", "sbin/"} {
		list = append(list, entry{name: below + name, mode: 0o755})
	}
	return append(list,
		entry{name: below + Init[1:], mode: 0o755, content: m.program()},
		entry{name: below + "sys/", mode: 0o755},
		entry{name: below + "tmp/", mode: 0o1777},
		entry{name: below + "var/", mode: 0o755},
	)
}

// archive writes a tar archive, all of whose files are root's.
func archive(entries []entry) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Size: int64(len(e.content)), ModTime: time.Unix(made, 0), Format: tar.FormatUSTAR}
		if e.name[len(e.name)-1] == '/' {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(&h); err != nil {
			return nil, fmt.Errorf("make a test container's image: %s: %w", e.name, err)
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, fmt.Errorf("make a test container's image: %s: %w", e.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("make a test container's image: %w", err)
	}
	return b.Bytes(), nil
}
