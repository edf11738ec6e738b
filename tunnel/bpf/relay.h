/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What surfaces on the fan tunnel, and ICMP errors of the underlay about wrapped packets,
 * which become errors about what is inside.
 */
#ifndef RELAY_H
#define RELAY_H

#include "fan.h"
#include "icmp.h"

/* Gives the packet a link layer header for the fan tunnel: the kernel takes
 * only what is addressed to the device. */
static __always_inline long address_to_tunnel(struct __sk_buff *skb, __u32 link_header)
{
	struct ethhdr *eth;

	if (!link_header && bpf_skb_change_head(skb, ETH_HLEN, 0))
		return -1;
	eth = (void *)(long)skb->data;
	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return -1;
#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++)
		eth->h_dest[i] = eth->h_source[i] = config.tunnel_mac[i];
	eth->h_proto = bpf_htons(ETH_P_IP);
	return 0;
}

/* An ICMP error about a packet that we have wrapped, as it begins. */
struct outer_error {
	struct icmp_headers h;
	struct ipv4 outer, inner;
};

/* Whether an error is about a packet of this fan. */
static __always_inline int about_fan(const struct outer_error *e)
{
	__u32 source = bpf_ntohl(e->inner.saddr), target = bpf_ntohl(e->inner.daddr), host = 0;

	return e->h.icmp.type == ICMP_UNREACHABLE && e->h.ip.version_ihl == IPV4_PLAIN &&
	       e->outer.version_ihl == IPV4_PLAIN && e->outer.protocol == IPPROTO_IPIP &&
	       e->outer.saddr == bpf_htonl(config.host) && is_ipv4(&e->inner) &&
	       outgoing_host(source, target, &host) == OUT_SEND && e->outer.daddr == bpf_htonl(host);
}

/* Passes an error about a wrapped packet on to the sender of the inner one, as
 * RFC 2003 section 4 asks a tunnel to do. */
static __always_inline int relay_error(struct __sk_buff *skb)
{
	__u32 at = config.link_header;
	struct outer_error *e;
	struct icmp_headers h;
	__u16 mtu = 0;
	__u8 code = ICMP_HOST_UNREACHABLE;
	__u32 sum;

	if (bpf_skb_pull_data(skb, at + sizeof(*e)))
		return NEXT;
	e = (void *)(long)skb->data + at;
	if ((void *)(e + 1) > (void *)(long)skb->data_end || !about_fan(e))
		return NEXT;
	if (e->h.icmp.code == ICMP_FRAG_NEEDED) {
		code = ICMP_FRAG_NEEDED;
		mtu = bpf_ntohs(e->h.icmp.mtu) - sizeof(e->outer);
		if (mtu < LEAST_MTU || mtu >= config.mtu)
			return NEXT;
	}
	/* All that the error quotes sums up to what is missing to its own checksum;
	 * the outer header is not quoted any more. */
	sum = (__u16)~fold(sum_words(&e->h.icmp, sizeof(e->h.icmp), 0));
	sum += (__u16)~fold(sum_words(&e->outer, sizeof(e->outer), 0));
	fill_error(&h, e->inner.daddr, e->inner.saddr, bpf_ntohs(e->h.ip.tot_len) - sizeof(h) - sizeof(e->outer),
		   code, mtu, sum);
	if (bpf_skb_adjust_room(skb, -(int)sizeof(struct ipv4), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(skb, at, &h, sizeof(h), BPF_F_RECOMPUTE_CSUM) || address_to_tunnel(skb, at))
		return DROP;
	return bpf_redirect(config.tunnel, BPF_F_INGRESS);
}

#endif
