//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * RFC 7348 tunnels through a kernel device that takes its outer header from
 * metadata and is a port of the fan bridge. ARP requests go to the one host
 * that their target maps to, and nothing else that is not IPv4 leaves.
 */
#include "fan.h"
#include "icmp.h"

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
	return PASS;
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
	return PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
