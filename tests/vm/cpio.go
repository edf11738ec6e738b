//go:build vm

package vm

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// File types of an archive's modes, those of stat(2).
const (
	typeDirectory = 0o040000
	typeFile      = 0o100000
	typeLink      = 0o120000
)

// archive writes a cpio archive of the kind that the kernel unpacks as its first
// file system ("newc", Documentation/driver-api/early-userspace/buffer-format):
//
//	"070701" | 13 numbers of 8 hex digits | name, 0, padding to 4 | content, padding to 4
//
// Everything belongs to root. Folders above an entry are made as they are needed,
// and what is there already stays: many files share folders and libraries. The
// first error sticks and comes from close.
type archive struct {
	out   *bufio.Writer
	names map[string]bool
	err   error
}

func newArchive(out io.Writer) *archive {
	return &archive{out: bufio.NewWriterSize(out, 1<<20), names: map[string]bool{".": true, "/": true}}
}

// has says whether an entry is there, and notes it for the next time.
func (a *archive) has(name string) bool {
	was := a.names[name]
	a.names[name] = true
	return was
}

// directory adds a folder.
func (a *archive) directory(name string) {
	name = path.Clean(name)
	if a.has(name) {
		return
	}
	a.directory(path.Dir(name))
	a.header(name, typeDirectory|0o755, 0)
}

// link adds a symbolic link.
func (a *archive) link(name, target string) {
	name = path.Clean(name)
	if a.has(name) {
		return
	}
	a.directory(path.Dir(name))
	a.header(name, typeLink|0o777, len(target))
	a.write([]byte(target))
	a.pad(len(target))
}

// text adds a file with a content of our own.
func (a *archive) text(name, content string, mode fs.FileMode) {
	name = path.Clean(name)
	if a.has(name) {
		return
	}
	a.directory(path.Dir(name))
	a.header(name, typeFile|uint32(mode.Perm()), len(content))
	a.write([]byte(content))
	a.pad(len(content))
}

// file adds a file of this machine, with its content and mode.
func (a *archive) file(name, source string) {
	if a.err != nil {
		return
	}
	content, err := os.ReadFile(source)
	if err != nil {
		a.err = err
		return
	}
	info, err := os.Stat(source)
	if err != nil {
		a.err = err
		return
	}
	a.text(name, string(content), info.Mode())
}

func (a *archive) header(name string, mode uint32, size int) {
	name = name[1:] // the kernel wants no leading slash
	links := 1
	if mode&typeDirectory == typeDirectory {
		links = 2
	}
	// Inode, mode, uid, gid, links, mtime, size, device and rdev (two each), length
	// of the name, checksum. Nothing has two names, so the inodes may be the same
	// for all: the kernel looks at them only where there is more than one link.
	numbers := []uint32{0, mode, 0, 0, uint32(links), 0, uint32(size), 0, 0, 0, 0, uint32(len(name) + 1), 0}
	header := "070701"
	for _, n := range numbers {
		header += fmt.Sprintf("%08x", n)
	}
	header += name + "\x00"
	a.write([]byte(header))
	a.pad(len(header))
}

func (a *archive) write(b []byte) {
	if a.err == nil {
		_, a.err = a.out.Write(b)
	}
}

// pad fills up to a multiple of four after size bytes.
func (a *archive) pad(size int) {
	a.write(make([]byte, -size&3))
}

// close ends the archive and returns the first error there was.
func (a *archive) close() error {
	a.header("/TRAILER!!!", 0, 0)
	if a.err == nil {
		a.err = a.out.Flush()
	}
	return a.err
}
