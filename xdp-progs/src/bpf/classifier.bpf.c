/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Decides who owns a packet: an adapter, or the kernel.
 *
 * It is no router: it claims UDP ports that an extension listens on, and IPv4 and IPv6 unicast whose way out is one of our
 * interfaces, and gives the kernel, untouched, all that is not the common case. Who is wrong about a packet is the kernel; a packet claimed wrongly would be lost to it,
 * so what is in doubt is not claimed. The header's checksum is left to the extension, which looks at the header anyway.
 */
#include "spine.h"

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY); /* [0]: 0 the kernel has all packets, else SPINE_CLAIM... */
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH); /* by interface index */
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct spine_port);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, SPINE_SOCKETS);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH); /* addresses of this machine and broadcast addresses of its networks */
	__uint(max_entries, SPINE_ADDRESSES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __be32);
	__type(value, __u8);
} addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE); /* a bit for each ingress from which it is ours; no match: the kernel's */
	__uint(max_entries, SPINE_CLAIMS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct spine_prefix);
	__type(value, __u64);
} claims SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH); /* the same for IPv6 */
	__uint(max_entries, SPINE_ADDRESSES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct in6_addr);
	__type(value, __u8);
} addresses6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, SPINE_CLAIMS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct spine_prefix6);
	__type(value, __u64);
} claims6 SEC(".maps");

/*
 * Each interface has two lists' room, and its port says which one is in force; so a list is written while nobody reads it. An array,
 * and a look-up for each set: of a list in one value the verifier wants to know too much from who may not look into the kernel.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64 * 2 * SPINE_KEPT);
	__type(key, __u32);
	__type(value, struct spine_kept);
} kept SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64 * 2 * SPINE_KEPT);
	__type(key, __u32);
	__type(value, struct spine_kept6);
} kept6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); /* by the number in spine_kept and spine_kept6 */
	__uint(max_entries, SPINE_KEPT_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} kept_packets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH); /* handler number */
	__uint(max_entries, SPINE_FLOWS);
	__type(key, struct spine_flow);
	__type(value, __u32);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); /* by enum spine_counter */
	__uint(max_entries, SPINE_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY); /* as `sockets` */
	__uint(max_entries, SPINE_SOCKETS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct spine_progress);
} progress SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &what);

	if (counter)
		++*counter;
}

static __always_inline bool is_same_mac(const __u8 *one, const __u8 *other)
{
	for (int i = 0; i < ETH_ALEN; i++)
		if (one[i] != other[i])
			return false;
	return true;
}

static __always_inline bool is_routing_protocol(__u8 protocol)
{
	switch (protocol) {
	case 2:   /* IGMP */
	case 46:  /* RSVP */
	case 88:  /* EIGRP */
	case 89:  /* OSPF */
	case 103: /* PIM */
	case 112: /* VRRP */
		return true;
	default:
		return false;
	}
}

/*
 * Protocols with checksums that the extension does not complete: those inside a tunnel, and SCTP's CRC. Only the kernel
 * knows, in its own packet buffer, that the sender left them undone.
 */
static __always_inline bool has_checksum_inside(__u8 protocol)
{
	switch (protocol) {
	case 4:   /* IPv4 in IPv4 */
	case 41:  /* IPv6 in IPv4 */
	case 47:  /* GRE */
	case 132: /* SCTP */
		return true;
	default:
		return false;
	}
}

/*
 * Whether an IP packet is said to be longer than what is here of it. The frame's length is asked for, since without CAP_PERFMON the
 * verifier allows neither the difference of two pointers nor a pointer into the packet at an offset that is read from it.
 */
static __always_inline bool is_longer(struct xdp_md *context, __u32 length)
{
	return length + sizeof(struct ethhdr) > bpf_xdp_get_buff_len(context);
}

/* Never forwarded, neither to nor from: 0/8, 127/8, 224/4 and the limited broadcast (RFC 1812 5.3.7). */
static __always_inline bool is_special(__u32 address)
{
	return address >> 24 == 0 || address >> 24 == 127 || address >> 28 == 0xe || address == 0xffffffff;
}

