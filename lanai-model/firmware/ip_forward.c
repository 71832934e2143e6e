/*
 * The router's handler as firmware: one packet in, one verdict out, in C for the LANai.
 *
 * Why it exists: the paper published what its route handler took (4 us), and the model charges handlers by WebAssembly fuel.
 * This is a third way to know: the same work, compiled for the processor of the paper and counted in its cycles.
 *
 * It does what the router's extension does with a packet of the common case: check the IPv4 header, look its destination up,
 * take one from the TTL, correct the checksum, write the addresses of the next hop. The table is the one that the paper
 * names (its reference 23), Nilsson and Karlsson's LC-trie. Left out: fragments and transport checksums, which only matter
 * behind Linux; options go to the host.
 *
 *     clang --target=lanai -ffreestanding -O2 -mllvm -disable-peephole -c ip_forward.c
 */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef short s16;

enum { VERDICT_FORWARD, VERDICT_HOST, VERDICT_DROP };
enum { FRAME_IPV4 = 0x0800, TTL_ONE = 0x0100, NONE = -1 };

struct ethernet {
    u16 destination[3], source[3], type;
};

struct ipv4 {
    u8 version_length, service;
    u16 total_length, identification, fragment;
    u8 ttl, protocol;
    u16 checksum;
    u32 source, destination;
};

/* 256 bytes: 16 of header, 240 of arguments (SPINE 3.2). The packet starts two bytes in, so that IPv4 is aligned. */
struct message {
    u32 handler;
    u16 kind, source;
    u32 length; /* of the frame */
    u32 buffer;
    u16 unused;
    struct ethernet ethernet;
    struct ipv4 ipv4;
    u8 rest[204];
};

/* An inner node has 2^branch children from `child` on; a leaf has branch 0 and `child` is its route. */
struct node {
    u8 branch, skip;
    u16 child;
};

/* `shorter` is the longest route that contains this one, in the table of those that contain others. */
struct route {
    u32 address;
    s16 shorter;
    u8 length, hop;
};

struct hop {
    u16 destination[3], source[3];
    u16 peer, mtu;
};

struct node trie[2048];
struct route routes[1024], shorter_routes[256];
struct hop hops[16];
struct message message;

static u32 bits(u32 from, u32 count, u32 address) {
    return address << from >> (32 - count);
}

static int outside(const struct route *route, u32 address) {
    u32 difference = route->address ^ address;
    return route->length != 0 && difference >> (32 - route->length) != 0;
}

/* The hop of the longest route that contains the address, or none. */
static int lookup(u32 address) {
    const struct node *node = trie;
    u32 from = node->skip;
    u32 branch = node->branch;
    u32 child = node->child;
    while (branch != 0) {
        node = &trie[child + bits(from, branch, address)];
        from += branch + node->skip;
        branch = node->branch;
        child = node->child;
    }
    const struct route *route = &routes[child];
    while (outside(route, address)) {
        if (route->shorter == NONE)
            return NONE;
        route = &shorter_routes[route->shorter];
    }
    return route->hop;
}

static u32 folded_sum(const struct ipv4 *ip) {
    const u32 *words = (const u32 *)ip;
    u32 sum = 0;
    for (int i = 0; i < 5; i++)
        sum += (words[i] >> 16) + (words[i] & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    return (sum >> 16) + (sum & 0xffff);
}

/* The handler: its context is where it says which adapter the packet leaves by. */
int ip_forward(u32 *peer, struct message *packet) {
    struct ipv4 *ip = &packet->ipv4;
    if (packet->ethernet.type != FRAME_IPV4)
        return VERDICT_HOST;
    if (ip->version_length != 0x45)
        return VERDICT_HOST;
    if (ip->total_length < 20 || ip->total_length + 14 > packet->length)
        return VERDICT_DROP;
    if (folded_sum(ip) != 0xffff)
        return VERDICT_DROP;
    if (ip->ttl <= 1)
        return VERDICT_HOST;
    int found = lookup(ip->destination);
    if (found == NONE)
        return VERDICT_HOST;
    const struct hop *hop = &hops[found];
    if (ip->total_length > hop->mtu)
        return VERDICT_HOST;

    ip->ttl--;
    /* One less in the TTL is 0x100 more in the complement; a carry comes back in (RFC 1624). */
    u32 sum = ip->checksum + TTL_ONE;
    ip->checksum = sum + (sum >= 0xffff);
    for (int i = 0; i < 3; i++) {
        packet->ethernet.destination[i] = hop->destination[i];
        packet->ethernet.source[i] = hop->source[i];
    }
    *peer = hop->peer;
    return VERDICT_FORWARD;
}
