package command

import (
	"errors"
	"os"
	"strconv"
	"syscall"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/plan"
)

// Environment variables by which the whole-program tests make a run fail, or end
// as by kill -9, after its n-th step.
const (
	failAfter = "FANCTL_FAIL_AFTER"
	killAfter = "FANCTL_KILL_AFTER"
)

// Faults returns what makes a run fail that the environment says is to fail; nil for none.
func Faults() (plan.Observer, error) {
	fail, err := stepNumber(failAfter)
	if err != nil {
		return nil, err
	}
	kill, err := stepNumber(killAfter)
	if err != nil || fail == 0 && kill == 0 {
		return nil, err
	}
	return func(index int, _ plan.Step) error {
		switch index + 1 {
		case kill:
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case fail:
			return errors.New("failed as asked for by " + failAfter)
		}
		return nil
	}, nil
}

func stepNumber(variable string) (int, error) {
	text := os.Getenv(variable)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fan.Usagef("%s=%q is not the number of a step", variable, text)
	}
	return n, nil
}
