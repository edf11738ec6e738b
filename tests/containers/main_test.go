//go:build containers

// Package containers holds the whole-program tests with real container engines
// (package engine): Docker 20 and 28, LXD and Incus on hosts of a bed, and fanatic
// as its users run it. They need root and change nothing outside of namespaces of
// their own.
//
//	FANCTL=/path/to/fanctl, FANATIC=/path/to/fanatic   test those; without, they are built
//	FANCTL_EVERY_STEP=1                                kill runs after each of their steps, not after some
package containers

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/fanctl/fanctl/tests/bed"
	"github.com/fanctl/fanctl/tests/bed/engine"
)

func TestMain(m *testing.M) {
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Println("SKIPPED: the tests with container engines need root for namespaces")
		return 0
	}
	dir, err := os.MkdirTemp("", "fanctl-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	err = errors.Join(engine.Sweep(), bed.Sweep(),
		build(dir, "fanctl", bed.BinaryVariable), build(dir, "fanatic", bed.FanaticVariable))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build builds a program under test, unless a variable says where one is.
func build(dir, name, variable string) error {
	if os.Getenv(variable) != "" {
		return nil
	}
	path, err := bed.BuildProgram(dir, name)
	if err == nil {
		err = os.Setenv(variable, path)
	}
	return err
}
