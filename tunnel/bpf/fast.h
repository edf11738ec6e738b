/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The fast path: a container's packets go from its bridge port to the underlay, and
 * from the underlay into the container, past the host's network stack.
 *
 * What goes past the stack goes past connection tracking, so a flow goes this way as a
 * whole or not at all. A flow of TCP does if its first segment does. One of UDP does
 * when a packet of it has gone through the stack and come out with the addresses and
 * ports that it had: a translated one never does. So what answers to a published port
 * goes the way by which the question came, even where the same ends have talked
 * without translation before: then a translated packet ends their fast flow.
 *
 * What is not plain, in fragments, at the end of its life, too long or not TCP or UDP
 * goes on to the stack, which answers it or does what it always did.
 */
#ifndef FAST_H
#define FAST_H

#include "fan.h"
#include "icmp.h"

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define TCP_FLAGS 13    /* their place in the header, RFC 9293 */
#define TCP_HEADER 20
#define UDP_HEADER 8

/* A flow as this host's container sees it. Addresses are in network byte order. */
struct flow {
	__be32 local, remote;
	__be16 local_port, remote_port;
	__u32 protocol;
};

/* FLOW_ASKED: a packet is on its way through the stack, to see how it comes out. */
enum flow_state { FLOW_ASKED = 1, FLOW_FAST };

struct flow_info {
	__u32 state;
	__u32 learned; /* which port its container is behind; jiffies by their low bits */
	__u32 begun;   /* it has begun by its first segment, and nothing but answers to that came */
};

/* Of fixed size; a flow that is forgotten goes on through the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow);
	__type(value, struct flow_info);
} flows SEC(".maps");

struct mac {
	__u8 octets[ETH_ALEN];
	__u16 zero;
};

/* The bridge's ports by the hardware addresses behind them, learned as a bridge does,
 * of the ports that have the program only. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct mac);
	__type(value, __u32);
} ports SEC(".maps");

/* The way to a container of this host, as it was in the same jiffy: see send.h. */
struct local {
	__u64 jiffy;
	__u32 address; /* host byte order */
	__u32 port;    /* index of the bridge port; 0: by the stack */
	__u8 target[ETH_ALEN];
	__u16 zero;
};

#define LOCALS 64

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOCALS);
	__type(key, __u32);
	__type(value, struct local);
} locals SEC(".maps");

static __always_inline int same_mac(const __u8 *a, const volatile __u8 *b)
{
	int same = 1;

#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++)
		same &= a[i] == b[i];
	return same;
}

/* Whether a hardware address is one that frames can come from. A bridge takes none that
 * come from another. */
static __always_inline int is_station(const __u8 *address)
{
	__u8 any = 0;

#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++)
		any |= address[i];
	return any && !(address[0] & 1);
}

/* A packet that can go the fast way. */
struct candidate {
	struct flow flow;
	__u32 begins;  /* the first segment of a TCP flow */
	__u32 answers; /* the answer to that */
};

/* Whether a packet can go the fast way; its flow is turned so that this host's
 * container is local. bytes is its length from the IP header on. */
static __always_inline int can_go_fast(const struct ipv4 *ip, const void *data_end, __u32 bytes, int outward,
				       struct candidate *c)
{
	const __u8 *transport = (const void *)(ip + 1);
	const __be16 *port = (const void *)(ip + 1);
	__u8 flags;

	if (ip->version_ihl != IPV4_PLAIN || (ip->frag_off & ~bpf_htons(IP_DF)) || ip->ttl <= 1 ||
	    bpf_ntohs(ip->tot_len) != bytes || fold(sum_words(ip, sizeof(*ip), 0)) != 0xffff)
		return 0;
	if (transport + UDP_HEADER > (const __u8 *)data_end)
		return 0;
	c->begins = c->answers = 0;
	c->flow.protocol = ip->protocol;
	if (ip->protocol == IPPROTO_TCP) {
		if (transport + TCP_HEADER > (const __u8 *)data_end)
			return 0;
		flags = transport[TCP_FLAGS];
		flags &= TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK;
		c->begins = flags == TCP_SYN;
		c->answers = flags == (TCP_SYN | TCP_ACK);
	} else if (ip->protocol != IPPROTO_UDP) {
		return 0;
	}
	c->flow.local = outward ? ip->saddr : ip->daddr;
	c->flow.remote = outward ? ip->daddr : ip->saddr;
	c->flow.local_port = outward ? port[0] : port[1];
	c->flow.remote_port = outward ? port[1] : port[0];
	return 1;
}

static __always_inline void set_flow(const struct flow *flow, enum flow_state state)
{
	struct flow_info info = {
		.state = state,
		.begun = state == FLOW_FAST,
	};

	bpf_map_update_elem(&flows, flow, &info, BPF_ANY);
}

/* Learns which port a hardware address is behind. That of the bridge is behind none:
 * like the bridge itself, this believes no container that sends with it. */
static __always_inline void learn(const __u8 *source, __u32 index)
{
	struct mac key = {};
	__u32 *port;

	if (same_mac(source, config.bridge_mac))
		return;
	__builtin_memcpy(key.octets, source, ETH_ALEN);
	port = bpf_map_lookup_elem(&ports, &key);
	if (!port)
		bpf_map_update_elem(&ports, &key, &index, BPF_ANY);
	else if (*port != index)
		*port = index;
}

/* What a container sends is learned from, at most once a jiffy for each flow: it may
 * have come to another port. */
static __always_inline void learn_again(struct flow_info *info, const __u8 *source, __u32 index)
{
	__u32 now = (__u32)bpf_jiffies64();

	if (info->learned == now)
		return;
	info->learned = now;
	learn(source, index);
}

