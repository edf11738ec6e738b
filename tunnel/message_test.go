package tunnel

import (
	"bytes"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fanctl/fanctl/fan"
	"github.com/fanctl/fanctl/tunnel/bpf"
)

// Each counter of the programs is summed into the one of its name.
func TestCountersAddUp(t *testing.T) {
	var record bpf.Counters
	fields := reflect.ValueOf(&record).Elem()
	names := map[string]uint64{}
	for _, f := range reflect.VisibleFields(fields.Type()) {
		if !f.IsExported() {
			continue
		}
		names[f.Name] = 1 << len(names)
		fields.FieldByIndex(f.Index).SetUint(names[f.Name])
	}
	if have := reflect.TypeFor[Counters]().NumField(); have != len(names) {
		t.Errorf("%d counters, the programs have %d", have, len(names))
	}
	sum := Counters{ECN: 1 << 40} // of the device
	sum.add(record)
	sum.add(record)
	names["ECN"], names["TTL"] = names["Ecn"]+1<<39, names["Ttl"]
	got := reflect.ValueOf(sum)
	for i := range got.NumField() {
		name := got.Type().Field(i).Name
		if want := 2 * names[name]; want == 0 || got.Field(i).Uint() != want {
			t.Errorf("%s is %#x, want %#x", name, got.Field(i).Uint(), want)
		}
	}
}

// vniMessage is a vxlan device's list of network identifiers as the kernel sends
// it (drivers/net/vxlan/vxlan_vnifilter.c: vxlan_fill_vni_filter_entry).
func vniMessage(vnis ...uint32) []byte {
	var message []byte
	for _, vni := range vnis {
		entry := nl.NewRtAttr(vxlanVNIEntry|unix.NLA_F_NESTED, nil)
		entry.AddRtAttr(vxlanEntryStart, nl.Uint32Attr(vni))
		message = append(message, entry.Serialize()...)
	}
	return message
}

func TestVNIInMessage(t *testing.T) {
	message := vniMessage(7, 0xfa0000)
	for vni, want := range map[uint32]bool{7: true, 0xfa0000: true, 0: false, 8: false, 0xfa: false} {
		if got := messageHasVNI(message, vni); got != want {
			t.Errorf("network identifier %#x: %t, want %t", vni, got, want)
		}
	}
	for length := range message {
		if messageHasVNI(message[:length], 0xfa0000) {
			t.Errorf("the last identifier is found in the first %d bytes of %d", length, len(message))
		}
	}
	other := nl.NewRtAttr(2, nl.Uint32Attr(7)) // not an entry
	if messageHasVNI(other.Serialize(), 7) {
		t.Error("an identifier is found where there is no entry")
	}
}

func TestTunnelMessage(t *testing.T) {
	m := tunnelMessage{0x01020304}
	want := append([]byte{unix.AF_BRIDGE, 0, 0, 0}, nl.Uint32Attr(0x01020304)...)
	if got := m.Serialize(); !bytes.Equal(got, want) || m.Len() != len(want) {
		t.Errorf("the message is %x of length %d, want %x", got, m.Len(), want)
	}
}

func TestAttachmentDirections(t *testing.T) {
	in, out := attachment{}, attachment{egress: true}
	if in.direction() != "ingress" || in.parent() != netlink.HANDLE_MIN_INGRESS {
		t.Errorf("the way in is %s, %#x", in.direction(), in.parent())
	}
	if out.direction() != "egress" || out.parent() != netlink.HANDLE_MIN_EGRESS {
		t.Errorf("the way out is %s, %#x", out.direction(), out.parent())
	}
}

func TestIPNet(t *testing.T) {
	for _, text := range []string{"250.0.0.0/8", "240.9.64.0/18"} {
		if got := ipNet(netip.MustParsePrefix(text)); got.String() != text {
			t.Errorf("%s is %s for netlink", text, got)
		}
	}
}

func TestOwnPorts(t *testing.T) {
	w := wanted(t, fan.VXLAN, fan.Device)
	if got, want := OwnPorts(w.Fan), []string{"ftun-250", "ftin-250", "ftrm-250"}; !slices.Equal(got, want) {
		t.Errorf("the fan's own ports are %q, want %q", got, want)
	}
}
