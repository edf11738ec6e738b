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
	w.found = bpf_fib_lookup(skb, route, sizeof(*route), 0);
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
	struct bpf_redir_neigh hop = { .nh_family = AF_INET, .ipv4_nh = route->ipv4_dst };
	struct ethhdr *eth = (void *)(long)skb->data;

	if (w->known) {
		if (!w->hop || (void *)(eth + 1) > (void *)(long)skb->data_end)
			return DROP;
		__builtin_memcpy(eth->h_dest, w->hop->target, ETH_ALEN);
		__builtin_memcpy(eth->h_source, w->hop->source, ETH_ALEN);
		return bpf_redirect(config.device, 0);
	}
	if (w->found == BPF_FIB_LKUP_RET_SUCCESS)
		return bpf_redirect_neigh(route->ifindex, &hop, sizeof(hop), 0);
	/* A packet that has to wait for its neighbour would go on by the route that
	 * led it here, unless it is given the one to the host. */
	return bpf_redirect_neigh(route->ifindex, NULL, 0, 0);
}

/* Gives a packet of a layer 3 device a link layer header: the kernel redirects
 * none without one to a device that has them. */
static __always_inline long add_link_header(struct __sk_buff *skb)
{
	struct ethhdr *eth;

	if (bpf_skb_change_head(skb, ETH_HLEN, 0))
		return -1;
	eth = (void *)(long)skb->data;
	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return -1;
	eth->h_proto = bpf_htons(ETH_P_IP);
	return 0;
}

/* A packet that fits the fan but not the route to the host, which somebody has
 * given an MTU of its own. Before Linux 5.12 the kernel does not say which. */
static __always_inline int too_big_for_route(struct __sk_buff *skb, const __u32 at, struct fan_counters *count,
					     const struct bpf_fib_lookup *route, __be16 dont_fragment, __u32 bytes)
{
	__u16 mtu = route->mtu_result - sizeof(struct ipv4);

	count->too_big++;
	if (!dont_fragment || mtu >= bytes || (!at && add_link_header(skb)) || answer_too_big(skb, mtu))
		return DROP;
	return bpf_redirect(config.tunnel, BPF_F_INGRESS);
}

/* What send_wrapped returns for a super-packet that is in a container's own tunnel:
 * it is as it was, and the caller has to find another way. */
#define IN_TUNNEL -2

/* The program at a fan tunnel's way out; at is how many bytes are before the IP
 * header there. */
static __always_inline int send_wrapped(struct __sk_buff *skb, const __u32 at)
{
	struct fan_counters *count = load_counters();
	void *data_end = (void *)(long)skb->data_end;
	struct ipv4 *ip = (void *)(long)skb->data + at;
	__u32 host = 0, bytes = skb->len - at, length;
	__u64 packets = segments(skb);
	enum outgoing verdict;
	struct ipv4 outer = {
		.version_ihl = IPV4_PLAIN,
		.ttl = OUTER_TTL,
		.protocol = IPPROTO_IPIP,
	};
	struct bpf_fib_lookup route = {
		.family = AF_INET,
		.ifindex = config.tunnel,
		.ipv4_src = bpf_htonl(config.host),
	};
	__u64 how = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET;
	struct way way;

	if (skb->protocol != bpf_htons(ETH_P_IP) || (void *)(ip + 1) > data_end)
		return NEXT;
	if (!in_overlay(bpf_ntohl(ip->daddr)) || !count)
		return NEXT;
	verdict = outgoing_host(bpf_ntohl(ip->saddr), bpf_ntohl(ip->daddr), &host);
	if (verdict != OUT_SEND)
		return keep(count, verdict);
	length = longest(skb, ip, data_end, bytes);
	if (length > config.mtu) {
		count->too_big++;
		return DROP;
	}
	outer.tos = ip->tos; /* RFC 6040: the ECN bits are copied as they are */
	outer.frag_off = ip->frag_off & bpf_htons(IP_DF);
	outer.id = ip->id;
	outer.tot_len = bpf_htons(bytes + sizeof(outer));
	outer.saddr = bpf_htonl(config.host);
	outer.daddr = bpf_htonl(host);
	outer.check = header_checksum(&outer);

	route.ipv4_dst = outer.daddr;
	route.tot_len = length + sizeof(outer);
	way = find_way(skb, host, route.tot_len, &route);
	if (way.found == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return too_big_for_route(skb, at, count, &route, outer.frag_off, length);
	if (way.found != BPF_FIB_LKUP_RET_SUCCESS && way.found != BPF_FIB_LKUP_RET_NO_NEIGH) {
		count->no_route++;
		return DROP;
	}
	/* Marked as encapsulated, a packet gets its checksum in software by all but
	 * a few devices. One that sums up from any byte needs the mark only to cut
	 * super-packets. */
	if (skb->gso_size || !config.plain_sums || route.ifindex != config.device)
		how |= BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	if (bpf_skb_adjust_room(skb, sizeof(outer), BPF_ADJ_ROOM_MAC, how)) {
		/* A packet that is in a tunnel already has its marks and can't have them
		 * twice. What is not to be cut needs none. */
		if (skb->gso_size)
			return IN_TUNNEL;
		if (bpf_skb_adjust_room(skb, sizeof(outer), BPF_ADJ_ROOM_MAC, how & ~BPF_F_ADJ_ROOM_ENCAP_L3_IPV4)) {
			count->malformed++;
			return DROP;
		}
	}
	if (!at && add_link_header(skb)) {
		count->malformed++;
		return DROP;
	}
	ip = (void *)(long)skb->data + ETH_HLEN;
	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return DROP;
	*ip = outer;
	count->tx_packets += packets;
	count->tx_bytes += bytes;
	return to_neighbour(skb, &way, &route);
}

#endif
