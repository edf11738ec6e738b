package engine

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The restart program asks the test, whose child the daemon has to be, and waits
// for a file with the answer: the exit code and what to say.
const restartProgram = `#!/bin/sh
answer=%[1]s/answer.$$
rm -f "$answer"
echo "$answer" >%[1]s/restart.fifo
until [ -e "$answer" ]; do sleep 0.05; done
{ read -r code; cat >&2; } <"$answer"
rm -f "$answer"
exit "$code"
`

// serveRestarts makes a program that has the test call a function, and returns the
// program's path. It does so until the test ends.
func (d *daemon) serveRestarts(restart func() error) string {
	d.t.Helper()
	program, fifo := filepath.Join(d.dir, "restart"), filepath.Join(d.dir, "restart.fifo")
	err := os.WriteFile(program, fmt.Appendf(nil, restartProgram, d.dir), 0o755)
	if err == nil {
		err = unix.Mkfifo(fifo, 0o600)
	}
	var asked *os.File
	if err == nil {
		// Open for writing as well, it does not end when a program ends.
		asked, err = os.OpenFile(fifo, os.O_RDWR, 0)
	}
	if err != nil {
		d.t.Fatalf("%s: make its restart program: %v", d.name, err)
	}
	served := make(chan struct{})
	d.t.Cleanup(func() {
		asked.Close()
		<-served
	})
	go func() {
		defer close(served)
		for lines := bufio.NewScanner(asked); lines.Scan(); {
			if err := answer(lines.Text(), restart()); err != nil {
				d.t.Errorf("%s: answer its restart program: %v", d.name, err)
			}
		}
	}()
	return program
}

// answer writes the answer whole or not at all.
func answer(path string, failed error) error {
	text := "0\n"
	if failed != nil {
		// Why a daemon did not start is at the end of its log.
		said := strings.TrimSpace(failed.Error())
		text = "1\n" + said[max(0, len(said)-500):] + "\n"
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
