/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sending by RFC 2003: the outer header is written here and the packet goes to the
 * underlay neighbour. The kernel's ipip device would look up the route of each
 * packet, allocate its metadata and take it through the host's firewall a second
 * time.
 */
#ifndef SEND_H
#define SEND_H

#include "fan.h"
#include "icmp.h"

/* The neighbour towards a host, as the routing table and the neighbour's entry had
 * it in the same jiffy (1 to 10 ms). Whatever changes there counts from the next
 * one on, and at least one packet a jiffy goes by the neighbour's entry itself,
 * which the kernel keeps confirmed that way. */
struct next_hop {
	__u64 jiffy;
	__u32 host;
	__u32 fits; /* the longest packet that the route was asked for */
	__u8 target[ETH_ALEN], source[ETH_ALEN];
};

/* By the host's last bits: of fixed size, however many hosts are talked to. */
#define NEXT_HOPS 64

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NEXT_HOPS);
	__type(key, __u32);
	__type(value, struct next_hop);
} next_hops SEC(".maps");

/* What is known of the way to a host. */
struct way {
	struct next_hop *hop;
	__u64 jiffy;
	long found; /* what bpf_fib_lookup says */
	int known;  /* the next hop is of this jiffy */
};

/* The loopback device's index in every network namespace (net/net_namespace.h). */
#define LOOPBACK 1

/* What the routing table is asked for a packet to a host: the same as the kernel asks
 * for packets of its own, which rules may tell by source, protocol and "iif lo". */
static __always_inline struct bpf_fib_lookup route_to(__be32 host, __u16 length, __u8 protocol)
{
	return (struct bpf_fib_lookup){
		.family = AF_INET,
		.l4_protocol = protocol,
		.ifindex = LOOPBACK,
		.tot_len = length,
		.ipv4_src = bpf_htonl(config.host),
		.ipv4_dst = host,
	};
}

static __always_inline long ask_route(struct __sk_buff *skb, struct bpf_fib_lookup *route)
{
	long found = bpf_fib_lookup(skb, route, sizeof(*route), 0);

	/* Somebody has turned forwarding off for lo; the fan tunnel's is on. */
	if (found == BPF_FIB_LKUP_RET_FWD_DISABLED) {
		route->ifindex = config.tunnel;
		found = bpf_fib_lookup(skb, route, sizeof(*route), 0);
	}
	return found;
}

static __always_inline struct way find_way(struct __sk_buff *skb, __u32 host, __u32 length, struct bpf_fib_lookup *route)
{
	__u32 slot = host % NEXT_HOPS;
	struct way w = {
		.hop = bpf_map_lookup_elem(&next_hops, &slot),
		.jiffy = bpf_jiffies64(),
	};

	if (w.hop && w.hop->host == host && w.hop->jiffy == w.jiffy && w.hop->fits >= length) {
		w.known = 1;
		route->ifindex = config.device;
		return w;
	}
	w.found = ask_route(skb, route);
	if (w.found == BPF_FIB_LKUP_RET_SUCCESS && w.hop && config.link_header && route->ifindex == config.device) {
		w.hop->host = host;
		w.hop->jiffy = w.jiffy;
		w.hop->fits = length;
		__builtin_memcpy(w.hop->target, route->dmac, ETH_ALEN);
		__builtin_memcpy(w.hop->source, route->smac, ETH_ALEN);
	}
	return w;
}

/* Hands the packet to the neighbour. */
static __always_inline int to_neighbour(struct __sk_buff *skb, const struct way *w, const struct bpf_fib_lookup *route)
{
	/* The next hop of an IPv4 route may be one of IPv6 (RFC 5549). */
	struct bpf_redir_neigh hop = { .nh_family = route->family };
	struct ethhdr *eth = (void *)(long)skb->data;

	if (w->known) {
		if (!w->hop || (void *)(eth + 1) > (void *)(long)skb->data_end)
			return DROP;
		__builtin_memcpy(eth->h_dest, w->hop->target, ETH_ALEN);
		__builtin_memcpy(eth->h_source, w->hop->source, ETH_ALEN);
		return bpf_redirect(config.device, 0);
	}
	if (w->found == BPF_FIB_LKUP_RET_SUCCESS) {
		__builtin_memcpy(hop.ipv6_nh, route->ipv6_dst, sizeof(hop.ipv6_nh));
		return bpf_redirect_neigh(route->ifindex, &hop, sizeof(hop), 0);
	}
	/* A packet that has to wait for its neighbour would go on by the route that
	 * led it here, unless it is given the one to the host. */
	return bpf_redirect_neigh(route->ifindex, NULL, 0, 0);
}

/* How many halvings find one number among the lengths of an IPv4 packet. */
#define HALVINGS 16

/* The longest packet that the route to a host takes, for which one of too_long is
 * too long. Since Linux 5.12 the kernel says so with its refusal; one that does not
 * is asked for shorter ones: that takes time, but only for packets that go nowhere. */
