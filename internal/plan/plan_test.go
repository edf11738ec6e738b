package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// recorder makes steps that write down what is done and undone.
type recorder struct{ log []string }

// step makes one; fails names what of it fails: "", "do" or "undo".
func (r *recorder) step(name, fails string) Step {
	note := func(what string) func() error {
		return func() error {
			r.log = append(r.log, what+" "+name)
			if what == fails {
				return errors.New(what + " is broken")
			}
			return nil
		}
	}
	return Step{Text: name, Do: note("do"), Undo: note("undo")}
}

func (r *recorder) check(t *testing.T, want string) {
	t.Helper()
	if got := strings.Join(r.log, ", "); got != want {
		t.Errorf("done: %s; want: %s", got, want)
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	text := ""
	if err != nil {
		text = strings.ReplaceAll(err.Error(), "\n", " | ")
	}
	if text != want {
		t.Errorf("error %q, want %q", text, want)
	}
}

func TestApply(t *testing.T) {
	for name, test := range map[string]struct {
		fails       [3]string
		done, error string
	}{
		"all goes well":         {[3]string{}, "do a, do b, do c", ""},
		"the first fails":       {[3]string{"do", "", ""}, "do a", "a: do is broken"},
		"the last fails":        {[3]string{"", "", "do"}, "do a, do b, do c, undo b, undo a", "c: do is broken"},
		"an undo fails as well": {[3]string{"", "undo", "do"}, "do a, do b, do c, undo b, undo a", "c: do is broken | undo b: undo is broken"},
	} {
		t.Run(name, func(t *testing.T) {
			var r recorder
			p := Plan{r.step("a", test.fails[0]), r.step("b", test.fails[1]), r.step("c", test.fails[2])}
			checkError(t, p.Apply(nil), test.error)
			r.check(t, test.done)
		})
	}
}

// A step without Undo has nothing to take back.
func TestApplyWithoutUndo(t *testing.T) {
	var r recorder
	a := r.step("a", "")
	a.Undo = nil
	checkError(t, Plan{a, r.step("b", ""), r.step("c", "do")}.Apply(nil), "c: do is broken")
	r.check(t, "do a, do b, do c, undo b")
}

// What an observer says of a step that was done counts as the step's failure, and
// that step is undone, too.
func TestObserver(t *testing.T) {
	var r recorder
	var seen []string
	p := Plan{r.step("a", ""), r.step("b", ""), r.step("c", "")}
	err := p.Apply(func(i int, s Step) error {
		seen = append(seen, fmt.Sprint(i, s))
		if i == 1 {
			return errors.New("enough")
		}
		return nil
	})
	checkError(t, err, "b: enough")
	r.check(t, "do a, do b, undo b, undo a")
	if want := []string{"0 a", "1 b"}; !slices.Equal(seen, want) {
		t.Errorf("observed %q, want %q", seen, want)
	}
}

// ApplyAll goes on: what can be removed is removed.
func TestApplyAll(t *testing.T) {
	var r recorder
	p := Plan{r.step("a", "do"), r.step("b", ""), r.step("c", "do")}
	checkError(t, p.ApplyAll(nil), "a: do is broken | c: do is broken")
	r.check(t, "do a, do b, do c")

	r = recorder{}
	p = Plan{r.step("a", "do"), r.step("b", ""), r.step("c", "")}
	checkError(t, p.ApplyAll(func(int, Step) error { return errors.New("enough") }), "a: do is broken | b: enough")
	r.check(t, "do a, do b")
}

func TestErrorKeepsItsCause(t *testing.T) {
	cause := errors.New("cause")
	p := Plan{{Text: "a", Do: func() error { return cause }}}
	if err := p.Apply(nil); !errors.Is(err, cause) {
		t.Errorf("%v is not %v", err, cause)
	}
	if err := p.ApplyAll(nil); !errors.Is(err, cause) {
		t.Errorf("%v is not %v", err, cause)
	}
	if err := (Plan{}).Apply(nil); err != nil {
		t.Errorf("no steps: %v", err)
	}
}

// A step of several commands is one line in an error.
func TestNameInError(t *testing.T) {
	p := Plan{{Text: "first\nsecond\nthird", Do: func() error { return errors.New("broken") }}}
	checkError(t, p.Apply(nil), "first (and 2 more): broken")
}
