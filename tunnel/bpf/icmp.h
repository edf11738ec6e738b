/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP errors (RFC 792) that a tunnel has to make or pass on itself.
 */
#ifndef FAN_ICMP_H
#define FAN_ICMP_H

#include "fan.h"

#define ICMP_UNREACHABLE 3
#define ICMP_HOST_UNREACHABLE 1
#define ICMP_FRAG_NEEDED 4

#define ANSWER_TTL 64
#define LEAST_MTU 68 /* RFC 791 */

struct icmp {
	__u8 type, code;
	__be16 check;
	__be16 unused;
	__be16 mtu; /* RFC 1191 */
};

struct icmp_headers {
	struct ipv4 ip;
	struct icmp icmp;
};

/* What an answer quotes: a plain IPv4 header and 24 bytes. RFC 792 asks for 8;
 * the kernel does not cut a packet short before the checksum that it still has
 * to write (net/core/filter.c: __bpf_skb_min_len), which TCP has at byte 16. */
#define QUOTED (sizeof(struct ipv4) + 24)

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

static __always_inline __u32 sum_words(const void *from, int bytes, __u32 sum)
{
	const __u16 *word = from;

#pragma unroll
	for (int i = 0; i < bytes / 2; i++)
		sum += word[i];
	return sum;
}

/* RFC 791 for a header of 20 bytes whose checksum field is zero. */
static __always_inline __u16 header_checksum(const struct ipv4 *ip)
{
	return ~fold(sum_words(ip, sizeof(*ip), 0));
}

/* Fills in the headers of an ICMP error; sum is that of the bytes it quotes. */
static __always_inline void fill_error(struct icmp_headers *h, __be32 from, __be32 to, __u32 quoted, __u8 code,
				       __u16 mtu, __u32 sum)
{
	h->ip = (struct ipv4){
		.version_ihl = IPV4_PLAIN,
		.tot_len = bpf_htons(sizeof(*h) + quoted),
		.frag_off = bpf_htons(IP_DF),
		.ttl = ANSWER_TTL,
		.protocol = IPPROTO_ICMP,
		.saddr = from,
		.daddr = to,
	};
	h->ip.check = header_checksum(&h->ip);
	h->icmp = (struct icmp){ .type = ICMP_UNREACHABLE, .code = code, .mtu = bpf_htons(mtu) };
	h->icmp.check = ~fold(sum_words(&h->icmp, sizeof(h->icmp), sum));
}

/* The length of a packet, or of the longest segment of a super-packet. length is
 * the packet's without its link layer header. */
static __always_inline __u32 longest(const struct __sk_buff *skb, const struct ipv4 *ip, const void *data_end,
				     __u32 length)
{
	const __u8 *transport = (const void *)(ip + 1);
	__u32 headers = sizeof(*ip);

	if (!skb->gso_size)
		return length;
	if (ip->protocol == IPPROTO_UDP)
		headers += 8;
	else if (transport + 13 <= (const __u8 *)data_end)
		headers += (transport[12] >> 4) * 4;
	return headers + skb->gso_size;
}

/* Makes of a frame that is too long the ICMP error that answers it, as if its
 * target had sent it (net/ipv4/ip_tunnel_core.c: iptunnel_pmtud_build_icmp does
 * the same). Returns 0, or less if the frame can't be answered; it is then to
 * be dropped. */
static __always_inline int answer_too_big(struct __sk_buff *skb, __u16 mtu)
{
	void *data_end = (void *)(long)skb->data_end;
	struct ethhdr *eth = (void *)(long)skb->data;
	struct ipv4 *ip = (void *)(eth + 1);
	struct ethhdr back = { .h_proto = bpf_htons(ETH_P_IP) };
	struct icmp_headers h;
	__be32 from, to;
	__s64 sum;

	if ((void *)(ip + 1) > data_end || ip->version_ihl != IPV4_PLAIN)
		return -1;
	__builtin_memcpy(back.h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(back.h_source, eth->h_dest, ETH_ALEN);
	from = ip->daddr;
	to = ip->saddr;
	/* Also makes a plain packet of a super-packet. */
	if (bpf_skb_change_tail(skb, ETH_HLEN + QUOTED, 0))
		return -1;
	data_end = (void *)(long)skb->data_end;
	ip = (void *)(long)skb->data + ETH_HLEN;
	if ((void *)ip + QUOTED > data_end)
		return -1;
	sum = bpf_csum_diff(NULL, 0, (void *)ip, QUOTED, 0);
	if (sum < 0)
		return -1;
	fill_error(&h, from, to, QUOTED, ICMP_FRAG_NEEDED, mtu, fold(sum));
	if (bpf_skb_adjust_room(skb, sizeof(h), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(skb, 0, &back, sizeof(back), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &h, sizeof(h), 0))
		return -1;
	return 0;
}

#endif
