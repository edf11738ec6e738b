//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * RFC 2003 tunnels. The fan tunnel is one end of a veth pair, the other end (the
 * inlet) a port of the fan bridge.
 *
 * Sending, at the fan tunnel: see send.h. Receiving, at the underlay device: the
 * outer header is taken off here and the packet surfaces on the fan tunnel, so
 * that the host's firewall sees it come in there. What only the kernel can read, in
 * fragments or with options in its outer header, it passes on to the kernel's ipip
 * device, where there is one: ipip_whole has it surface on the fan tunnel, too.
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
#include "ends.h"
#include "fast.h"
#include "relay.h"

/* What is in a container's own tunnel and still to be cut goes on to the inlet: the
 * fan tunnel, whose features are off for that, has the kernel cut it before. */
SEC("tc")
int ipip_send(struct __sk_buff *skb)
{
	int verdict;

	if (config.fast)
		note_sent(skb);
	verdict = send_wrapped(skb);
	return verdict == IN_TUNNEL ? PASS : verdict;
}

/* Whether an address is the host's own or one of many: what comes from there the host
 * does not pass on. */
static __always_inline int is_no_sender(struct __sk_buff *skb, __be32 address)
{
	struct bpf_fib_lookup route = { .family = AF_INET, .ifindex = config.bridge, .ipv4_dst = address };

	return bpf_fib_lookup(skb, &route, sizeof(route), 0) == BPF_FIB_LKUP_RET_NOT_FWDED;
}

/* At the way in of a bridge port of a container: the fast way out. */
SEC("tc")
int ipip_port(struct __sk_buff *skb)
{
	struct fan_counters *count = load_counters();
	void *data_end = (void *)(long)skb->data_end;
	struct ethhdr *eth = (void *)(long)skb->data;
	struct ipv4 *ip = (void *)(eth + 1);
	struct wrapping w = { .bytes = skb->len - ETH_HLEN };
	struct candidate c = {};
	__u16 check;
	int verdict;

	if ((void *)(ip + 1) > data_end || !count || skb->vlan_present || !is_station(eth->h_source))
		return NEXT;
	if (skb->protocol != bpf_htons(ETH_P_IP) || !same_mac(eth->h_dest, config.bridge_mac) ||
	    outgoing_host(bpf_ntohl(ip->saddr), bpf_ntohl(ip->daddr), &w.host) != OUT_SEND ||
	    !can_go_fast(ip, data_end, w.bytes, 1, &c) || (c.begins && is_no_sender(skb, ip->saddr))) {
		learn(eth->h_source, skb->ifindex);
		return NEXT;
	}
	prepare(skb, ip, data_end, &w);
	if (w.length > config.mtu || w.way.found != BPF_FIB_LKUP_RET_SUCCESS ||
	    !is_fast(&c, eth->h_source, skb->ifindex))
		return NEXT;
	check = ip->check;
	hop(ip);
	verdict = wrap(skb, count, &w);
	if (verdict == IN_TUNNEL) {
		ip = (void *)(long)skb->data + ETH_HLEN;
		if ((void *)(ip + 1) > (void *)(long)skb->data_end)
			return DROP;
		ip->check = check;
		ip->ttl++;
		return NEXT;
	}
	count->tx_fast += w.packets;
	return verdict;
}

