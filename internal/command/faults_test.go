package command

import (
	"errors"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/plan"
)

func TestFaultAfterStep(t *testing.T) {
	t.Setenv(failAfter, "2")
	observe, err := Faults()
	if err != nil {
		t.Fatal(err)
	}
	for index, fails := range []bool{false, true, false} {
		if err := observe(index, plan.Step{}); (err != nil) != fails {
			t.Errorf("after step %d: %v, want an error %t", index+1, err, fails)
		}
	}
}

func TestFaultAfterFirstStep(t *testing.T) {
	t.Setenv(failAfter, "1")
	if observe, err := Faults(); err != nil || observe(0, plan.Step{}) == nil {
		t.Errorf("%v, or the first step did not fail", err)
	}
}

func TestNoFaultsUnlessAskedFor(t *testing.T) {
	if observe, err := Faults(); observe != nil || err != nil {
		t.Errorf("without the variables there is an observer %t, %v", observe != nil, err)
	}
}

func TestFaultsRefuse(t *testing.T) {
	for _, variable := range []string{failAfter, killAfter} {
		for _, value := range []string{"0", "-1", "x", "1.5"} {
			t.Run(variable+"="+value, func(t *testing.T) {
				t.Setenv(variable, value)
				_, err := Faults()
				if !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), variable) || !strings.Contains(err.Error(), value) {
					t.Errorf("error %v, want bad input that names both", err)
				}
			})
		}
	}
}