static __always_inline bool is_link_local(__u32 address)
{
	return address >> 16 == 0xa9fe;
}

static __always_inline bool is_multicast(__u32 address)
{
	return address >> 28 == 0xe;
}

/* The handler of a claimed port; zero: there is none. An entry for the very address goes before one for any. */
static __always_inline __u32 find_flow(__be32 address, __be16 port)
{
	struct spine_flow key = { .address = address, .port = port };
	__u32 *handler = bpf_map_lookup_elem(&flows, &key);

	if (handler)
		return *handler;
	if (is_multicast(bpf_ntohl(address)))
		return 0;
	key.address = 0;
	handler = bpf_map_lookup_elem(&flows, &key);
	return handler ? *handler : 0;
}

/*
 * The owner by the UDP port: SPINE_CLAIMED and the handler, SPINE_FRAGMENTS, or SPINE_NOT_OURS if no port is claimed
 * for it. Neither TTL nor options matter to somebody who does not forward.
 */
static __always_inline enum spine_counter look_up_flow(struct xdp_md *context, const struct spine_port *port,
						       __u32 *handler)
{
	void *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = (void *)(long)context->data;
	struct iphdr *ip = (void *)(ethernet + 1);

	if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return SPINE_NOT_OURS;
	if (ip->version != 4 || ip->ihl < 5 || ip->protocol != IPPROTO_UDP)
		return SPINE_NOT_OURS;
	/* A group's packet in a group's frame, anything else in one to us. */
	if (is_multicast(bpf_ntohl(ip->daddr)) ? !(ethernet->h_dest[0] & 1) : !is_same_mac(ethernet->h_dest, port->mac))
		return SPINE_NOT_OURS;
	if (ip->frag_off & bpf_htons(0x3fff)) /* more fragments, or not the first */
		return find_flow(ip->daddr, 0) ? SPINE_FRAGMENTS : SPINE_NOT_OURS;

	__u32 header = ip->ihl * 4, length = bpf_ntohs(ip->tot_len);
	__be32 address = ip->daddr;
	struct udphdr udp;

	if (length < header + sizeof(udp) || is_longer(context, length))
		return SPINE_NOT_OURS;
	if (bpf_xdp_load_bytes(context, sizeof(*ethernet) + header, &udp, sizeof(udp)) || !udp.dest)
		return SPINE_NOT_OURS;
	*handler = find_flow(address, udp.dest);
	return *handler ? SPINE_CLAIMED : SPINE_NOT_OURS;
}

/* The owner by the packet alone: SPINE_CLAIMED if nothing in it speaks for the kernel. */
static __always_inline enum spine_counter read_packet(struct xdp_md *context, const struct spine_port *port,
						      __be32 *source, __be32 *destination)
{
	void *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = (void *)(long)context->data;
	struct iphdr *ip = (void *)(ethernet + 1);

	if ((void *)(ethernet + 1) > end)
		return SPINE_TRUNCATED;
	if (!is_same_mac(ethernet->h_dest, port->mac))
		return SPINE_OTHER_MAC;
	if (ethernet->h_proto != bpf_htons(ETH_P_IP))
		return SPINE_NOT_IPV4;
	if ((void *)(ip + 1) > end)
		return SPINE_TRUNCATED;

	__u32 length = bpf_ntohs(ip->tot_len);

	if (ip->version != 4 || ip->ihl < 5 || length < ip->ihl * 4u || is_longer(context, length))
		return SPINE_BAD_HEADER;
	if (ip->ihl > 5)
		return SPINE_OPTIONS;
	if (ip->ttl <= 1)
		return SPINE_TTL_EXCEEDED;
	if (is_routing_protocol(ip->protocol))
		return SPINE_ROUTING_PROTOCOL;
	if (port->unfinished && has_checksum_inside(ip->protocol))
		return SPINE_UNFINISHED_CHECKSUMS;

	*source = ip->saddr;
	*destination = ip->daddr;
	return SPINE_CLAIMED;
}

