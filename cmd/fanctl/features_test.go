package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/internal/features"
	"github.com/fanctl/fanctl/internal/host"
)

// found is a report with a feature in each state, as no kernel has it.
func found() host.Features {
	return host.Features{
		Report: features.Report{Kernel: "5.10.0-30-amd64", Features: []features.Feature{
			{Group: "devices", Name: "ipip-device", State: features.Yes, Means: "fans of type ipip receive by it"},
			{Group: "devices", Name: "vxlan-vnifilter", State: features.No, Detail: "the device has no filter", Means: "each fan of type vxlan needs a UDP port of its own"},
			{Group: "ebpf", Name: "bpf_redirect_neigh", State: features.Unknown, Detail: "needs root", Means: "programs call it"},
			{Group: "firewall", Name: "iptables", State: features.Yes, Detail: "v1.8.9 (nf_tables)", Means: "fans put their rules in by it"},
		}, Programs: []features.Program{
			{Object: "ipip", Name: "ipip_send", Instructions: 832, Verified: 4702, MachineCode: 3702},
			{Object: "ipip", Name: "ipip_receive", Instructions: 129},
		}},
		Paths: []host.Path{
			{Type: fan.IPIP, Datapath: fan.Device, State: features.No, Why: "the kernel has the ipip device", Lacks: []string{"clsact", "iptables"}, Unsure: []string{"bridge"}},
			{Type: fan.VXLAN, Datapath: fan.Device, State: features.Yes, Why: "there is no other way for vxlan"},
		},
	}
}

func TestFeatures(t *testing.T) {
	nothing := host.Features{Report: features.Report{Kernel: "5.10.0-30-amd64"}}
	for name, f := range map[string]host.Features{"features": found(), "features-none": nothing} {
		var table, text bytes.Buffer
		if err := featuresTable(&table, f); err != nil {
			t.Fatal(err)
		}
		checkGolden(t, name, table.String())
		if err := featuresJSON(&text, f); err != nil {
			t.Fatal(err)
		}
		checkGolden(t, name+"-json", text.String())
	}
}

// Whoever asks gets an answer in which every list is one, and nobody's fan is changed.
func TestFeaturesOfThisKernel(t *testing.T) {
	ownNetwork(t)
	var out, errOut bytes.Buffer
	if code := run([]string{"fanctl", "features", "--json"}, &out, &errOut); code != 0 || errOut.Len() > 0 {
		t.Fatalf("exit code %d, %q", code, errOut.String())
	}
	if text := out.String(); strings.Count(text, "null") != strings.Count(text, `"verified": null`) {
		t.Errorf("a list is null in %s", out.String())
	}
	var r reportJSON
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range r.Features {
		if names[f.Name] || f.Means == "" || f.State == features.Unknown && f.Detail == "" {
			t.Errorf("%+v stands there twice, or without a reason", f)
		}
		names[f.Name] = true
	}
	if len(r.Paths) != 2 || len(r.Features) < 30 {
		t.Errorf("%d paths, %d features", len(r.Paths), len(r.Features))
	}
}
