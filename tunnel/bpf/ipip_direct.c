//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * RFC 2003 tunnels without an ipip device. The fan tunnel is one end of a veth
 * pair, the other end (the inlet) a port of the fan bridge.
 *
 * Sending, at the fan tunnel: see send.h. Receiving, at the underlay device: the
 * outer header is taken off here and the packet surfaces on the fan tunnel, so
 * that the host's firewall sees it come in there.
 *
 * Before Linux 7.3 no program can clear the tunnel's GSO marks of a
 * super-packet (peers.md: bpf-next da199070), and a bridge device, which has no
 * features for encapsulated packets, would cut it up again. So TCP that the
 * host has forwarded to the bridge does not leave by the bridge device, but
 * comes in at the inlet: the bridge then passes it from port to port as it is.
 * All of TCP does, not only its super-packets: no segment may overtake another.
 */
#include "fan.h"
#include "icmp.h"
#include "send.h"

/* What is in a container's own tunnel and still to be cut goes on to the inlet: the
 * fan tunnel, whose features are off for that, has the kernel cut it before. */
SEC("tc")
int ipip_direct_send(struct __sk_buff *skb)
{
	int verdict = send_wrapped(skb, ETH_HLEN);

	return verdict == IN_TUNNEL ? PASS : verdict;
}

/* At the inlet's way in: the pieces. */
SEC("tc")
int ipip_direct_pieces(struct __sk_buff *skb)
{
	void *data_end = (void *)(long)skb->data_end;
	struct ipv4 *ip = (void *)(long)skb->data + ETH_HLEN;
	int verdict;

	/* What is for the containers here, ipip_direct_deliver has put in. */
	if (skb->protocol == bpf_htons(ETH_P_IP) && (void *)(ip + 1) <= data_end && in_slice(bpf_ntohl(ip->daddr)))
		return NEXT;
	verdict = send_wrapped(skb, ETH_HLEN);
	return verdict == IN_TUNNEL ? DROP : verdict;
}

/* What the outer ECN bits do to the inner ones, RFC 6040 figure 4. Returns 0
 * if the packet must be dropped. */
static __always_inline int merge_ecn(__u8 outer, __u8 inner, __u8 *merged)
{
	*merged = inner;
	if (inner == ECN_NOT_ECT)
		return outer != ECN_CE;
	if (outer == ECN_CE || (outer == ECN_ECT1 && inner == ECN_ECT0))
		*merged = outer;
	return 1;
}

/* Gives the packet a link layer header for the fan tunnel: the kernel takes
 * only what is addressed to the device. */
static __always_inline long address_to_tunnel(struct __sk_buff *skb)
{
	struct ethhdr *eth;

	if (!config.link_header && bpf_skb_change_head(skb, ETH_HLEN, 0))
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
	    bpf_skb_store_bytes(skb, at, &h, sizeof(h), BPF_F_RECOMPUTE_CSUM) || address_to_tunnel(skb))
		return DROP;
	return bpf_redirect(config.tunnel, BPF_F_INGRESS);
}

SEC("tc")
int ipip_direct_receive(struct __sk_buff *skb)
{
	struct fan_counters *count = load_counters();
	__u32 at = config.link_header, bytes = skb->len;
	__u64 packets = segments(skb);
	void *data_end;
	struct ipv4 *ip, *inner;
	__u8 ecn;

	/* Like the stack, nothing of frames for other hosts' cards, which a switch may
	 * send to everybody. */
	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->pkt_type == PACKET_OTHERHOST || !count)
		return NEXT;
	data_end = (void *)(long)skb->data_end;
	ip = (void *)(long)skb->data + at;
	if ((void *)(ip + 1) > data_end || bpf_ntohl(ip->daddr) != config.host)
		return NEXT;
	if (ip->protocol == IPPROTO_ICMP)
		return relay_error(skb);
	if (ip->protocol != IPPROTO_IPIP || !in_underlay(bpf_ntohl(ip->saddr)))
		return NEXT;
	if (ip->frag_off & bpf_htons(IP_MF | IP_OFFSET)) {
		count->fragments++;
		return NEXT;
	}
	if (ip->version_ihl != IPV4_PLAIN) {
		count->malformed++;
		return NEXT;
	}
	inner = ip + 1;
	if ((void *)(inner + 1) > data_end) {
		if (bpf_skb_pull_data(skb, at + 2 * sizeof(*ip)))
			return NEXT;
		data_end = (void *)(long)skb->data_end;
		ip = (void *)(long)skb->data + at;
		inner = ip + 1;
		if ((void *)(inner + 1) > data_end)
			return NEXT;
	}
	if (!in_overlay(bpf_ntohl(inner->daddr)))
		return NEXT;
	if (!is_ipv4(inner)) {
		count->malformed++;
		return DROP;
	}
	if (!in_slice(bpf_ntohl(inner->daddr))) {
		count->not_ours++;
		return DROP;
	}
	if (!belongs_to(bpf_ntohl(inner->saddr), bpf_ntohl(ip->saddr))) {
		count->spoofed++;
		return DROP;
	}
	if (!merge_ecn(ip->tos & ECN_MASK, inner->tos & ECN_MASK, &ecn)) {
		count->ecn++;
		return DROP;
	}
	if (ecn != (inner->tos & ECN_MASK)) {
		__u16 was = *(__u16 *)inner, is;

		inner->tos = (inner->tos & ~ECN_MASK) | ecn;
		is = *(__u16 *)inner;
		/* RFC 1624 equation 3 */
		inner->check = ~fold((__u16)~inner->check + (__u16)~was + is);
	}
	if (bpf_skb_adjust_room(skb, -(int)sizeof(*ip), BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET) ||
	    address_to_tunnel(skb)) {
		count->malformed++;
		return DROP;
	}
	count->rx_packets += packets;
	count->rx_bytes += bytes - sizeof(*ip) - at;
	return bpf_redirect(config.tunnel, BPF_F_INGRESS);
}

/* At the fan bridge's way out, after the host's firewall. */
SEC("tc")
int ipip_direct_deliver(struct __sk_buff *skb)
{
	void *data_end = (void *)(long)skb->data_end;
	struct ethhdr *eth = (void *)(long)skb->data;
	struct ipv4 *ip = (void *)(eth + 1);

	if (skb->ingress_ifindex != config.tunnel || skb->protocol != bpf_htons(ETH_P_IP) ||
	    (void *)(ip + 1) > data_end || ip->protocol != IPPROTO_TCP)
		return NEXT;
	return bpf_redirect(config.inlet, BPF_F_INGRESS);
}

/* At the inlet's way out: what the bridge floods is not for the fan tunnel. */
SEC("tc")
int ipip_direct_close(struct __sk_buff *skb)
{
	return DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