/* Whether a packet's flow goes the fast way, from this packet on. source is the
 * hardware address of the container that sends it from the bridge port, or NULL. */
static __always_inline int is_fast(const struct candidate *c, const __u8 *source, __u32 port)
{
	struct flow_info *info = bpf_map_lookup_elem(&flows, &c->flow);

	if (info && info->state == FLOW_FAST) {
		if (source)
			learn_again(info, source, port);
		if (!c->answers || info->begun) {
			if (info->begun != (c->begins || c->answers))
				info->begun = c->begins || c->answers;
			return 1;
		}
		/* What this answers has gone through the stack: as another flow, translated. */
		bpf_map_delete_elem(&flows, &c->flow);
		return 0;
	}
	if (source)
		learn(source, port);
	if (c->begins) {
		set_flow(&c->flow, FLOW_FAST);
		return 1;
	}
	if (c->flow.protocol == IPPROTO_UDP && !info)
		set_flow(&c->flow, FLOW_ASKED);
	return 0;
}

/* A packet has come out of the stack with this flow: if it went in so, no address of it
 * is translated. */
static __always_inline void came_out(const struct flow *flow)
{
	struct flow_info *info = bpf_map_lookup_elem(&flows, flow);

	if (info && info->state == FLOW_ASKED)
		info->state = FLOW_FAST;
}

/* A packet of UDP has come to a container, not to the host, which translates no others:
 * its flow is fast unless it is known for another. */
static __always_inline void came_in(const struct flow *flow)
{
	if (!bpf_map_lookup_elem(&flows, flow))
		set_flow(flow, FLOW_FAST);
}

static __always_inline struct local *local_slot(__u32 address)
{
	__u32 slot = address % LOCALS;

	return bpf_map_lookup_elem(&locals, &slot);
}

#define ENODEV 19

/* The bridge port behind which a hardware address is, or 0. Of a device that has gone
 * in the meantime the kernel says so before it looks up anything. */
static __always_inline __u32 port_of(struct __sk_buff *skb, const struct mac *target)
{
	__u32 *port = bpf_map_lookup_elem(&ports, target);
	struct bpf_fib_lookup there = { .family = 2 /* AF_INET */ };

	if (!port)
		return 0;
	there.ifindex = *port;
	return bpf_fib_lookup(skb, &there, sizeof(there), 0) == -ENODEV ? 0 : *port;
}

/* The hardware address of a container by the routing table and the neighbour's entry.
 * Returns 0 if there is none, or not on the fan bridge. */
static __always_inline int neighbour(struct __sk_buff *skb, const struct ipv4 *ip, struct mac *target)
{
	struct bpf_fib_lookup route = {
		.family = 2,
		.l4_protocol = ip->protocol,
		.ifindex = config.tunnel,
		.tot_len = config.mtu, /* not the wrapped packet's, which would not fit the bridge */
		.ipv4_src = ip->saddr,
		.ipv4_dst = ip->daddr,
	};

	if (bpf_fib_lookup(skb, &route, sizeof(route), 0) != BPF_FIB_LKUP_RET_SUCCESS || route.ifindex != config.bridge)
		return 0;
	__builtin_memcpy(target->octets, route.dmac, ETH_ALEN);
	return 1;
}

/* The way to the container that a packet is for, or NULL: by the stack. frame is the
 * hardware address that the packet is for, NULL where the neighbour's entry says. */
static __always_inline struct local *find_local(struct __sk_buff *skb, const struct ipv4 *ip, const __u8 *frame)
{
	__u32 address = bpf_ntohl(ip->daddr);
	struct local *l = local_slot(address);
	__u64 jiffy = bpf_jiffies64();
	struct mac target = {};

	if (!l)
		return NULL;
	if (frame)
		__builtin_memcpy(target.octets, frame, ETH_ALEN);
	if (l->address != address || l->jiffy != jiffy ||
	    (frame && !same_mac(l->target, target.octets))) {
		l->address = address;
		l->jiffy = jiffy;
		l->port = 0;
		if (!frame && !neighbour(skb, ip, &target))
			return NULL;
		__builtin_memcpy(l->target, target.octets, ETH_ALEN);
		l->port = port_of(skb, &target);
	}
	return l->port ? l : NULL;
}

/* What a router does to a packet, RFC 1812 section 5.3.1; the checksum by RFC 1141. */
static __always_inline void hop(struct ipv4 *ip)
{
	__u32 sum = (__u32)ip->check + bpf_htons(0x0100);

	ip->check = (__u16)(sum + (sum >= 0xffff));
	ip->ttl--;
}

/* At the fan tunnel's way out: what containers send through the stack. */
static __always_inline void note_sent(struct __sk_buff *skb)
{
	void *data_end = (void *)(long)skb->data_end;
	struct ipv4 *ip = (void *)(long)skb->data + ETH_HLEN;
	struct candidate c = {};

	if (skb->protocol == bpf_htons(ETH_P_IP) && (void *)(ip + 1) <= data_end && ip->protocol == IPPROTO_UDP &&
	    can_go_fast(ip, data_end, skb->len - ETH_HLEN, 1, &c))
		came_out(&c.flow);
}

/* At the fan bridge's way out: what comes to containers through the stack. If it was
 * translated, or begins what the stack is to see, what answers has to go there, too. */
static __always_inline void note_delivered(struct __sk_buff *skb, const struct ipv4 *ip, const void *data_end, int translated)
{
	struct candidate c = {};

	if (!can_go_fast(ip, data_end, skb->len - ETH_HLEN, 0, &c))
		return;
	if (c.begins || translated)
		bpf_map_delete_elem(&flows, &c.flow);
	else if (c.flow.protocol == IPPROTO_UDP)
		came_out(&c.flow);
}

#endif
