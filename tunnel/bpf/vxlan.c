//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * RFC 7348 tunnels through a kernel device that takes its outer header from
 * metadata and is a port of the fan bridge. ARP requests go to the one host
 * that their target maps to, and nothing else that is not IPv4 leaves.
 */
#include "fan.h"
#include "icmp.h"
#include "send.h"
#include "ends.h"
#include "fast.h"

/* RFC 826 for Ethernet and IPv4. */
#define ARP_ETHERNET 1
struct arp {
	__be16 hardware, protocol;
	__u8 hardware_len, protocol_len;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender[4]; /* not aligned */
	__u8 target_mac[ETH_ALEN];
	__u8 target[4];
} __attribute__((packed));

struct frame {
	__u32 source, target; /* overlay addresses, host byte order */
	__u8 tos;
	__u8 dont_fragment;
	__u8 too_big;
};

enum parsed { IS_IP, IS_ARP, IS_OTHER, IS_MALFORMED };

static __always_inline __u32 load32(const __u8 *p)
{
	return (__u32)p[0] << 24 | (__u32)p[1] << 16 | (__u32)p[2] << 8 | p[3];
}

static __always_inline enum parsed parse_arp(const struct arp *arp, void *data_end, struct frame *f)
{
	if ((void *)(arp + 1) > data_end)
		return IS_MALFORMED;
	if (arp->hardware != bpf_htons(ARP_ETHERNET) || arp->protocol != bpf_htons(ETH_P_IP) ||
	    arp->hardware_len != ETH_ALEN || arp->protocol_len != 4)
		return IS_MALFORMED;
	f->source = load32(arp->sender);
	f->target = load32(arp->target);
	return IS_ARP;
}

static __always_inline enum parsed parse_headers(const struct __sk_buff *skb, struct frame *f)
{
	void *data_end = (void *)(long)skb->data_end;
	struct ethhdr *eth = (void *)(long)skb->data;
	struct ipv4 *ip = (void *)(eth + 1);

	if ((void *)(eth + 1) > data_end)
		return IS_MALFORMED;
	if (eth->h_proto == bpf_htons(ETH_P_ARP))
		return parse_arp((void *)(eth + 1), data_end, f);
	if (eth->h_proto != bpf_htons(ETH_P_IP) || eth->h_dest[0] & 1)
		return IS_OTHER;
	if ((void *)(ip + 1) > data_end || !is_ipv4(ip))
		return IS_MALFORMED;
	f->source = bpf_ntohl(ip->saddr);
	f->target = bpf_ntohl(ip->daddr);
	f->tos = ip->tos;
	f->dont_fragment = !!(ip->frag_off & bpf_htons(IP_DF));
	f->too_big = longest(skb, ip, data_end, skb->len - ETH_HLEN) > config.mtu;
	return IS_IP;
}

static __always_inline enum parsed parse(struct __sk_buff *skb, struct frame *f)
{
	enum parsed kind = parse_headers(skb, f);
	__u32 most = ETH_HLEN + sizeof(struct arp);

	if (kind != IS_MALFORMED)
		return kind;
	/* The headers may not be in the first part of the packet. To move them there
	 * always would copy packets that somebody else still holds, as TCP does. */
	bpf_skb_pull_data(skb, skb->len < most ? skb->len : most);
	return parse_headers(skb, f);
}

/* Linux 6.0 lets the outer source be chosen (26101f5ab6bd); before, a key of
 * that size is refused and the route to the peer chooses it. */
static __always_inline long set_tunnel_key(struct __sk_buff *skb, struct bpf_tunnel_key *key, __u64 flags)
{
	long err = bpf_skb_set_tunnel_key(skb, key, sizeof(*key), flags);

	if (err)
		err = bpf_skb_set_tunnel_key(skb, key, __builtin_offsetof(struct bpf_tunnel_key, local_ipv4), flags);
	return err;
}

