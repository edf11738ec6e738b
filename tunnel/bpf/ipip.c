//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * RFC 2003 tunnels through a kernel device that takes its outer header from
 * metadata: the device encapsulates and decapsulates, these programs say where
 * to and check where from.
 */
#include "fan.h"

SEC("tc")
int ipip_send(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct fan_counters *count = load_counters();
	void *data_end = (void *)(long)skb->data_end;
	struct ipv4 *ip = (void *)(long)skb->data;
	enum outgoing verdict;
	__u32 host = 0;

	if (skb->protocol != bpf_htons(ETH_P_IP) || (void *)(ip + 1) > data_end)
		return NEXT;
	if (!in_overlay(bpf_ntohl(ip->daddr)) || !count)
		return NEXT;
	verdict = outgoing_host(bpf_ntohl(ip->saddr), bpf_ntohl(ip->daddr), &host);
	if (verdict != OUT_SEND)
		return keep(count, verdict);

	key.remote_ipv4 = host;
	key.local_ipv4 = config.host;
	key.tunnel_ttl = OUTER_TTL;
	key.tunnel_tos = ip->tos & ~ECN_MASK; /* the kernel adds the ECN bits */
	if (set_tunnel_key(skb, &key, ip->frag_off & bpf_htons(IP_DF) ? BPF_F_DONT_FRAGMENT : 0)) {
		count->malformed++;
		return DROP;
	}
	count->tx_packets += segments(skb);
	count->tx_bytes += skb->len;
	return PASS;
}

SEC("tc")
int ipip_receive(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct fan_counters *count = load_counters();
	void *data_end = (void *)(long)skb->data_end;
	struct ipv4 *ip = (void *)(long)skb->data;

	if (skb->protocol != bpf_htons(ETH_P_IP) || (void *)(ip + 1) > data_end)
		return NEXT;
	if (!in_overlay(bpf_ntohl(ip->daddr)) || !count)
		return NEXT;
	if (bpf_skb_get_tunnel_key(skb, &key, offsetof(struct bpf_tunnel_key, local_ipv4), 0)) {
		count->malformed++;
		return DROP;
	}
	if (!in_slice(bpf_ntohl(ip->daddr))) {
		count->not_ours++;
		return DROP;
	}
	if (!belongs_to(bpf_ntohl(ip->saddr), key.remote_ipv4)) {
		count->spoofed++;
		return DROP;
	}
	count->rx_packets += segments(skb);
	count->rx_bytes += skb->len;
	return PASS;
}

/* The last filter on a device that fans share: what no fan took is nobody's. */
SEC("tc")
int guard(struct __sk_buff *skb)
{
	struct fan_counters *count = load_counters();

	if (count)
		count->not_ours++;
	return DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
