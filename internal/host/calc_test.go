package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/fanctl/fanctl/fan"
)

func TestCalcFans(t *testing.T) {
	spec := func(line string) fan.Spec {
		s, err := fan.ParseSpec(strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	up := withFan(t, withFan(t, plain(), "fan-250", ipipAlias), "mine", vxlanAlias)
	for line, want := range map[string]string{
		"10.0.0.0/16 250":   "10.0.0.45", // this host's
		"eth0 250":          "10.0.0.45",
		"172.16.0.0/16 250": "invalid IP", // any other network: nothing of this host's
		"172.16.3.4/16 250": "invalid IP",
	} {
		fans, err := calcFans(spec(line), up)
		if err != nil || len(fans) != 1 || fans[0].host.String() != want || fans[0].bridge != "fan-250" {
			t.Errorf("%s: %+v, %v; want host %s", line, fans, err, want)
		}
	}
	if fans, err := calcFans(fan.Spec{}, up); err != nil || len(fans) != 2 {
		t.Errorf("fans that are up: %+v, %v", fans, err)
	}
	if _, err := calcFans(fan.Spec{}, plain()); !errors.Is(err, fan.ErrUsage) {
		t.Errorf("without fans: %v", err)
	}
	if _, err := calcFans(spec("eth9 250"), plain()); !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), "eth9") {
		t.Errorf("without that device: %v", err)
	}
}

func TestPlaces(t *testing.T) {
	one := calcFan{"fan-250", networks(t, "10.0.0.0/16", "250.0.0.0/8"), netip.MustParseAddr("10.0.0.45")}
	two := calcFan{"fan-240", networks(t, "10.0.0.0/16", "240.0.0.0/8"), netip.MustParseAddr("10.0.0.45")}
	both := []calcFan{one, two}
	for word, want := range map[string]string{
		"250.0.45.9": "fan-250 250.0.45.0/24 true",
		"240.0.3.9":  "fan-240 240.0.3.0/24 false",
		"fan-240":    "fan-240 240.0.45.0/24 true",
		"10.0.3.4":   "fan-250 250.3.4.0/24 false, fan-240 240.3.4.0/24 false", // over one underlay
	} {
		places, err := find(context.Background(), word, both)
		var got []string
		for _, p := range places {
			got = append(got, fmt.Sprintf("%s %s %t", p.Bridge, p.Owner.Slice, p.Here))
		}
		if err != nil || strings.Join(got, ", ") != want {
			t.Errorf("%s is at %s, %v; want %s", word, strings.Join(got, ", "), err, want)
		}
	}
	if _, err := placesOf("9.9.9.9", netip.MustParseAddr("9.9.9.9"), both); !errors.Is(err, fan.ErrUsage) || !strings.Contains(err.Error(), "9.9.9.9") {
		t.Errorf("an address of no fan: %v", err)
	}
	here, err := hereIn(both)
	if err != nil || len(here) != 2 || !here[0].Here || here[1].Owner.Slice.String() != "240.0.45.0/24" {
		t.Errorf("this host: %+v, %v", here, err)
	}
}

// A bridge is named only where it is that of the fan, and a fan that is not up is to have
// its usual name unless another one has that.
func TestPlacesNameTheBridge(t *testing.T) {
	up := withFan(t, withFan(t, plain(), "fan-250", ipipAlias), "mine", vxlanAlias)
	for _, test := range []struct{ underlay, overlay, want string }{
		{"10.0.0.0/16", "250.0.0.0/8", "fan-250"},
		{"10.1.0.0/16", "250.0.0.0/8", ""},
		{"10.0.0.0/16", "250.0.0.0/12", ""},
		{"192.168.1.0/24", "240.9.0.0/16", "mine"},
		{"10.1.0.0/16", "249.0.0.0/8", "fan-249"},
	} {
		m := networks(t, test.underlay, test.overlay)
		if got := asUp([]Place{{Bridge: fan.BridgeName(m.Overlay()), Mapping: m}}, up)[0].Bridge; got != test.want {
			t.Errorf("the bridge of %s over %s is %q, want %q", test.overlay, test.underlay, got, test.want)
		}
	}
}

// One word that can't be keeps no other from its answer.
func TestPlacesBesideErrors(t *testing.T) {
	one := calcFan{"fan-250", networks(t, "10.0.0.0/16", "250.0.0.0/8"), netip.MustParseAddr("10.0.0.45")}
	places, err := placesFor(context.Background(), []string{"250.0.45.9", "9.9.9.9", "10.0.3.4", "8.8.8.8"}, []calcFan{one})
	if len(places) != 2 || places[1].Asked != "10.0.3.4" {
		t.Errorf("places are %+v, want two", places)
	}
	checkRefused(t, "two of no fan", err, "9.9.9.9 8.8.8.8")
}

// No name server is no reason to talk of sockets.
func TestNameThatIsNone(t *testing.T) {
	one := calcFan{"fan-250", networks(t, "10.0.0.0/16", "250.0.0.0/8"), netip.MustParseAddr("10.0.0.45")}
	_, err := addressOf(context.Background(), "fan-7.invalid", []calcFan{one})
	checkRefused(t, "a name that is none", err, `"fan-7.invalid" 250.0.0.1`)
	if strings.Contains(err.Error(), "dial") || strings.Contains(err.Error(), "lookup") {
		t.Errorf("%v", err)
	}
}