SEC("tc")
int vxlan_send(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct fan_counters *count = load_counters();
	enum outgoing verdict;
	struct frame f = {};
	enum parsed kind;
	__u32 host = 0;

	if (!count)
		return DROP;
	kind = parse(skb, &f);
	if (kind == IS_OTHER)
		return keep(count, OUT_KEEP);
	if (kind == IS_MALFORMED) {
		count->malformed++;
		return DROP;
	}
	verdict = outgoing_host(f.source, f.target, &host);
	/* An address probe (RFC 5227) has no sender that a host could check. */
	if (kind == IS_ARP && !f.source)
		verdict = OUT_KEEP;
	if (verdict != OUT_SEND)
		return keep(count, verdict);
	if (f.too_big) {
		count->too_big++;
		/* The answer goes by the bridge: it knows the sender's port. What may be
		 * fragmented the device does, if it does not fit the underlay. */
		if (f.dont_fragment)
			return answer_too_big(skb, config.mtu) ? DROP : bpf_redirect(config.bridge, 0);
	}

	key.tunnel_id = config.vni;
	key.remote_ipv4 = host;
	key.local_ipv4 = config.host;
	key.tunnel_ttl = OUTER_TTL;
	key.tunnel_tos = f.tos & ~ECN_MASK; /* the kernel adds the ECN bits */
	if (set_tunnel_key(skb, &key, BPF_F_ZERO_CSUM_TX | (f.dont_fragment ? BPF_F_DONT_FRAGMENT : 0))) {
		count->malformed++;
		return DROP;
	}
	count->tx_packets += segments(skb);
	count->tx_bytes += skb->len;
	if (config.fast && kind == IS_IP)
		note_sent(skb);
	return PASS;
}

/* The hosts behind which hardware addresses are. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct mac);
	__type(value, __u32);
} remotes SEC(".maps");

/* Where frames come from tells behind which host an address is. */
static __always_inline void learn_remote(struct __sk_buff *skb, __u32 host)
{
	struct ethhdr *eth = (void *)(long)skb->data;
	struct mac key = {};
	__u32 *known;

	if ((void *)(eth + 1) > (void *)(long)skb->data_end || !is_station(eth->h_source))
		return;
	__builtin_memcpy(key.octets, eth->h_source, ETH_ALEN);
	known = bpf_map_lookup_elem(&remotes, &key);
	if (!known)
		bpf_map_update_elem(&remotes, &key, &host, BPF_ANY);
	else if (*known != host)
		*known = host;
}

SEC("tc")
int vxlan_receive(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct fan_counters *count = load_counters();
	struct frame f = {};
	enum parsed kind;

	if (!count)
		return DROP;
	kind = parse(skb, &f);
	if (kind == IS_MALFORMED || bpf_skb_get_tunnel_key(skb, &key, offsetof(struct bpf_tunnel_key, local_ipv4), 0)) {
		count->malformed++;
		return DROP;
	}
	if (kind == IS_OTHER || key.tunnel_id != config.vni || !in_slice(f.target)) {
		count->not_ours++;
		return DROP;
	}
	if (!belongs_to(f.source, key.remote_ipv4)) {
		count->spoofed++;
		return DROP;
	}
	count->rx_packets += segments(skb);
	count->rx_bytes += skb->len;
	if (!config.fast)
		return PASS;
	learn_remote(skb, key.remote_ipv4);
	skb->tc_index = ends_between(bpf_htonl(f.source), bpf_htonl(f.target));
	return NEXT; /* clsact gives tc_index another value after PASS (net/core/dev.c: tc_run) */
}

/* RFC 7348, section 5. */
struct vxlan {
	__be32 flags;
	__be32 vni; /* in the upper 24 bits */
};
#define VXLAN_HAS_VNI bpf_htonl(0x08000000)

struct udp {
	__be16 source, dest, len, check;
};

/* What stands before the inner frame. */
struct vxlan_headers {
	struct ipv4 ip;
	struct udp udp;
	struct vxlan vxlan;
};

/* What a frame gets in front of its IP header: the inner Ethernet header stands where
 * the outer one was. */
#define ADDED ((int)(sizeof(struct vxlan_headers) + sizeof(struct ethhdr)))

/* The kernel takes its source ports from the range of those that it gives to sockets,
 * 32768 to 60999 (net/ipv4/udp.c: udp_flow_src_port); the lower 2^14 of them will do. */
#define FIRST_PORT 32768
#define PORT_MASK 0x3fff

