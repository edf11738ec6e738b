// Command bench compares the ways in which containers on two hosts can reach
// each other: no containers at all, plain routing, tunnels as others set them up, Docker
// Swarm, and each way of a fan. Everything is measured in one run, in turns, and the
// ratios are the result: absolute numbers depend on the machine and its load.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"
)

type options struct {
	beds       int
	rounds     int
	seconds    float64
	only       string
	measure    string
	json       string
	doc        string
	fanctl     string
	containers string
	state      bool
	bridged    string
	docker     bool
}

func main() {
	var o options
	flag.IntVar(&o.beds, "beds", 6, "how often all hosts are made anew")
	flag.IntVar(&o.rounds, "rounds", 2, "how often each path is measured between, in turns")
	flag.Float64Var(&o.seconds, "seconds", 0.35, "length of one measurement")
	flag.StringVar(&o.only, "only", "", "comma-separated paths (default: all that can be here)")
	flag.StringVar(&o.measure, "measure", allKinds(), "comma-separated kinds of measure")
	flag.StringVar(&o.json, "json", "", "file for the raw data")
	flag.StringVar(&o.doc, "doc", "", "folder for a page, a chart and the raw data: bench.md, bench.svg, bench.json")
	flag.StringVar(&o.fanctl, "fanctl", os.Getenv("FANCTL"), "the fanctl to measure")
	flag.StringVar(&o.containers, "containers", "0,100,1000", "comma-separated numbers of containers that commands are timed with; none: they are not")
	flag.BoolVar(&o.state, "state", true, "also show what the kernel keeps when many hosts are talked to")
	flag.StringVar(&o.bridged, "bridged", "0", "0 or 1: whether bridges pass packets to the firewall, where the kernel has br_netfilter")
	flag.BoolVar(&o.docker, "docker", false, "fans as on hosts that have Docker, whose rules theirs must come before")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	if o.fanctl == "" {
		return fmt.Errorf("set FANCTL or -fanctl to the program to measure (make bench does)")
	}
	containers, err := numbers(o.containers)
	if err != nil {
		return fmt.Errorf("-containers: %w", err)
	}
	bed, err := newBed(o.fanctl, o.bridged, o.docker)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.remove()) }()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		<-interrupted
		_ = bed.remove()
		os.Exit(1)
	}()
	return bed.run(o, containers)
}

// run measures and tells.
func (b *bed) run(o options, containers []int) error {
	setups, without, err := b.chosen(words(o.only))
	if err != nil {
		return err
	}
	all := raw{about: newAbout(o)}
	all.Without = without
	fmt.Printf("kernel %s, %s\n", all.Kernel, all.How)
	for _, line := range without {
		fmt.Println(line)
	}
	if all.results, err = b.measureAll(setups, o); err != nil {
		return err
	}
	for _, t := range reportTables(all.results) {
		t.print(os.Stdout)
	}
	// What was measured is kept, whatever happens after it.
	all.Tables, err = b.otherTables(o.state, containers)
	if o.json != "" {
		err = errors.Join(err, all.write(o.json))
	}
	if o.doc != "" {
		err = errors.Join(err, all.writeDocs(o.doc))
		fmt.Printf("\nbench.md, bench.svg and bench.json are in %s\n", o.doc)
	}
	return err
}

// otherTables are those of commands and state. Each is printed when it is known.
func (b *bed) otherTables(state bool, containers []int) (tables []table, err error) {
	makers := []func() (table, error){}
	if len(containers) > 0 {
		makers = append(makers, func() (table, error) { return b.commandTable(containers) })
	}
	if state {
		makers = append(makers, b.stateTable)
	}
	for _, known := range makers {
		t, err := known()
		if err != nil {
			return tables, err
		}
		t.print(os.Stdout)
		tables = append(tables, t)
		if err := b.close(); err != nil {
			return tables, err
		}
	}
	return tables, nil
}

func numbers(list string) (all []int, err error) {
	for _, word := range words(list) {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// measureAll measures every path in beds that are made anew: where the memory of
// one bed's devices is, and who shares a cache line or a hash bucket there, is luck
// that lasts as long as the bed and is worth up to a tenth.
func (b *bed) measureAll(setups []setup, o options) (*results, error) {
	kinds := words(o.measure)
	for _, kind := range kinds {
		if takers()[kind] == nil {
			return nil, fmt.Errorf("-measure %s: there is %s", kind, allKinds())
		}
	}
	data := newResults()
	for _, s := range setups {
		data.Paths = append(data.Paths, s.name)
	}
	for n := range o.beds {
		start := time.Now()
		paths, err := b.build(setups)
		if err != nil {
			return nil, err
		}
		built := time.Since(start)
		for range o.rounds {
			if err := measureRound(paths, kinds, time.Duration(o.seconds*float64(time.Second)), data); err != nil {
				return nil, err
			}
		}
		if err := b.close(); err != nil {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "bed %d of %d: made in %.1fs, measured in %.1fs\n", n+1, o.beds, built.Seconds(), (time.Since(start) - built).Seconds())
	}
	return data, nil
}

// measureRound takes each kind of measure of all paths, one after the other. Every
// other round goes the other way, and through the paths from the last to the first.
func measureRound(paths []path, kinds []string, length time.Duration, data *results) error {
	way := data.rounds % 2
	data.rounds++
	if way == 1 {
		paths = slices.Clone(paths)
		slices.Reverse(paths)
	}
	for _, kind := range kinds {
		for _, p := range paths {
			values, err := takers()[kind](p, way, 1-way, length)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", kind, p.name, err)
			}
			data.add(p.name, values)
		}
	}
	return nil
}
