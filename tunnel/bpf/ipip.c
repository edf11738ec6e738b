//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * RFC 2003 tunnels with a kernel device that takes its outer header from
 * metadata. It receives: it puts fragments together, takes the outer header off and
 * says what was in it, which is checked here. Sending: see send.h; the device sends
 * only what is in a container's own tunnel and still to be cut.
 */
#include "fan.h"
#include "send.h"

/* Has the kernel's device wrap a packet, which can nest tunnels. */
static __always_inline int send_by_device(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct fan_counters *count = load_counters();
	void *data_end = (void *)(long)skb->data_end;
	struct ipv4 *ip = (void *)(long)skb->data;

	if ((void *)(ip + 1) > data_end || !count)
		return DROP;
	key.remote_ipv4 = host_of(bpf_ntohl(ip->daddr));
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
int ipip_send(struct __sk_buff *skb)
{
	int verdict = send_wrapped(skb, 0);

	return verdict == IN_TUNNEL ? send_by_device(skb) : verdict;
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
	/* What has no outer header is an answer of ours to a packet that was too long. */
	if (bpf_skb_get_tunnel_key(skb, &key, offsetof(struct bpf_tunnel_key, local_ipv4), 0))
		return PASS;
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