/* The owner by the addresses. */
static __always_inline enum spine_counter look_up(const struct spine_port *port, __be32 source, __be32 destination)
{
	struct spine_prefix key = { .length = 32, .address = destination };

	if (is_special(bpf_ntohl(source)) || is_special(bpf_ntohl(destination)) || is_link_local(bpf_ntohl(destination)))
		return SPINE_SPECIAL_ADDRESS;
	if (bpf_map_lookup_elem(&addresses, &destination) || bpf_map_lookup_elem(&addresses, &source))
		return SPINE_LOCAL;

	__u64 *from = bpf_map_lookup_elem(&claims, &key);

	return from && *from >> (port->ingress & 63) & 1 ? SPINE_CLAIMED : SPINE_NOT_OURS;
}

/* What a set of kept packets asks of a packet. */
struct spine_seen {
	__u32 source;
	__u32 destination;
	__u32 source_port;
	__u32 destination_port;
	__u32 protocol;
	__u32 piece; /* SPINE_WHOLE or SPINE_PIECES */
	bool has_ports;
};

/* Ports, or what stands in their place. A packet that ends before them may have any. */
static __always_inline void read_ports(struct xdp_md *context, struct spine_seen *seen)
{
	void *end = (void *)(long)context->data_end;
	__u8 *at = (void *)(long)context->data + sizeof(struct ethhdr) + sizeof(struct iphdr);

	if (seen->piece != SPINE_WHOLE || (void *)(at + 4) > end)
		return;
	switch (seen->protocol) {
	case IPPROTO_ICMP:
		seen->source_port = at[0];
		seen->destination_port = at[1];
		seen->has_ports = true;
		break;
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_DCCP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
		seen->source_port = at[0] << 8 | at[1];
		seen->destination_port = at[2] << 8 | at[3];
		seen->has_ports = true;
		break;
	}
}

/* Differences in unsigned arithmetic instead of comparisons: few branches, so the verifier is soon done. */
static __always_inline bool is_within(__u32 value, __u32 first, __u32 last)
{
	return value - first <= last - first;
}

static __always_inline bool is_in(const struct spine_seen *seen, const struct spine_kept *set)
{
	__u64 protocols = seen->protocol < 64    ? set->protocols[0]
			  : seen->protocol < 128 ? set->protocols[1]
			  : seen->protocol < 192 ? set->protocols[2]
						 : set->protocols[3];

	if (!(protocols >> (seen->protocol & 63) & 1))
		return false;
	if (!(set->pieces & seen->piece))
		return false;
	if (!is_within(seen->source, set->source_first, set->source_last))
		return false;
	if (!is_within(seen->destination, set->destination_first, set->destination_last))
		return false;
	if (!seen->has_ports)
		return true;
	return is_within(seen->source_port, set->source_port_first, set->source_port_last) &&
	       is_within(seen->destination_port, set->destination_port_first, set->destination_port_last);
}

/* Whether the kernel keeps a packet that read_packet has found to be plain. */
static __always_inline bool keeps(struct xdp_md *context, const struct spine_port *port)
{
	void *end = (void *)(long)context->data_end;
	struct iphdr *ip = (void *)(long)context->data + sizeof(struct ethhdr);
	__u32 first = port->first_kept, count = port->kept;
	struct spine_seen seen = {};

	if ((void *)(ip + 1) > end)
		return true;
	seen.source = bpf_ntohl(ip->saddr);
	seen.destination = bpf_ntohl(ip->daddr);
	seen.protocol = ip->protocol;
	seen.piece = ip->frag_off & bpf_htons(0x3fff) ? SPINE_PIECES : SPINE_WHOLE;
	read_ports(context, &seen);
	for (__u32 i = 0; i < SPINE_KEPT && i < count; i++) {
		__u32 at = first + i;
		struct spine_kept *set = bpf_map_lookup_elem(&kept, &at);

		if (!set)
			return true;
		if (!is_in(&seen, set))
			continue;

		__u32 counter = set->counter;
		__u64 *packets = bpf_map_lookup_elem(&kept_packets, &counter);

		if (packets)
			++*packets;
		return true;
	}
	return false;
}

