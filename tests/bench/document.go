package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// about says what was measured, where and how.
type about struct {
	Kernel, Processor string
	Processors        int
	Date, Command     string
	Fanctl, Docker    string
	How               string
	Without           []string // paths that could not be made, and why
}

func newAbout(o options) about {
	return about{
		Kernel: said("uname", "-r"), Processor: processor(), Processors: runtime.NumCPU(),
		Date:    time.Now().UTC().Format("2006-01-02"),
		Command: strings.Join(append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...), " "),
		Fanctl:  said(o.fanctl, "--version"), Docker: dockerVersion(),
		How: fmt.Sprintf("%d beds, %d rounds of %gs in each, paths in turn and both directions in turn, bridge-nf-call-iptables %s, fans as on hosts with Docker: %t",
			o.beds, o.rounds, o.seconds, o.bridged, o.docker),
	}
}

func dockerVersion() string {
	if !hasDocker() {
		return ""
	}
	return said(dockerdProgram, "--version")
}

// said is what a command prints.
func said(words ...string) string {
	out, _ := exec.Command(words[0], words[1:]...).Output()
	return strings.TrimSpace(string(out))
}

// processor is what the kernel calls it; not all processors have a name there.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	if name := regexp.MustCompile(`(?m)^model name\s*:\s*(.+)$`).FindSubmatch(text); name != nil {
		return string(name[1])
	}
	return runtime.GOARCH
}

// raw is all that is known after a run.
type raw struct {
	about
	*results
	Tables []table // of commands and state
}

func (r raw) write(file string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// writeDocs writes bench.md, bench.svg and bench.json into a folder.
func (r raw) writeDocs(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "bench.md"), r.page(), 0o644),
		os.WriteFile(filepath.Join(dir, "bench.svg"), chart(r.about, r.results), 0o644),
		r.write(filepath.Join(dir, "bench.json")))
}

// page is the document.
func (r raw) page() []byte {
	a, out := r.about, bytes.Buffer{}
	fmt.Fprintf(&out, `# How fast it is

`+"`make bench DOC=docs`"+` wrote this page; [bench.json](bench.json) has the raw data.

**The ratios are the result, not the absolute numbers**: those depend on the machine and on what else it does. All was
measured in one run, in turns; a ratio is that of two paths in the same round.

- kernel: %s
- processors: %d, %s
- date: %s
- command: `+"`%s`"+`
- how: %s
- fanctl: %s
`, a.Kernel, a.Processors, a.Processor, a.Date, a.Command, a.How, a.Fanctl)
	if a.Docker != "" {
		fmt.Fprintf(&out, "- Swarm: %s\n", a.Docker)
	}
	for _, line := range r.Without {
		fmt.Fprintf(&out, "- %s\n", line)
	}
	fmt.Fprint(&out, `
![ratios to plain routing](bench.svg)

| path | what it is |
| --- | --- |
| host | from host to host, no containers: the limit |
| route | plain routing between the hosts' bridges, no tunnel |
| ipip-kernel | the kernel's ipip tunnel and a route for each host, as flannel's ipip backend sets it up |
| flannel | vxlan with static entries, as flannel sets it up |
| swarm | an overlay network of Docker Swarm, two daemons |
| ipip-ebpf, ipip-device, vxlan | a fan, by what its hosts have |
| ipip-fast, vxlan-fast | a fan with --fast |
`)
	for _, t := range slices.Concat(reportTables(r.results), r.Tables) {
		t.markdown(&out)
	}
	return out.Bytes()
}
