// Package tests holds the whole-program tests: hosts, containers and the world
// around them as network namespaces (package bed), and fanctl as its users run
// it. They need root and change nothing outside of namespaces of their own.
//
//	FANCTL=/path/to/fanctl   test that binary; without it, one is built
package tests

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
)

func TestMain(m *testing.M) {
	if os.Args[0] == pretended {
		sleepAsStranger()
		return
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Println("SKIPPED: whole-program tests need root for network namespaces")
		return 0
	}
	if err := bed.Sweep(); err != nil {
		fmt.Fprintf(os.Stderr, "sweep namespaces of dead runs: %v\n", err)
		return 1
	}
	if os.Getenv(bed.BinaryVariable) == "" {
		dir, err := os.MkdirTemp("", "fanctl-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		path, err := bed.Build(dir)
		if err == nil {
			err = os.Setenv(bed.BinaryVariable, path)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if err := tellLeftOut(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// tellLeftOut says which devices tests need that this kernel does not have.
func tellLeftOut() error {
	for _, kind := range []string{ipipDevice, vlanDevice, bondDevice, wireguardDevice, vrfDevice} {
		has, err := bed.HasDevice(kind)
		if err != nil {
			return err
		}
		if name, _, _ := strings.Cut(kind, " "); !has {
			fmt.Printf("LEFT OUT: the tests by %s device, this kernel has none; make test-vm runs them\n", name)
		}
	}
	return nil
}
