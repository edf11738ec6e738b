// Command bench compares the ways in which containers on two hosts can reach
// each other: no containers at all, plain routing, a vxlan as flannel sets it up,
// and each way of a fan. Everything is measured in one run, in turns, and the
// ratios are the result: absolute numbers depend on the machine and its load.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

type options struct {
	beds    int
	rounds  int
	seconds float64
	only    string
	measure string
	json    string
	fanctl  string
	state   bool
	bridged string
	docker  bool
}

func main() {
	var o options
	flag.IntVar(&o.beds, "beds", 4, "how often all hosts are made anew")
	flag.IntVar(&o.rounds, "rounds", 4, "how often each path is measured between, in turns")
	flag.Float64Var(&o.seconds, "seconds", 0.5, "length of one measurement")
	flag.StringVar(&o.only, "only", "", "comma-separated paths (default: all that this kernel has)")
	flag.StringVar(&o.measure, "measure", "packets,stream,pingpong", "comma-separated kinds of measure")
	flag.StringVar(&o.json, "json", "", "file for the raw data")
	flag.StringVar(&o.fanctl, "fanctl", os.Getenv("FANCTL"), "the fanctl to measure")
	flag.BoolVar(&o.state, "state", true, "also show what the kernel keeps when many hosts are talked to")
	flag.StringVar(&o.bridged, "bridged", "0", "0 or 1: whether bridges pass packets to the firewall, where the kernel has br_netfilter")
	flag.BoolVar(&o.docker, "docker", false, "fans as on hosts that have Docker, whose rules theirs must come before")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.fanctl == "" {
		return fmt.Errorf("set FANCTL or -fanctl to the program to measure (make bench does)")
	}
	bed, err := newBed(o.fanctl, o.bridged, o.docker)
	if err != nil {
		return err
	}
	defer bed.remove()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE)
	go func() {
		<-interrupted
		bed.remove()
		os.Exit(1)
	}()

	release, _ := exec.Command("uname", "-r").Output()
	fmt.Printf("kernel %s, %d beds, %d rounds of %gs in each, both directions in turn, bridge-nf-call-iptables %s, Docker %t\n",
		strings.TrimSpace(string(release)), o.beds, o.rounds, o.seconds, o.bridged, o.docker)
	data, err := measureAll(bed, o)
	if err != nil {
		return err
	}
	report(os.Stdout, data)
	if err := bed.timeCommands(os.Stdout); err != nil {
		return err
	}
	if o.state {
		if err := bed.stateTable(os.Stdout); err != nil {
			return err
		}
	}
	if o.json == "" {
		return nil
	}
	raw, err := json.MarshalIndent(data, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, raw, 0o644)
}

// measureAll measures every path in beds that are made anew: where the memory of
// one bed's devices is, and who shares a cache line or a hash bucket there, is luck
// that lasts as long as the bed and is worth up to a tenth.
func measureAll(b *bed, o options) (*results, error) {
	kinds := strings.Split(o.measure, ",")
	for _, kind := range kinds {
		if takers()[kind] == nil {
			return nil, fmt.Errorf("-measure %s: there is packets, stream and pingpong", kind)
		}
	}
	length := time.Duration(o.seconds * float64(time.Second))
	data := newResults()
	for n := range o.beds {
		paths, err := b.build(strings.FieldsFunc(o.only, func(r rune) bool { return r == ',' }))
		if err != nil {
			return nil, err
		}
		for round := range o.rounds {
			for _, p := range paths {
				if err := measure(p, kinds, round, length, data); err != nil {
					return nil, fmt.Errorf("%s: %w", p.name, err)
				}
			}
		}
		b.close()
		fmt.Fprintf(os.Stderr, "bed %d of %d\n", n+1, o.beds)
	}
	return data, nil
}
