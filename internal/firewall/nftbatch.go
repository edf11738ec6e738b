package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// deleteNative deletes all the objects or none: those must be empty, and the
// ruleset must be of that generation. Errors are the kernel's (unix.EBUSY,
// unix.ERESTART).
func deleteNative(generation []byte, objects []object) error {
	batch := batchEnd(unix.NFNL_MSG_BATCH_BEGIN, nl.NewRtAttr(unix.NFNL_BATCH_GENID, generation))
	for _, o := range objects {
		batch = append(batch, o.request().Serialize()...)
	}
	batch = append(batch, batchEnd(unix.NFNL_MSG_BATCH_END, nil)...)
	if err := exchange(batch, len(objects)); err != nil {
		return fmt.Errorf("delete empty tables of nftables: %w", err)
	}
	return nil
}

// request is the message that deletes the object if it is empty.
func (o object) request() *nl.NetlinkRequest {
	const flags = unix.NLM_F_ACK | unix.NLM_F_NONREC
	if o.chain == "" {
		r := nftRequest(unix.NFT_MSG_DELTABLE, flags)
		r.AddData(nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(o.table)))
		return r
	}
	r := nftRequest(unix.NFT_MSG_DELCHAIN, flags)
	r.AddData(nl.NewRtAttr(unix.NFTA_CHAIN_TABLE, nl.ZeroTerminated(o.table)))
	r.AddData(nl.NewRtAttr(unix.NFTA_CHAIN_NAME, nl.ZeroTerminated(o.chain)))
	return r
}

// batchEnd is the message at either end of a batch.
func batchEnd(kind int, attr *nl.RtAttr) []byte {
	r := nl.NewNetlinkRequest(kind, 0)
	r.AddData(batchHeader{})
	if attr != nil {
		r.AddData(attr)
	}
	return r.Serialize()
}

// batchHeader is the nfgenmsg of a batch's ends. It names the subsystem, in
// network byte order (net/netfilter/nfnetlink.c).
type batchHeader struct{}

// Len implements nl.NetlinkRequestData.
func (batchHeader) Len() int { return nl.SizeofNfgenmsg }

// Serialize implements nl.NetlinkRequestData.
func (batchHeader) Serialize() []byte {
	return binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, nl.NFNETLINK_V0}, unix.NFNL_SUBSYS_NFTABLES)
}

// exchange sends a batch and waits for that many answers or the first error.
// package nl can't send several messages as one.
func exchange(batch []byte, answers int) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// The kernel answers at once; this only keeps a lost answer from hanging us.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
		return err
	}
	if err := unix.Sendto(fd, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buffer := make([]byte, 1<<16)
	for answers > 0 {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 {
				continue
			}
			answers--
			if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
				return unix.Errno(-code)
			}
		}
	}
	return nil
}