static __always_inline __u32 mtu_of_route(struct __sk_buff *skb, const struct bpf_fib_lookup *refused, __be32 host, __u32 too_long)
{
	__u32 fits = LEAST_MTU;

	if (refused->mtu_result < too_long)
		return refused->mtu_result;
	for (int i = 0; i < HALVINGS && fits + 1 < too_long; i++) {
		__u32 asked = (fits + too_long) / 2;
		struct bpf_fib_lookup route = route_to(host, asked, IPPROTO_IPIP);

		if (ask_route(skb, &route) == BPF_FIB_LKUP_RET_FRAG_NEEDED)
			too_long = asked;
		else
			fits = asked;
	}
	return fits;
}

/* A packet that fits the fan but not the route to the host, which somebody has
 * given an MTU of its own; the route takes at most so many bytes. */
static __always_inline int too_big_for_route(struct __sk_buff *skb, struct fan_counters *count, __u32 takes,
					     __be16 dont_fragment, __u32 bytes)
{
	__u16 mtu = takes - sizeof(struct ipv4);

	count->too_big++;
	if (!dont_fragment || mtu >= bytes || answer_too_big(skb, mtu))
		return DROP;
	return bpf_redirect(config.tunnel, BPF_F_INGRESS);
}

/* What send_wrapped returns for a super-packet that is in a container's own tunnel:
 * it is as it was, and the caller has to find another way. */
#define IN_TUNNEL -2

/* A packet that is about to be wrapped. */
struct wrapping {
	struct ipv4 outer;
	struct bpf_fib_lookup route;
	struct way way;
	__u32 host, bytes, length; /* length: of the packet or its longest segment */
	__u64 packets;
};

/* Writes the outer header and finds the way to the host. */
static __always_inline void prepare(struct __sk_buff *skb, const struct ipv4 *ip, const void *data_end, struct wrapping *w)
{
	w->packets = segments(skb);
	w->length = longest(skb, ip, data_end, w->bytes);
	w->outer = (struct ipv4){
		.version_ihl = IPV4_PLAIN,
		.tos = ip->tos, /* RFC 6040: the ECN bits are copied as they are */
		.tot_len = bpf_htons(w->bytes + sizeof(w->outer)),
		.id = ip->id,
		.frag_off = ip->frag_off & bpf_htons(IP_DF),
		.ttl = OUTER_TTL,
		.protocol = IPPROTO_IPIP,
		.saddr = bpf_htonl(config.host),
		.daddr = bpf_htonl(w->host),
	};
	w->outer.check = header_checksum(&w->outer);
	w->route = route_to(w->outer.daddr, w->length + sizeof(w->outer), IPPROTO_IPIP);
	w->way = find_way(skb, w->host, w->route.tot_len, &w->route);
}

/* Puts the outer header before the packet and hands it to the neighbour. */
static __always_inline int wrap(struct __sk_buff *skb, struct fan_counters *count, const struct wrapping *w)
{
	__u64 how = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET;
	struct ipv4 *ip;

	/* Marked as encapsulated, a packet gets its checksum in software by all but
	 * a few devices. One that sums up from any byte needs the mark only to cut
	 * super-packets. */
	if (skb->gso_size || !config.plain_sums || w->route.ifindex != config.device)
		how |= BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	if (bpf_skb_adjust_room(skb, sizeof(w->outer), BPF_ADJ_ROOM_MAC, how)) {
		/* A packet that is in a tunnel already has its marks and can't have them
		 * twice. What is not to be cut needs none. */
		if (skb->gso_size)
			return IN_TUNNEL;
		if (bpf_skb_adjust_room(skb, sizeof(w->outer), BPF_ADJ_ROOM_MAC, how & ~BPF_F_ADJ_ROOM_ENCAP_L3_IPV4)) {
			count->malformed++;
			return DROP;
		}
	}
	ip = (void *)(long)skb->data + ETH_HLEN;
	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return DROP;
	*ip = w->outer;
	count->tx_packets += w->packets;
	count->tx_bytes += w->bytes;
	return to_neighbour(skb, &w->way, &w->route);
}

/* The program at a fan tunnel's way out. */
static __always_inline int send_wrapped(struct __sk_buff *skb)
{
	struct fan_counters *count = load_counters();
	void *data_end = (void *)(long)skb->data_end;
	struct ipv4 *ip = (void *)(long)skb->data + ETH_HLEN;
	struct wrapping w = { .bytes = skb->len - ETH_HLEN };
	enum outgoing verdict;

	if (skb->protocol != bpf_htons(ETH_P_IP) || (void *)(ip + 1) > data_end)
		return NEXT;
	if (!in_overlay(bpf_ntohl(ip->daddr)) || !count)
		return NEXT;
	verdict = outgoing_host(bpf_ntohl(ip->saddr), bpf_ntohl(ip->daddr), &w.host);
	if (verdict != OUT_SEND)
		return keep(count, verdict);
	prepare(skb, ip, data_end, &w);
	if (w.length > config.mtu) {
		count->too_big++;
		return DROP;
	}
	if (w.way.found == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return too_big_for_route(skb, count, mtu_of_route(skb, &w.route, w.outer.daddr, w.length + sizeof(w.outer)),
					 w.outer.frag_off, w.length);
	if (w.way.found != BPF_FIB_LKUP_RET_SUCCESS && w.way.found != BPF_FIB_LKUP_RET_NO_NEIGH) {
		count->no_route++;
		return DROP;
	}
	return wrap(skb, count, &w);
}

#endif