/* Headers that have another one, or the transport header, behind them; a hop-by-hop header is looked for before. */
static __always_inline bool is_extension(__u8 header)
{
	switch (header) {
	case 43:  /* routing */
	case 44:  /* fragment */
	case 51:  /* authentication */
	case 60:  /* options for the destination */
	case 135: /* mobility */
	case 139: /* host identity */
	case 140: /* shim6 */
		return true;
	default:
		return false;
	}
}

/*
 * Whether a sender that leaves checksums to the card may have left one that the extension does not find. Pieces and what is signed
 * are finished: who made them had to read all of it.
 */
static __always_inline bool may_hide_checksum(__u8 header)
{
	return has_checksum_inside(header) || (is_extension(header) && header != 44 && header != 51);
}

/* The owner of an IPv6 packet by itself, as read_packet for IPv4. */
static __always_inline enum spine_counter read_packet6(struct xdp_md *context, const struct spine_port *port)
{
	void *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = (void *)(long)context->data;
	struct ipv6hdr *ip = (void *)(ethernet + 1);

	if ((void *)(ethernet + 1) > end)
		return SPINE_TRUNCATED;
	if (!is_same_mac(ethernet->h_dest, port->mac))
		return SPINE_OTHER_MAC;
	if ((void *)(ip + 1) > end)
		return SPINE_TRUNCATED;
	if (ip->version != 6 || is_longer(context, bpf_ntohs(ip->payload_len) + sizeof(*ip)))
		return SPINE_BAD_HEADER;
	if (ip->nexthdr == 0)
		return SPINE_OPTIONS;
	if (ip->hop_limit <= 1)
		return SPINE_TTL_EXCEEDED;
	if (is_routing_protocol(ip->nexthdr))
		return SPINE_ROUTING_PROTOCOL;
	if (port->unfinished && may_hide_checksum(ip->nexthdr))
		return SPINE_UNFINISHED_CHECKSUMS;
	return SPINE_CLAIMED;
}

/*
 * Never forwarded, neither to nor from (RFC 4291 2.5, 2.7): groups, addresses of one link, and what begins with 64 zeroes,
 * among it "none yet", loopback and IPv4's addresses.
 */
static __always_inline bool is_special6(const struct in6_addr *address)
{
	return address->s6_addr[0] == 0xff || (address->s6_addr[0] == 0xfe && (address->s6_addr[1] & 0xc0) == 0x80) ||
	       (address->s6_addr32[0] == 0 && address->s6_addr32[1] == 0);
}

/* The owner of an IPv6 packet by its addresses. */
static __always_inline enum spine_counter look_up6(struct xdp_md *context, const struct spine_port *port)
{
	void *end = (void *)(long)context->data_end;
	struct ipv6hdr *ip = (void *)(long)context->data + sizeof(struct ethhdr);
	struct spine_prefix6 key = { .length = 128 };
	struct in6_addr source, destination;

	if ((void *)(ip + 1) > end)
		return SPINE_TRUNCATED;
	source = ip->saddr;
	destination = ip->daddr;
	__builtin_memcpy(key.address, &ip->daddr, sizeof(key.address));
	if (is_special6(&source) || is_special6(&destination))
		return SPINE_SPECIAL_ADDRESS;
	if (bpf_map_lookup_elem(&addresses6, &destination) || bpf_map_lookup_elem(&addresses6, &source))
		return SPINE_LOCAL;

	__u64 *from = bpf_map_lookup_elem(&claims6, &key);

	return from && *from >> (port->ingress & 63) & 1 ? SPINE_CLAIMED : SPINE_NOT_OURS;
}

/* What a set of kept IPv6 packets asks of one. */
struct spine_seen6 {
	struct spine_address6 source;
	struct spine_address6 destination;
	__u32 source_port;
	__u32 destination_port;
	__u32 protocol;
	__u32 pieces; /* what it may be of SPINE_WHOLE and SPINE_PIECES */
	bool has_ports;
	bool is_hidden; /* its protocol is behind an extension header */
};

