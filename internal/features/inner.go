package features

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// packetTime is how long a packet may take from one end of the lab to the other. It
// takes microseconds.
const packetTime = 2 * time.Second

// tryInnerFirst sends a wrapped packet by the loopback device, and has a program at
// the ipip device say how long it is: as long as the inner packet, or as what is
// before that, too.
func (l lab) tryInnerFirst() answer {
	if l.err != nil {
		return unknown(l.err)
	}
	lengths, err := ebpf.NewMap(&ebpf.MapSpec{Name: "fan_probe", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return unknown(err)
	}
	defer lengths.Close()
	program, err := measuring(lengths)
	if err != nil {
		return unknown(err)
	}
	defer program.Close()
	there := false
	a := l.withLink(ipip(), func(made netlink.Link) answer {
		there = true
		lo, err := l.lo()
		if err != nil {
			return unknown(err)
		}
		for _, device := range []netlink.Link{lo, made} {
			if err := l.handle.LinkSetUp(device); err != nil {
				return unknown(err)
			}
		}
		return l.withFilter(made, program, func() answer { return measure(lengths) })
	})
	return innerFirst(a, there)
}

// innerFirst reads the answer of an attempt for which a device was made or not. That
// something else is missing says nothing of the order.
func innerFirst(a answer, made bool) answer {
	switch {
	case a.state != No || a.detail == outerFirst:
		return a
	case made:
		return unknown(errors.New("no program can be a filter"))
	}
	return unknown(errors.New("there is no ipip device"))
}

const outerFirst = "the outer header comes first"

// measuring is a program that writes down how long a packet is, and drops it.
func measuring(lengths *ebpf.Map) (*ebpf.Program, error) {
	length := asm.LoadMem(asm.R7, asm.R1, 0, asm.Word) // __sk_buff.len
	return newFilter(length,
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, lengths.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.StoreMem(asm.R0, 0, asm.R7, asm.Word),
		asm.Mov.Imm(asm.R0, 2).WithSymbol("end"), // TC_ACT_SHOT
		asm.Return())
}

func measure(lengths *ebpf.Map) answer {
	inner := ipv4Packet(253, make([]byte, 30)) // for experiments, RFC 3692
	if err := sendLocally(ipv4Packet(unix.IPPROTO_IPIP, inner)); err != nil {
		return unknown(err)
	}
	const pause = time.Millisecond
	for end := time.Now().Add(packetTime); time.Now().Before(end); time.Sleep(pause) {
		var length uint32
		if err := lengths.Lookup(uint32(0), &length); err != nil {
			return unknown(err)
		}
		switch {
		case length == uint32(len(inner)):
			return yes("")
		case length != 0:
			return no(outerFirst)
		}
	}
	return unknown(errors.New("no packet came out of the ipip device"))
}

// ipv4Packet is a packet of 127.0.0.1 to itself.
func ipv4Packet(protocol byte, payload []byte) []byte {
	p := make([]byte, 20, 20+len(payload))
	p[0], p[8], p[9], p[12], p[15], p[16], p[19] = 0x45, 64, protocol, 127, 1, 127, 1
	binary.BigEndian.PutUint16(p[2:], uint16(20+len(payload)))
	var sum uint32
	for i := 0; i < len(p); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum))
	return append(p, payload...)
}

// sendLocally sends a whole packet to 127.0.0.1.
func sendLocally(packet []byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return fmt.Errorf("open raw socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fmt.Errorf("send packet: %w", err)
	}
	return nil
}