/* At the inlet's way in: the pieces. */
SEC("tc")
int ipip_pieces(struct __sk_buff *skb)
{
	void *data_end = (void *)(long)skb->data_end;
	struct ipv4 *ip = (void *)(long)skb->data + ETH_HLEN;
	int verdict;

	/* What is for the containers here, ipip_deliver has put in. */
	if (skb->protocol == bpf_htons(ETH_P_IP) && (void *)(ip + 1) <= data_end && in_slice(bpf_ntohl(ip->daddr)))
		return NEXT;
	verdict = send_wrapped(skb);
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

/* Whether a packet of the overlay is for this host and from who may send it; if not,
 * it is counted. */
static __always_inline int acceptable(const struct ipv4 *inner, __u32 outer_source, struct fan_counters *count)
{
	if (!is_ipv4(inner))
		count->malformed++;
	else if (!in_slice(bpf_ntohl(inner->daddr)))
		count->not_ours++;
	else if (!belongs_to(bpf_ntohl(inner->saddr), outer_source))
		count->spoofed++;
	else
		return 1;
	return 0;
}

/* Whether a packet can surface on the fan tunnel. Before Linux 5.12 (5f7d57280c19) none
 * can that is longer than its MTU, if another host's is larger. */
static __always_inline int fits(const struct __sk_buff *skb, __u32 bytes)
{
	return !config.outer_first || skb->gso_size || bytes <= config.mtu;
}

/* The fast way in: into the container. */
static __always_inline int deliver(struct __sk_buff *skb, struct fan_counters *count, const struct local *l,
				   __u64 packets)
{
	struct ethhdr *eth;
	struct ipv4 *ip;

	if (bpf_skb_adjust_room(skb, -(int)sizeof(*ip), BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET)) {
		count->malformed++;
		return DROP;
	}
	eth = (void *)(long)skb->data;
	ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return DROP;
#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++) {
		eth->h_dest[i] = l->target[i];
		eth->h_source[i] = config.bridge_mac[i];
	}
	hop(ip);
	skb->mark = 0; /* as between network namespaces; redirect_peer does it since Linux 6.15 */
	count->rx_packets += packets;
	count->rx_bytes += skb->len - ETH_HLEN;
	count->rx_fast += packets;
	return bpf_redirect_peer(l->port, 0);
}

/* The container to which a packet goes the fast way, or NULL. */
static __always_inline struct local *fast_in(struct __sk_buff *skb, const struct ipv4 *inner, const void *data_end,
					     __u32 bytes)
{
	struct candidate c = {};
	struct local *l;

	if (skb->pkt_type != PACKET_HOST || !can_go_fast(inner, data_end, bytes, 0, &c) ||
	    longest(skb, inner, data_end, bytes) > config.mtu)
		return NULL;
	l = find_local(skb, inner, NULL);
	return l && is_fast(&c, NULL, 0) ? l : NULL;
}