static __always_inline struct spine_address6 in_order(const struct in6_addr *address)
{
	return (struct spine_address6){
		.high = (__u64)bpf_ntohl(address->s6_addr32[0]) << 32 | bpf_ntohl(address->s6_addr32[1]),
		.low = (__u64)bpf_ntohl(address->s6_addr32[2]) << 32 | bpf_ntohl(address->s6_addr32[3]),
	};
}

static __always_inline bool is_within6(const struct spine_address6 *address, const struct spine_address6 *first,
				       const struct spine_address6 *last)
{
	if (address->high < first->high || address->high > last->high)
		return false;
	if (address->high == first->high && address->low < first->low)
		return false;
	return address->high != last->high || address->low <= last->low;
}

static __always_inline bool is_in6(const struct spine_seen6 *seen, const struct spine_kept6 *set)
{
	__u64 protocols = seen->protocol < 64    ? set->protocols[0]
			  : seen->protocol < 128 ? set->protocols[1]
			  : seen->protocol < 192 ? set->protocols[2]
						 : set->protocols[3];

	if (!seen->is_hidden && !(protocols >> (seen->protocol & 63) & 1))
		return false;
	if (!(set->pieces & seen->pieces))
		return false;
	if (!is_within6(&seen->source, &set->source_first, &set->source_last))
		return false;
	if (!is_within6(&seen->destination, &set->destination_first, &set->destination_last))
		return false;
	if (!seen->has_ports)
		return true;
	return is_within(seen->source_port, set->source_port_first, set->source_port_last) &&
	       is_within(seen->destination_port, set->destination_port_first, set->destination_port_last);
}

/* Ports, or what stands in their place, directly behind the header. */
static __always_inline void read_ports6(struct xdp_md *context, struct spine_seen6 *seen)
{
	void *end = (void *)(long)context->data_end;
	__u8 *at = (void *)(long)context->data + sizeof(struct ethhdr) + sizeof(struct ipv6hdr);

	if ((void *)(at + 4) > end)
		return;
	switch (seen->protocol) {
	case IPPROTO_ICMPV6:
		seen->source_port = at[0];
		seen->destination_port = at[1];
		seen->has_ports = true;
		break;
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_DCCP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
		seen->source_port = at[0] << 8 | at[1];
		seen->destination_port = at[2] << 8 | at[3];
		seen->has_ports = true;
		break;
	}
}

/* Whether the kernel keeps a packet that read_packet6 has found to be plain. */
static __always_inline bool keeps6(struct xdp_md *context, const struct spine_port *port)
{
	void *end = (void *)(long)context->data_end;
	struct ipv6hdr *ip = (void *)(long)context->data + sizeof(struct ethhdr);
	__u32 first = port->first_kept6, count = port->kept6;
	struct spine_seen6 seen = {};

	if ((void *)(ip + 1) > end)
		return true;
	seen.source = in_order(&ip->saddr);
	seen.destination = in_order(&ip->daddr);
	seen.protocol = ip->nexthdr;
	seen.pieces = SPINE_WHOLE;
	if (is_extension(ip->nexthdr)) {
		seen.is_hidden = true;
		seen.pieces = ip->nexthdr == 44 ? SPINE_PIECES : SPINE_WHOLE | SPINE_PIECES;
	} else {
		read_ports6(context, &seen);
	}
	for (__u32 i = 0; i < SPINE_KEPT && i < count; i++) {
		__u32 at = first + i;
		struct spine_kept6 *set = bpf_map_lookup_elem(&kept6, &at);

		if (!set)
			return true;
		if (!is_in6(&seen, set))
			continue;

		__u32 counter = set->counter;
		__u64 *packets = bpf_map_lookup_elem(&kept_packets, &counter);

		if (packets)
			++*packets;
		return true;
	}
	return false;
}

static __always_inline bool is_ipv6(struct xdp_md *context)
{
	void *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = (void *)(long)context->data;

	return (void *)(ethernet + 1) <= end && ethernet->h_proto == bpf_htons(ETH_P_IPV6);
}