/* The outer headers of a frame. */
static __always_inline void fill_headers(struct __sk_buff *skb, struct vxlan_headers *h, const struct ipv4 *inner,
					 const struct wrapping *w)
{
	__u16 length = w->bytes + ADDED;
	__u8 ecn = inner->tos & ECN_MASK;

	h->ip = (struct ipv4){
		.version_ihl = IPV4_PLAIN,
		/* As the kernel's vxlan: RFC 3168, full functionality. */
		.tos = (inner->tos & ~ECN_MASK) | (ecn == ECN_CE ? ECN_ECT0 : ecn),
		.tot_len = bpf_htons(length),
		.id = (__be16)bpf_get_prandom_u32(),
		.frag_off = inner->frag_off & bpf_htons(IP_DF),
		.ttl = OUTER_TTL,
		.protocol = IPPROTO_UDP,
		.saddr = bpf_htonl(config.host),
		.daddr = bpf_htonl(w->host),
	};
	h->ip.check = header_checksum(&h->ip);
	h->udp.source = bpf_htons(FIRST_PORT + (bpf_get_hash_recalc(skb) & PORT_MASK));
	h->udp.dest = bpf_htons(config.port);
	h->udp.len = bpf_htons(length - sizeof(h->ip));
	h->udp.check = 0;
	h->vxlan.flags = VXLAN_HAS_VNI;
	h->vxlan.vni = bpf_htonl(config.vni << 8);
}

/* Puts the outer headers before a frame and hands it to the neighbour. */
static __always_inline int wrap_frame(struct __sk_buff *skb, struct fan_counters *count, const struct vxlan_headers *h,
				      const struct ethhdr *eth, const struct wrapping *w)
{
	__u64 how = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 |
		    BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2(sizeof(*eth));
	struct vxlan_headers *there;

	if (config.inner_ethernet)
		how |= BPF_F_ADJ_ROOM_ENCAP_L2_ETH;
	if (bpf_skb_adjust_room(skb, ADDED, BPF_ADJ_ROOM_MAC, how))
		return NEXT; /* it is in a tunnel already */
	there = (void *)(long)skb->data + ETH_HLEN;
	if ((void *)there + ADDED > (void *)(long)skb->data_end)
		return DROP;
	*there = *h;
	*(struct ethhdr *)(there + 1) = *eth;
	count->tx_packets += w->packets;
	count->tx_bytes += w->bytes + ETH_HLEN;
	count->tx_fast += w->packets;
	return to_neighbour(skb, &w->way, &w->route);
}

/* Whether a hardware address is known to be behind a host. Else the bridge may have it
 * at a port of its own. */
static __always_inline int is_behind(const __u8 *address, __u32 host)
{
	struct mac key = {};
	__u32 *known;

	__builtin_memcpy(key.octets, address, ETH_ALEN);
	known = bpf_map_lookup_elem(&remotes, &key);
	return known && *known == host;
}

/* At the way in of a bridge port of a container: the fast way out. */
SEC("tc")
int vxlan_port(struct __sk_buff *skb)
{
	struct fan_counters *count = load_counters();
	void *data_end = (void *)(long)skb->data_end;
	struct ethhdr *eth = (void *)(long)skb->data;
	struct ipv4 *ip = (void *)(eth + 1);
	struct wrapping w = { .bytes = skb->len - ETH_HLEN };
	struct vxlan_headers h;
	struct candidate c = {};
	struct ethhdr frame;

	if ((void *)(ip + 1) > data_end || !count || skb->vlan_present || !is_station(eth->h_source))
		return NEXT;
	if (skb->protocol != bpf_htons(ETH_P_IP) || (eth->h_dest[0] & 1) ||
	    outgoing_host(bpf_ntohl(ip->saddr), bpf_ntohl(ip->daddr), &w.host) != OUT_SEND ||
	    !can_go_fast(ip, data_end, w.bytes, 1, &c) || (skb->gso_size && !config.inner_ethernet) ||
	    !is_behind(eth->h_dest, w.host)) {
		learn(eth->h_source, skb->ifindex);
		return NEXT;
	}
	w.packets = segments(skb);
	w.length = longest(skb, ip, data_end, w.bytes);
	w.route = route_to(bpf_htonl(w.host), w.length + ADDED, IPPROTO_UDP);
	w.way = find_way(skb, w.host, w.length + ADDED, &w.route);
	if (w.length > config.mtu || w.way.found != BPF_FIB_LKUP_RET_SUCCESS ||
	    !is_fast(&c, eth->h_source, skb->ifindex))
		return NEXT;
	fill_headers(skb, &h, ip, &w);
	frame = *eth;
	return wrap_frame(skb, count, &h, &frame, &w);
}