SEC("tc")
int ipip_receive(struct __sk_buff *skb)
{
	struct fan_counters *count = load_counters();
	__u32 at = config.link_header, bytes = skb->len;
	__u64 packets = segments(skb);
	void *data_end;
	struct ipv4 *ip, *inner;
	struct local *l;
	__u16 ends;
	__u8 ecn;

	/* Like the stack, nothing of frames for other hosts' cards, which a switch may
	 * send to everybody. */
	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->pkt_type == PACKET_OTHERHOST || !count || skb->vlan_present)
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
		count->fragments += !config.catches;
		return NEXT;
	}
	if (ip->version_ihl != IPV4_PLAIN) {
		count->malformed += !config.catches;
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
	if (!acceptable(inner, bpf_ntohl(ip->saddr), count))
		return DROP;
	if (!fits(skb, bytes - sizeof(*ip) - at)) {
		count->too_big++;
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
	if (config.fast && at) {
		l = fast_in(skb, inner, data_end, bytes - sizeof(*ip) - at);
		if (l)
			return deliver(skb, count, l, packets);
	}
	ends = ends_with(inner, ports_of(inner, data_end));
	if (bpf_skb_adjust_room(skb, -(int)sizeof(*ip), BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET) ||
	    address_to_tunnel(skb, at)) {
		count->malformed++;
		return DROP;
	}
	skb->tc_index = ends;
	count->rx_packets += packets;
	count->rx_bytes += bytes - sizeof(*ip) - at;
	return bpf_redirect(config.tunnel, BPF_F_INGRESS);
}

/* Whether a packet has an IPv4 header at some place. */
static __always_inline int has_at(struct __sk_buff *skb, __u32 at, const struct ipv4 *header)
{
	const __u32 *want = (const void *)header;
	__u32 there[sizeof(*header) / sizeof(__u32)];

	if (bpf_skb_load_bytes(skb, at, there, sizeof(there)))
		return 0;
#pragma unroll
	for (int i = 0; i < sizeof(there) / sizeof(there[0]); i++)
		if (there[i] != want[i])
			return 0;
	return 1;
}

/* Before Linux 5.14 (7ad136fd288c) the ipip device leaves what was before a packet's
 * inner header where it was, and packets are shown to programs from there on: from
 * the link header, of the length that the fan's devices have, and the outer header.
 * This takes the outer header away. The inner one is copied over it, so that what goes is
 * the original of that, from behind all that the kernel holds for link headers.
 * Returns how many bytes are before the inner header then, or -1 if others are, such as
 * options or what another way has. */
static __always_inline int uncover(struct __sk_buff *skb, const struct ipv4 *inner)
{
	const __u32 at = config.link_header;

	if (!config.outer_first || has_at(skb, 0, inner))
		return 0;
	if (!has_at(skb, at + sizeof(*inner), inner) ||
	    bpf_skb_store_bytes(skb, at, inner, sizeof(*inner), 0) ||
	    bpf_skb_adjust_room(skb, -(int)sizeof(*inner), BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET))
		return -1;
	return at;
}

/* At the way in of the kernel's ipip device, which all fans share: what is whole
 * again and whose outer header is off. */
SEC("tc")
int ipip_whole(struct __sk_buff *skb)
{
	struct fan_counters *count = load_counters();
	struct bpf_tunnel_key key = {};
	struct {
		struct ipv4 ip;
		__u32 ports;
	} whole = {};
	struct ipv4 inner;
	__u16 ends;
	int before;

	if (skb->protocol != bpf_htons(ETH_P_IP) || !count ||
	    bpf_skb_load_bytes_relative(skb, 0, &inner, sizeof(inner), BPF_HDR_START_NET))
		return NEXT;
	if (!in_overlay(bpf_ntohl(inner.daddr)))
		return NEXT;
	/* The key's first fields are those that every kernel knows. */
	if (bpf_skb_get_tunnel_key(skb, &key, offsetof(struct bpf_tunnel_key, local_ipv4), 0)) {
		count->malformed++;
		return DROP;
	}
	if (!acceptable(&inner, key.remote_ipv4, count))
		return DROP;
	if (!fits(skb, bpf_ntohs(inner.tot_len))) {
		count->too_big++;
		return DROP;
	}
	/* A packet without as much has no ports. */
	bpf_skb_load_bytes_relative(skb, 0, &whole, sizeof(whole), BPF_HDR_START_NET);
	ends = ends_with(&inner, ports_of(&whole.ip, &whole + 1));
	before = uncover(skb, &inner);
	if (before < 0 || address_to_tunnel(skb, before)) {
		count->malformed++;
		return DROP;
	}
	skb->tc_index = ends;
	count->rx_packets += segments(skb);
	count->rx_bytes += bpf_ntohs(inner.tot_len);
	return bpf_redirect(config.tunnel, BPF_F_INGRESS);
}

/* The last filter on the device that fans share: what no fan took is nobody's. */
SEC("tc")
int guard(struct __sk_buff *skb)
{
	struct fan_counters *count = load_counters();

	if (count)
		count->not_ours++;
	return DROP;
}

/* At the fan bridge's way out, after the host's firewall. Packets whose addresses were
 * translated leave by the bridge device and not by the inlet: from a port of the bridge,
 * connection tracking would see them as others than it knows, where bridged packets
 * pass it, and translate them again. */
SEC("tc")
int ipip_deliver(struct __sk_buff *skb)
{
	void *data_end = (void *)(long)skb->data_end;
	struct ethhdr *eth = (void *)(long)skb->data;
	struct ipv4 *ip = (void *)(eth + 1);
	int translated;

	if (skb->ingress_ifindex != config.tunnel || skb->protocol != bpf_htons(ETH_P_IP) ||
	    (void *)(ip + 1) > data_end)
		return NEXT;
	translated = skb->tc_index != ends_with(ip, ports_of(ip, data_end));
	if (config.fast)
		note_delivered(skb, ip, data_end, translated);
	if (ip->protocol != IPPROTO_TCP || translated)
		return NEXT;
	return bpf_redirect(config.inlet, BPF_F_INGRESS);
}

/* At the inlet's way out: what the bridge floods is not for the fan tunnel. */
SEC("tc")
int ipip_close(struct __sk_buff *skb)
{
	return DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