static __always_inline enum spine_counter claim_ipv6(struct xdp_md *context, const struct spine_port *port)
{
	enum spine_counter owner = read_packet6(context, port);

	if (owner != SPINE_CLAIMED)
		return owner;
	owner = look_up6(context, port);
	if (owner != SPINE_CLAIMED)
		return owner;
	return port->kept6 && keeps6(context, port) ? SPINE_KEPT_BY_RULES : SPINE_CLAIMED;
}

static __always_inline enum spine_counter claim_ipv4(struct xdp_md *context, const struct spine_port *port)
{
	enum spine_counter owner;
	__be32 source, destination;

	/* Where IPv4 alone is claimed, IPv6 is one of the things that are not it. */
	if (!(port->enabled & SPINE_IPV4))
		return SPINE_SWITCHED_OFF;
	owner = read_packet(context, port, &source, &destination);
	if (owner != SPINE_CLAIMED)
		return owner;
	owner = look_up(port, source, destination);
	if (owner != SPINE_CLAIMED)
		return owner;
	return port->kept && keeps(context, port) ? SPINE_KEPT_BY_RULES : SPINE_CLAIMED;
}

/* Messages between hosts on this link. The adapter knows from whom it takes them. */
static __always_inline bool is_from_host(struct xdp_md *context, const struct spine_port *port)
{
	void *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = (void *)(long)context->data;

	return (void *)(ethernet + 1) <= end && ethernet->h_proto == bpf_htons(SPINE_ETHERTYPE) &&
	       is_same_mac(ethernet->h_dest, port->mac);
}

/*
 * Set when it is loaded: whether packets carry the time at which they came. A program's own look at the clock, since
 * what a driver knows (bpf_xdp_metadata_rx_timestamp) is the card's stamp: a veth has none, and most cards make none.
 */
const volatile __u8 stamp_times = 0;

/* A driver without metadata leaves the packet unstamped, and the adapter finds the handler itself. */
static __always_inline void stamp(struct xdp_md *context, __u16 handler)
{
	if (stamp_times) {
		if (bpf_xdp_adjust_meta(context, -(int)sizeof(struct spine_timed)))
			return;

		struct spine_timed *timed = (void *)(long)context->data_meta;

		if ((void *)(timed + 1) > (void *)(long)context->data)
			return;
		timed->arrival = bpf_ktime_get_ns();
		timed->metadata =
			(struct spine_metadata){ .magic = SPINE_MAGIC, .handler = handler, .flags = SPINE_TIMED };
		return;
	}
	if (bpf_xdp_adjust_meta(context, -(int)sizeof(struct spine_metadata)))
		return;

	struct spine_metadata *metadata = (void *)(long)context->data_meta;

	if ((void *)(metadata + 1) > (void *)(long)context->data)
		return;
	*metadata = (struct spine_metadata){ .magic = SPINE_MAGIC, .handler = handler };
}

/*
 * Set when it is loaded, in nanoseconds: how long packets may wait in a socket's ring that nobody looks into (0: for ever), and how
 * long all packets are the kernel's then, from the last that came meanwhile: whoever gets the processor now and then is not
 * given packets, and late, each time.
 */
const volatile __u64 patience = 0;
const volatile __u64 hold = 0;

/*
 * Whether nobody fetches what a socket has. A clock that goes by ticks does: it is read for a few nanoseconds. What several
 * processors write here at once, where a device has one queue for all of them, are times that are as good as each other.
 */
static __always_inline bool is_stuck(__u32 socket)
{
	struct spine_progress *of = bpf_map_lookup_elem(&progress, &socket);

	if (!of)
		return false;

	__u64 looks = *(volatile __u64 *)&of->looks, now = bpf_ktime_get_coarse_ns();

	if (looks != of->seen) {
		of->seen = looks;
		of->since = 0;
	} else if (of->since && now - of->since > patience) {
		of->until = now + hold;
	}
	if (now < of->until)
		return true;
	if (!of->since)
		of->since = now;
	return false;
}

/*
 * Whether an adapter had the packet already. What it hands back enters the kernel behind a driver, and so before a program in generic
 * mode, which would claim it again, for ever. The program that hands it back leaves a stamp, which is still in front of the packet.
 */
