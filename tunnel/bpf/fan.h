/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What every program of a fan shares: its constants, its counters and the
 * mapping between overlay addresses and hosts.
 *
 * A program returns NEXT for packets that belong to somebody else, so that
 * other fans and other people's programs on the same device see them too.
 */
#ifndef FAN_H
#define FAN_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define NEXT TC_ACT_UNSPEC /* tcx: TCX_NEXT, the same number */
#define DROP TC_ACT_SHOT
#define PASS TC_ACT_OK

#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET 0x1fff

#define AF_INET 2
#define OUTER_TTL 64

#define ECN_MASK 3
#define ECN_NOT_ECT 0
#define ECN_ECT1 1
#define ECN_ECT0 2
#define ECN_CE 3

/* RFC 791 without options. Not linux/ip.h: its bit fields take their order from
 * the machine that compiles, and these programs are compiled for both. */
struct ipv4 {
	__u8 version_ihl;
	__u8 tos;
	__be16 tot_len;
	__be16 id;
	__be16 frag_off;
	__u8 ttl;
	__u8 protocol;
	__be16 check;
	__be32 saddr;
	__be32 daddr;
};
#define IPV4_PLAIN 0x45 /* version 4, a header of 5 words */

/* All addresses are in host byte order. */
struct fan_config {
	__u32 underlay, underlay_mask;
	__u32 overlay, overlay_mask;
	__u32 slice, slice_mask;
	__u32 host;        /* this host's underlay address */
	__u32 shift;       /* 32 - length of a slice's prefix */
	__u32 vni;         /* vxlan */
	__u32 mtu;         /* of overlay packets */
	__u32 bridge;      /* index of the fan bridge */
	__u32 tunnel;      /* index of the fan tunnel */
	__u32 inlet;       /* index of the fan tunnel's other end, a port of the bridge */
	__u32 device;      /* index of the device by which most packets leave */
	__u8 tunnel_mac[ETH_ALEN];
	__u8 link_header;  /* bytes before the IP header on the underlay's devices */
	__u8 plain_sums;   /* the device sums up any packet, see send.h */
	__u8 catches;      /* the kernel's ipip device gets what these programs can't read */
	__u8 outer_first;  /* before Linux 5.14: what that has received begins with the outer headers */
	__u8 fast;         /* the fan has the fast path, see fast.h */
	__u8 bridge_mac[ETH_ALEN];
	__u8 inner_ethernet; /* Linux 5.13: a super-packet in a frame can be marked, see vxlan.c */
	__u32 port;        /* UDP port of vxlan */
};

/* One record a CPU; docs of the fields: the Go type Counters. */
struct fan_counters {
	__u64 tx_packets, tx_bytes;
	__u64 rx_packets, rx_bytes;
	__u64 spoofed, not_ours, malformed, too_big, ttl, ecn, fragments, no_route, kept;
	__u64 tx_fast, rx_fast;
};

volatile const struct fan_config config;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fan_counters);
} counters SEC(".maps");

static __always_inline struct fan_counters *load_counters(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&counters, &zero);
}

static __always_inline int in_overlay(__u32 address)
{
	return (address & config.overlay_mask) == config.overlay;
}

static __always_inline int in_slice(__u32 address)
{
	return (address & config.slice_mask) == config.slice;
}

static __always_inline int in_underlay(__u32 address)
{
	return (address & config.underlay_mask) == config.underlay;
}

/* The host that owns an overlay address: the bits below the overlay's prefix
 * that number the slice are the host's bits below the underlay's prefix. */
static __always_inline __u32 host_of(__u32 overlay_address)
{
	return config.underlay | ((overlay_address >> config.shift) & ~config.underlay_mask);
}

/* The underlay's network and broadcast addresses are nobody's. */
static __always_inline int is_host(__u32 address)
{
	__u32 bits = address & ~config.underlay_mask;

	return bits != 0 && bits != ~config.underlay_mask;
}

/* Whether the address of a packet that came from an outer source is that
 * host's to use. */
static __always_inline int belongs_to(__u32 overlay_address, __u32 outer_source)
{
	return in_overlay(overlay_address) && host_of(overlay_address) == outer_source &&
	       is_host(outer_source) && outer_source != config.host;
}

/* Whether it is an IPv4 header of at least 20 bytes. */
static __always_inline int is_ipv4(const struct ipv4 *ip)
{
	return (ip->version_ihl >> 4) == 4 && (ip->version_ihl & 0xf) >= 5;
}

static __always_inline __u64 segments(const struct __sk_buff *skb)
{
	return skb->gso_segs ? skb->gso_segs : 1;
}

/* Where a packet that a container or this host sends into the overlay goes. */
enum outgoing { OUT_SEND, OUT_KEEP, OUT_SPOOFED };

static __always_inline enum outgoing outgoing_host(__u32 source, __u32 target, __u32 *host)
{
	if (!in_overlay(target) || in_slice(target))
		return OUT_KEEP;
	if (!in_slice(source))
		return OUT_SPOOFED;
	*host = host_of(target);
	return is_host(*host) ? OUT_SEND : OUT_KEEP;
}

/* Adds a packet that does not leave to its counter. */
static __always_inline int keep(struct fan_counters *count, enum outgoing verdict)
{
	if (verdict == OUT_SPOOFED)
		count->spoofed++;
	else
		count->kept++;
	return DROP;
}

#endif