/* The container to which a frame goes the fast way, or NULL. */
static __always_inline struct local *fast_in(struct __sk_buff *skb, const struct vxlan_headers *h, const void *data_end)
{
	const struct ethhdr *eth = (const void *)(h + 1);
	const struct ipv4 *inner = (const void *)(eth + 1);
	__u32 bytes = skb->len - ETH_HLEN - ADDED;
	struct candidate c = {};
	struct local *l;

	if ((const void *)(inner + 1) > data_end || eth->h_proto != bpf_htons(ETH_P_IP) || (eth->h_dest[0] & 1) ||
	    !in_slice(bpf_ntohl(inner->daddr)) || !belongs_to(bpf_ntohl(inner->saddr), bpf_ntohl(h->ip.saddr)) ||
	    !can_go_fast(inner, data_end, bytes, 0, &c) || longest(skb, inner, data_end, bytes) > config.mtu)
		return NULL;
	/* Congestion marks that have to be merged are for the kernel. */
	if ((h->ip.tos & ECN_MASK) == ECN_CE)
		return NULL;
	l = find_local(skb, inner, eth->h_dest);
	/* A frame to a container, not to the bridge, is nobody's to translate. */
	if (l && c.flow.protocol == IPPROTO_UDP)
		came_in(&c.flow);
	return l && is_fast(&c, NULL, 0) ? l : NULL;
}

/* Whether the outer headers are those of a packet of this fan, whole and with nothing
 * for the kernel to check. */
static __always_inline int is_ours(struct __sk_buff *skb, const struct vxlan_headers *h)
{
	__u32 bytes = skb->len - ETH_HLEN;

	return h->ip.version_ihl == IPV4_PLAIN && h->ip.protocol == IPPROTO_UDP && h->ip.daddr == bpf_htonl(config.host) &&
	       !(h->ip.frag_off & ~bpf_htons(IP_DF)) && in_underlay(bpf_ntohl(h->ip.saddr)) &&
	       h->udp.dest == bpf_htons(config.port) && h->udp.check == 0 && h->vxlan.flags == VXLAN_HAS_VNI &&
	       h->vxlan.vni == bpf_htonl(config.vni << 8) &&
	       (skb->gso_size || (bpf_ntohs(h->ip.tot_len) == bytes && bpf_ntohs(h->udp.len) == bytes - sizeof(h->ip))) &&
	       fold(sum_words(&h->ip, sizeof(h->ip), 0)) == 0xffff;
}

/* At the underlay device: the fast way in. What does not go it, the kernel's vxlan
 * receives. */
SEC("tc")
int vxlan_direct(struct __sk_buff *skb)
{
	struct fan_counters *count = load_counters();
	const __u32 most = ETH_HLEN + ADDED + sizeof(struct ipv4) + TCP_HEADER;
	void *data_end = (void *)(long)skb->data_end;
	struct vxlan_headers *h = (void *)(long)skb->data + ETH_HLEN;
	__u64 packets = segments(skb);
	struct ethhdr frame, *eth;
	struct local *l;

	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->pkt_type != PACKET_HOST || !count || skb->vlan_present)
		return NEXT;
	if ((void *)(&h->ip + 1) > data_end || h->ip.protocol != IPPROTO_UDP)
		return NEXT;
	if ((void *)h + most - ETH_HLEN > data_end) {
		if (bpf_skb_pull_data(skb, skb->len < most ? skb->len : most))
			return NEXT;
		data_end = (void *)(long)skb->data_end;
		h = (void *)(long)skb->data + ETH_HLEN;
	}
	if ((void *)h + ADDED > data_end || !is_ours(skb, h))
		return NEXT;
	l = fast_in(skb, h, data_end);
	if (!l)
		return NEXT;
	frame = *(struct ethhdr *)(h + 1);
	if (bpf_skb_adjust_room(skb, -ADDED, BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET))
		return DROP;
	eth = (void *)(long)skb->data;
	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return DROP;
	*eth = frame;
	skb->mark = 0; /* as between network namespaces; redirect_peer does it since Linux 6.15 */
	count->rx_packets += packets;
	count->rx_bytes += skb->len;
	count->rx_fast += packets;
	return bpf_redirect_peer(l->port, 0);
}

/* At the fan bridge's way out: what the stack has for containers. */
SEC("tc")
int vxlan_deliver(struct __sk_buff *skb)
{
	void *data_end = (void *)(long)skb->data_end;
	struct ethhdr *eth = (void *)(long)skb->data;
	struct ipv4 *ip = (void *)(eth + 1);

	if (skb->protocol == bpf_htons(ETH_P_IP) && (void *)(ip + 1) <= data_end && in_overlay(bpf_ntohl(ip->saddr)) &&
	    !in_slice(bpf_ntohl(ip->saddr)))
		note_delivered(skb, ip, data_end, skb->tc_index != ends_of(ip));
	return NEXT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
