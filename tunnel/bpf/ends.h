/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whether a packet was translated on its way through the host's stack. At the way in its
 * ends are left in skb->tc_index, in 16 bits, which nothing in the stack changes. Other
 * ends at the way out, or none, say that somebody has translated it.
 */
#ifndef ENDS_H
#define ENDS_H

#include "icmp.h"

/* Of vxlan the ends of a packet are its addresses. */
static __always_inline __u16 ends_between(__be32 source, __be32 target)
{
	return fold((source & 0xffff) + (source >> 16) + (target & 0xffff) + (target >> 16));
}

static __always_inline __u16 ends_of(const struct ipv4 *ip)
{
	return ends_between(ip->saddr, ip->daddr);
}

/* The ports of a packet that has such, as they stand behind its header. */
static __always_inline __u32 ports_of(const struct ipv4 *ip, const void *data_end)
{
	const __u32 *ports = (const void *)(ip + 1);

	if (ip->version_ihl != IPV4_PLAIN || (ip->frag_off & bpf_htons(IP_MF | IP_OFFSET)) ||
	    (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP) || (const void *)(ports + 1) > data_end)
		return 0;
	return *ports;
}

/* Of ipip they are its addresses and ports: connection tracking also changes a port
 * alone, if it knows another flow with the same ends. */
static __always_inline __u16 ends_with(const struct ipv4 *ip, __u32 ports)
{
	const __u32 mix = 0x9e3779b1; /* Fibonacci hashing: 2^32 by the golden ratio */

	return (((ip->saddr * mix + ip->daddr) * mix + ports) * mix) >> 16;
}

#endif
