//go:build containers

package containers

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/tests/bed/engine"
)

// The commands of the example for cloud-init that are fanatic's do on a machine with
// Docker what they say. That apt-get and curl do, and cloud-init itself, is not tried:
// there is no cloud here to boot in.
func TestCloudInitExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/cloud-init.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "#cloud-config\n") {
		t.Error("cloud-init takes only files that begin with #cloud-config")
	}
	h := oneHost(t)
	m := newMachine(t, h, engine.Docker20(t, h), nil)
	ran := 0
	for _, command := range regexp.MustCompile(`(?m)^  - \[fanatic, (.*)\]$`).FindAllStringSubmatch(string(text), -1) {
		words := strings.Split(command[1], ", ")
		m.fanatic(t, words[0], words[1:]...)
		ran++
	}
	if ran != 2 {
		t.Errorf("%d commands of the example were run, not configure and show", ran)
	}
	if shown := m.fanatic(t, "show"); !strings.Contains(shown, "10.0.0.0/16          250.0.0.0/8          up       enabled") {
		t.Errorf("after the example's commands:\n%s", shown)
	}
	m.docker.Busybox(t)
	eth0(t, m.docker.Run(t, "one"))
}