static __always_inline bool is_handed_back(struct xdp_md *context)
{
	bool handed = false;

	if (bpf_xdp_adjust_meta(context, -(int)sizeof(struct spine_metadata)))
		return false;

	struct spine_metadata *metadata = (void *)(long)context->data_meta;

	if ((void *)(metadata + 1) <= (void *)(long)context->data)
		handed = metadata->magic == SPINE_MAGIC && metadata->flags == SPINE_HANDED_BACK;
	bpf_xdp_adjust_meta(context, sizeof(struct spine_metadata));
	return handed;
}

#ifdef SPINE_SEES_TAGS
/*
 * Of this object's license: the kernel lends its functions to programs under the GPL alone, and MIT's terms allow to pass this on under those.
 */
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *context, __be16 *protocol, __u16 *tag) __ksym;

/* Whether the driver has taken a VLAN tag from the packet, or the sender left it beside. */
static __always_inline bool has_tag_beside(struct xdp_md *context)
{
	/* Written here first: without CAP_PERFMON the verifier lets nobody have what was on the stack. */
	__be16 protocol = 0;
	__u16 tag = 0;

	return !bpf_xdp_metadata_rx_vlan_tag(context, &protocol, &tag);
}

#define SPINE_LICENSE "Dual MIT/GPL"
#else
static __always_inline bool has_tag_beside(struct xdp_md *context)
{
	return false;
}

#define SPINE_LICENSE "MIT"
#endif

static __always_inline enum spine_counter claim(struct xdp_md *context)
{
	__u32 zero = 0, ifindex = context->ingress_ifindex, queue = context->rx_queue_index;
	__u32 *on = bpf_map_lookup_elem(&control, &zero);
	struct spine_port *port = bpf_map_lookup_elem(&ports, &ifindex);
	enum spine_counter owner = SPINE_NOT_OURS;
	__u32 handler;

	if (!on || !*on)
		return SPINE_SWITCHED_OFF;
	if (!port || queue >= port->queues)
		return SPINE_NO_SOCKET;
	if (*on & SPINE_CLAIM_FLOWS)
		owner = look_up_flow(context, port, &handler);
	if (owner == SPINE_FRAGMENTS)
		return owner;
	if (owner == SPINE_CLAIMED && bpf_xdp_get_buff_len(context) > port->longest)
		return SPINE_TOO_LONG;
	if (*on & SPINE_CLAIM_HOSTS && is_from_host(context, port)) {
		owner = SPINE_CLAIMED;
		handler = port->handler;
	}
	if (owner != SPINE_CLAIMED) {
		if (port->enabled & SPINE_IPV6 && is_ipv6(context))
			owner = claim_ipv6(context, port);
		else
			owner = claim_ipv4(context, port);
		if (owner != SPINE_CLAIMED)
			return owner;
		if (bpf_xdp_get_buff_len(context) > port->longest)
			return SPINE_TOO_LONG;
		/* Of a port's packets the kernel could make nothing but an error. */
		if (patience && is_stuck(port->first_socket + queue))
			return SPINE_ADAPTER_STUCK;
		handler = port->handler;
	}
	if (port->again && is_handed_back(context))
		return SPINE_HANDED;
	if (has_tag_beside(context))
		return SPINE_TAG_BESIDE;
	/* Only names the target, so that a packet whose queue has no socket is still as it came. */
	if (bpf_redirect_map(&sockets, port->first_socket + queue, XDP_PASS) != XDP_REDIRECT)
		return SPINE_NO_SOCKET;
	stamp(context, handler);
	return SPINE_CLAIMED;
}

/* "frags": it may be attached where packets come in several buffers. Headers are in the first, and all are counted in a packet's length. */
SEC("xdp.frags")
int classifier(struct xdp_md *context)
{
	enum spine_counter owner = claim(context);

	count(owner);
	return owner == SPINE_CLAIMED ? XDP_REDIRECT : XDP_PASS;
}

char _license[] SEC("license") = SPINE_LICENSE;
