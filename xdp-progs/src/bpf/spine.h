/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the XDP programs share with the adapter: the metadata stamp, the layouts of keys and values, the counters.
 *
 * The Rust side is `xdp-progs/src/lib.rs` for maps and counters and `spine-io/abi/src/metadata.rs` for the stamp; a
 * test compares the counters. All fields are in the machine's byte order unless they are addresses from a packet.
 */
#ifndef SPINE_H
#define SPINE_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "The metadata stamp is little-endian and this machine is not."
#endif

/* The stamp in front of a claimed packet. */
#define SPINE_MAGIC 0x53504e45u
#define SPINE_TIMED 1u /* in `flags`: the stamp is part of a spine_timed */
#define SPINE_HANDED_BACK 2u /* an adapter had it already, and wants the kernel to */

struct spine_metadata {
	__u32 magic;
	__u16 handler;
	__u16 flags;
};

/* The same with the time at which the packet came, in nanoseconds of CLOCK_MONOTONIC. */
struct spine_timed {
	__u64 arrival;
	struct spine_metadata metadata;
};

/* An interface of ours: which sockets its queues have, its own address, whose packets they are, and whether now. */
struct spine_port {
	__u32 first_socket; /* index in `sockets` of queue 0; the other queues follow */
	__u32 queues;       /* how many queues have one */
	__u8 mac[6];
	__u16 handler;
	__u32 enabled; /* SPINE_IPV4, SPINE_IPV6: what is claimed here by its destination; ports and hosts are all the same */
	__u32 unfinished; /* 1: senders here leave checksums to the card, also those nobody but the kernel can complete */
	__u32 ingress; /* its bit in the value of `claims`: 0 to 63 */
	__u32 first_kept; /* of what is received here the kernel keeps these sets in the map `kept` ... */
	__u32 kept;       /* ... so many of them */
	__u32 again;      /* 1: what adapters hand back to the kernel comes by here again, as in generic mode */
	__u32 longest;    /* bytes of a packet that a frame holds, Ethernet header and all */
	__u32 first_kept6; /* the same of IPv6, in `kept6` */
	__u32 kept6;
};

#define SPINE_IPV4 1u
#define SPINE_IPV6 2u

/*
 * Packets that stay the kernel's whatever their destination: what one of its rules could treat in any other way than to let
 * it pass. All that are in each of the ranges, both ends meant, in the machine's byte order. For ICMP the source's port is the type
 * and the destination's the code. A piece of a fragmented packet has no ports, and is in whatever its ports would be.
 */
struct spine_kept {
	__u64 protocols[4]; /* a bit for each number */
	__u32 source_first, source_last;
	__u32 destination_first, destination_last;
	__u16 source_port_first, source_port_last;
	__u16 destination_port_first, destination_port_last;
	__u32 pieces;  /* SPINE_WHOLE, SPINE_PIECES or both */
	__u32 counter; /* where such packets are counted in `kept_packets` */
};

/* An IPv6 address, by its first and its last 64 bits. */
struct spine_address6 {
	__u64 high;
	__u64 low;
};

/*
 * The same of IPv6. Behind an extension header nobody here looks: such a packet is in whatever its protocol and its ports
 * would be, and one with any but a fragment's may be a piece or not.
 */
struct spine_kept6 {
	__u64 protocols[4];
	struct spine_address6 source_first, source_last;
	struct spine_address6 destination_first, destination_last;
	__u16 source_port_first, source_port_last;
	__u16 destination_port_first, destination_port_last;
	__u32 pieces;
	__u32 counter;
};

#define SPINE_WHOLE 1u
#define SPINE_PIECES 2u

/*
 * Of a socket: whether its packets are fetched. The adapter writes the first word, whenever it has looked into the ring, and the
 * program the others; so they are lines of the cache apart. A ring in which something waits and nobody looks is not filled further.
 */
struct spine_progress {
	__u64 looks;    /* the adapter's */
	__u64 apart[7];
	__u64 seen;     /* `looks` when the last packet came */
	__u64 since;    /* when the first came after that look, in nanoseconds; 0: none */
	__u64 until;    /* so long all packets are the kernel's */
	__u64 rest[5];
};

#define SPINE_KEPT 32
#define SPINE_KEPT_COUNTERS 256

/* A destination prefix; the kernel's LPM trie wants the length first. */
struct spine_prefix {
	__u32 length;
	__be32 address;
};

struct spine_prefix6 {
	__u32 length;
	__u8 address[16];
};

/*
 * A UDP port claimed for a handler, whoever routes what: the packets of a stream. Address zero is any unicast address.
 * Port zero says that something is claimed at this address, so that fragments to it are noticed.
 */
struct spine_flow {
	__be32 address;
	__be16 port;
	__u16 zero;
};

/* What `control[0]` holds. Zero: the kernel has all packets. */
#define SPINE_CLAIM 1u       /* claim packets */
#define SPINE_CLAIM_FLOWS 2u /* there are claimed ports to look up */
#define SPINE_CLAIM_HOSTS 4u /* messages between hosts on a link are ours */

/* The EtherType of messages between hosts: "local experimental 1". */
#define SPINE_ETHERTYPE 0x88b5

/* What became of a packet. Everything but the first goes to the kernel. */
enum spine_counter {
	SPINE_CLAIMED,
	SPINE_SWITCHED_OFF,     /* the host half wants the kernel to have all packets, or all of this interface */
	SPINE_NO_SOCKET,        /* the interface is not ours, or its queue has no socket */
	SPINE_OTHER_MAC,        /* not addressed to this interface; broadcast and multicast among them */
	SPINE_NOT_IPV4,         /* ARP, VLAN tags, anything else; IPv6 where it is not claimed */
	SPINE_TRUNCATED,        /* ends before its headers do */
	SPINE_BAD_HEADER,       /* version and lengths contradict each other or the frame */
	SPINE_OPTIONS,          /* IP options, or a hop-by-hop header */
	SPINE_TTL_EXCEEDED,     /* would not survive a hop */
	SPINE_ROUTING_PROTOCOL, /* what routers say to each other */
	SPINE_SPECIAL_ADDRESS,  /* multicast, broadcast, loopback, "this network", link-local */
	SPINE_LOCAL,            /* to or from an address of this machine */
	SPINE_NOT_OURS,         /* the way out is not one of our interfaces */
	SPINE_UNFINISHED_CHECKSUMS, /* a tunnel, SCTP, or behind an extension header, from a sender that leaves checksums to the card */
	SPINE_FRAGMENTS,        /* a fragment to an address where a UDP port is claimed: nobody here puts it together */
	SPINE_KEPT_BY_RULES,    /* one of the kernel's rules could treat it otherwise than to let it pass */
	SPINE_TOO_LONG,      /* longer than a frame: an MTU beyond it, or segments that are not cut yet */
	SPINE_ADAPTER_STUCK, /* nobody has looked into the socket's ring for too long, and packets wait there */
	SPINE_TAG_BESIDE,    /* a VLAN tag that its driver has beside it: of a VLAN that is not the interface's */
	SPINE_HANDED,        /* what an adapter has handed back to the kernel, on its way there */
	SPINE_COUNTERS,
};

#define SPINE_SOCKETS 1024
#define SPINE_ADDRESSES 4096
#define SPINE_CLAIMS (1 << 20)
#define SPINE_FLOWS 1024

#endif
