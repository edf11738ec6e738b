package main

import (
	"bytes"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/clitest"
	"github.com/fanctl/fanctl/internal/completion"
	"github.com/fanctl/fanctl/internal/docker"
	"github.com/fanctl/fanctl/internal/manual"
)

// go test ./cmd/fanatic -update
var _ = flag.Bool("update", false, "write the golden files anew")

// call runs the program without a terminal, in a network namespace of its own: nothing
// that a test asks for can happen to this machine. The thread ends with the test.
func call(t *testing.T, words ...string) (code int, out, errOut string) {
	t.Helper()
	if os.Geteuid() == 0 {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Fatal(err)
		}
	}
	var o, e bytes.Buffer
	code = run(t.Context(), append([]string{"fanatic"}, words...), terminal{strings.NewReader(""), &o, &e})
	return code, o.String(), e.String()
}

func silentApp() terminal { return terminal{strings.NewReader(""), io.Discard, io.Discard} }

func TestHelp(t *testing.T) {
	for name, line := range map[string]string{"help": "help", "help-configure": "help configure", "help-deconfigure": "deconfigure -h", "help-test": "test --help",
		"help-enable-docker": "help enable-docker"} {
		code, out, errOut := call(t, strings.Fields(line)...)
		if code != 0 || errOut != "" {
			t.Errorf("%s: exit code %d, %s", line, code, errOut)
		}
		clitest.Golden(t, filepath.Join("testdata", name+".golden"), out)
	}
}

// What is wrong before anything is looked at.
func TestUsage(t *testing.T) {
	list := filepath.Join(t.TempDir(), "fan")
	for line, words := range map[string]string{
		"frob":                    `"frob" configure enable-fan test`,
		"":                        "terminal configure --yes",
		"configure":               "terminal configure --yes",
		"test":                    "terminal local-docker HOST",
		"deconfigure":             "terminal deconfigure --yes",
		"deconfigure --yes frob":  `"frob" deconfigure`,
		"configure --yes":         "--underlay",
		"configure --yes -u eth0": "--overlay",
		"configure --yes -u eth0 -o 250 --docker-mode x":                       `"x" default network`,
		"configure --yes -u eth0 -o 250.0.0.1/8":                               "250.0.0.1/8",
		"configure --yes -u eth0 -o 250 --test --no-docker --no-lxd":           "--test --no-docker --no-lxd container",
		"configure --yes -u eth0 -o 250 --test --no-docker --no-lxd --dry-run": "--test --no-docker --no-lxd container",
		"enable-fan":                                      "--underlay",
		"enable-fan -u eth0 -o 250 --type gre":            `"gre" ipip vxlan`,
		"enable-fan -u 10.0.0.0/16 -o 250":                "10.0.0.0/16 address",
		"enable-docker -u eth0 -o 250 --docker-mode both": `"both" default network`,
		"enable-docker -u eth0 -o 250 --frob":             "frob help",
		"disable-fan -u eth0":                             "--overlay",
		"show frob":                                       `"frob"`,
		"test --serve 10.0.3.4":                           `"10.0.3.4"`,
		"test 10.0.3.4 10.0.3.5":                          `"10.0.3.5"`,
		"--frob":                                          "frob",
	} {
		args := strings.Fields(line)
		if len(args) > 0 && !strings.HasPrefix(args[0], "-") && args[0] != "frob" {
			args = append([]string{args[0], "--file", list}, args[1:]...)
		}
		code, out, got := call(t, args...)
		if code != 2 || out != "" || !strings.HasPrefix(got, "fanatic: ") || strings.Count(got, "\n") != 1 {
			t.Errorf("fanatic %s: exit code %d, out %q, error %q; want 2 and one line of error", line, code, out, got)
		}
		for word := range strings.FieldsSeq(words) {
			if !strings.Contains(got, word) {
				t.Errorf("fanatic %s: %q does not name %s", line, got, word)
			}
		}
	}
	if _, err := os.Stat(list); err == nil {
		t.Error("bad input has written a list")
	}
}

// What is said of Docker's addresses is what Docker is told to give out.
func TestDockerHint(t *testing.T) {
	spec, err := fan.ParseSpec([]string{"10.0.0.0/16", "250.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := spec.At(fan.Place{Underlay: netip.MustParsePrefix("10.0.0.0/16"), Host: netip.MustParseAddr("10.0.0.8"), Device: "eth0", MTU: 1500})
	if err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[docker.Mode]string{
		docker.Default: "containers get addresses of 250.0.8.128/25 by: docker run IMAGE",
		docker.Network: "containers get addresses of 250.0.8.128/25 by: docker run --network fan-250 IMAGE",
	} {
		if got := dockerHint(f, mode); got != want {
			t.Errorf("mode %s: %q, want %q", mode, got, want)
		}
	}
}

func render(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/man/fanatic.8.text")
	if err != nil {
		t.Fatal(err)
	}
	page, err := manual.Render(newApp(silentApp()), string(text))
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// The page says what the help says.
func TestManual(t *testing.T) {
	page := render(t)
	clitest.Golden(t, "../../docs/man/fanatic.8", page)
	clitest.ManualHasEveryOption(t, newApp(silentApp()), page, 40)
	clitest.ManualReads(t, "fanatic.8", page)
}

func TestCompletion(t *testing.T) {
	for _, shell := range completion.Shells() {
		code, out, errOut := call(t, "completion", shell)
		if code != 0 || errOut != "" {
			t.Errorf("%s: exit code %d, %q", shell, code, errOut)
		}
		clitest.Golden(t, filepath.Join("../../docs/completion", "fanatic."+shell), out)
	}
	list := filepath.Join(t.TempDir(), "fan")
	if err := os.WriteFile(list, []byte("eth0/16 250 # by fanatic\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"dis|":                                 "disable-fan disable-docker disable-lxd",
		"configure|--docker-mode||":            "default network",
		"enable-fan|--type||":                  "ipip vxlan",
		"enable-fan|-o||":                      "250.0.0.0/8",
		"disable-fan|--file|" + list + "|-o||": "250.0.0.0/8",
		"test||":                               "local-docker local-lxd",
		"test|--engine||":                      "docker lxd",
		"completion||":                         "bash zsh fish",
	} {
		_, out, _ := call(t, append([]string{"complete", "--"}, strings.Split(strings.TrimSuffix(line, "|"), "|")...)...)
		var words []string
		for line := range strings.Lines(out) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			words = append(words, word)
		}
		if got := strings.Join(words, " "); got != want {
			t.Errorf("%q is completed by %q, want %q", line, got, want)
		}
	}
}
