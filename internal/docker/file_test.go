package docker

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/internal/plan"
)

// tree lists what is below a folder, with texts and modes.
func tree(t *testing.T, root string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := ""
		if !d.IsDir() {
			read, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = fmt.Sprintf(" %q %s", read, info.ModTime())
		}
		lines = append(lines, fmt.Sprintf("%s %s%s", strings.TrimPrefix(path, root), info.Mode(), text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// planFiles is the way there without a daemon.
func planFiles(t *testing.T, path string) plan.Plan {
	t.Helper()
	have, was, err := readBoth(path)
	if err != nil {
		t.Fatal(err)
	}
	text, _, err := edit(have.text, testSettings())
	if err != nil {
		t.Fatal(err)
	}
	r := rewrite{old: have, new: have.with(text)}
	r.new.mode = 0o644
	var p plan.Plan
	if !was.known {
		p = append(p, stepSave(have))
	}
	return append(p, plan.Step{Text: "write", Do: r.new.put, Undo: r.old.put})
}

// planBack is the way back without a daemon.
func planBack(t *testing.T, path string) plan.Plan {
	t.Helper()
	have, was, err := readBoth(path)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := values(have.text); err != nil || !was.known && len(list) == 0 {
		return planForget(path, was)
	}
	now, note, err := restored(have, was)
	if err != nil || note != "" {
		t.Fatalf("restored: %v, %s", err, note)
	}
	var p plan.Plan
	if now.exists() != have.exists() || string(now.text) != string(have.text) {
		p = append(p, plan.Step{Text: "write", Do: now.put, Undo: have.put})
	}
	return append(p, planForget(path, was)...)
}

// Whether there was a file, an empty one, a folder or nothing: it is so again,
// wherever a run ended.
func TestFilesThereAndBack(t *testing.T) {
	for name, prepare := range map[string]func(dir string) error{
		"no folder":  func(string) error { return nil },
		"no file":    func(dir string) error { return os.Mkdir(dir, 0o700) },
		"empty file": func(dir string) error { return makeFile(dir, "", 0o600) },
		"a file":     func(dir string) error { return makeFile(dir, `{"debug":true}`, 0o640) },
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, "docker", "daemon.json")
			if err := prepare(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
			before := tree(t, root)
			check := func(when string) {
				t.Helper()
				if after := tree(t, root); after != before {
					t.Errorf("%s:\n%s\nbefore:\n%s", when, after, before)
				}
			}
			must := func(p plan.Plan) {
				t.Helper()
				if err := p.Apply(nil); err != nil {
					t.Fatal(err)
				}
			}
			steps := len(planFiles(t, path))
			for i := range steps {
				must(planFiles(t, path)[:i+1])
				must(planBack(t, path))
				check(fmt.Sprintf("ended after step %d", i))
			}
			err := planFiles(t, path).Apply(func(i int, _ plan.Step) error {
				if i == steps-1 {
					return os.ErrInvalid
				}
				return nil
			})
			if err == nil {
				t.Error("no error")
			}
			check("undone")
			must(planFiles(t, path))
			back := len(planBack(t, path))
			for i := range back {
				must(planFiles(t, path)) // nothing to do the first time
				must(planBack(t, path)[:i+1])
				must(planBack(t, path))
				check(fmt.Sprintf("the way back ended after step %d", i))
			}
		})
	}
}

func makeFile(dir, text string, mode fs.FileMode) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "daemon.json"), []byte(text), mode)
}

// What a run that was killed while it wrote has left goes, too.
func TestForgetsHalfWrittenFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	if err := planFiles(t, path).Apply(nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path + temporarySuffix, path + backupSuffix + temporarySuffix, path + markerSuffix + temporarySuffix} {
		if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := planBack(t, path).Apply(nil); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, dir); after != before {
		t.Errorf("%s\nbefore:\n%s", after, before)
	}
}
