#!/usr/bin/python3
"""Writes a corpus of mutated IPv4 packets: the same file for the same seed and count.

usage: make.py OUTPUT.pcap [--count N] [--seed N]

The packets are what a host at 10.9.1.2 could send to a router at 10.9.1.1, whose other link is 10.9.2.0/24:
every header field mutated, frames cut and padded, lengths that lie, addresses that must not be routed. Scapy
builds the valid packets; the mutations work on bytes, because most of them make packets that scapy would
rather repair, and because 100,000 of them should take seconds. Each packet belongs to a named case, in turn;
OUTPUT.pcap.cases has the names, one a line, so packet N is of case N modulo their number.

Left out on purpose: the IP timestamp option (its answer depends on the time), and frames shorter than an
Ethernet header (a packet socket does not send them; the XDP program's own tests have them).
"""

import argparse
import logging
import random
import struct

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import ICMP, IP, TCP, UDP, Raw, raw  # noqa: E402

ROUTER_MAC = bytes.fromhex("020000090101")
HOST_MAC = bytes.fromhex("020000090102")
HOST = bytes([10, 9, 1, 2])
SERVER = bytes([10, 9, 2, 2])
ROUTER = (bytes([10, 9, 1, 1]), bytes([10, 9, 2, 1]))
TIMESTAMP_OPTION = 68
MARK = b"spin"


def checksum(header):
    """The Internet checksum of the header, its own field taken as zero."""
    if len(header) % 2:
        header = header + b"\0"
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def sum_up(packet):
    """Sets the header checksum, over as many bytes as the header says it has."""
    length = max(20, min((packet[0] & 15) * 4, len(packet)))
    packet[10:12] = b"\0\0"
    packet[10:12] = struct.pack("!H", checksum(bytes(packet[:length])))
    return packet


def frame(packet, to=ROUTER_MAC, by=HOST_MAC, kind=b"\x08\x00"):
    return to + by + kind + bytes(packet)


def address_in(rng, first, bits):
    """A random address of the network whose leading `bits` are those of `first`."""
    base = struct.unpack("!I", bytes(first))[0]
    host = 32 - bits
    return struct.pack("!I", (base >> host << host) | rng.getrandbits(host) if host else base)


# Networks with a meaning of their own; the routes of 198.18/15 and below are made by the test.
SPECIAL = [
    ((0, 0, 0, 0), 8), ((0, 0, 0, 0), 32), ((127, 0, 0, 0), 8), ((169, 254, 0, 0), 16),
    ((224, 0, 0, 0), 4), ((224, 0, 0, 1), 32), ((224, 0, 0, 5), 32), ((240, 0, 0, 0), 4),
    ((255, 255, 255, 255), 32), ((10, 9, 1, 0), 24), ((10, 9, 1, 0), 32), ((10, 9, 1, 255), 32),
    ((10, 9, 1, 1), 32), ((10, 9, 2, 0), 24), ((10, 9, 2, 0), 32), ((10, 9, 2, 255), 32),
    ((10, 9, 2, 1), 32), ((10, 9, 2, 2), 32), ((10, 0, 0, 0), 8), ((172, 16, 0, 0), 12),
    ((192, 0, 2, 0), 24), ((192, 168, 0, 0), 16), ((100, 64, 0, 0), 10), ((198, 18, 0, 0), 16),
    ((198, 19, 0, 0), 18), ((198, 19, 64, 0), 18), ((198, 19, 128, 0), 18), ((0, 0, 0, 0), 0),
]


class Maker:
    """One method a case: each returns a frame made from a valid packet of its own."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.templates = self.make_templates()

    def make_templates(self):
        rng = self.rng
        ip = IP(src="10.9.1.2", dst="10.9.2.2", ttl=64)
        result = []
        for size in (0, 1, 8, 18, 100, 500, 1000, 1300):
            body = Raw(bytes(rng.getrandbits(8) for _ in range(size)))
            result += [
                ip / UDP(sport=rng.randrange(1, 65536), dport=9) / body,
                ip / TCP(sport=rng.randrange(1, 65536), dport=9, flags="S") / body,
                ip / TCP(sport=9, dport=rng.randrange(1, 65536), flags="PA", seq=7, ack=9) / body,
                ip / ICMP(type=8, id=rng.randrange(65536)) / body,
                ip / ICMP(type=3, code=1) / raw(IP(src="10.9.2.2", dst="10.9.1.2") / UDP()) / body,
                ip / ICMP(type=11, code=0) / raw(IP(src="10.9.2.2", dst="10.9.1.2") / UDP()) / body,
            ]
        for proto in (2, 4, 41, 46, 47, 50, 51, 89, 103, 112, 132, 253, 255):
            result.append(IP(src="10.9.1.2", dst="10.9.2.2", proto=proto) / Raw(b"\1" * 40))
        return [raw(packet) for packet in result]

    def valid(self, number):
        """A packet that a router forwards, marked with its number, which no other packet has."""
        rng = self.rng
        packet = bytearray(rng.choice(self.templates))
        packet += MARK + struct.pack("!I", number)
        packet[2:4] = struct.pack("!H", len(packet))
        packet[4:6] = struct.pack("!H", rng.getrandbits(16))
        packet[8] = rng.randrange(2, 256)
        packet[19] = rng.choice((2, 2, 2, 3, 77))
        return sum_up(packet)

    # ---- the cases ----

    def plain(self, packet):
        return frame(packet)

    def version(self, packet):
        packet[0] = self.rng.choice([v for v in range(16) if v != 4]) << 4 | 5
        return frame(sum_up(packet))

    def header_length_short(self, packet):
        packet[0] = 0x40 | self.rng.randrange(5)
        return frame(sum_up(packet))

    def header_length_into_payload(self, packet):
        packet[0] = 0x40 | self.rng.randrange(6, 16)
        if TIMESTAMP_OPTION in packet[20:60]:
            packet[20:60] = bytes(1 if byte == TIMESTAMP_OPTION else byte for byte in packet[20:60])
        return frame(sum_up(packet))

    def options(self, packet, options=None):
        rng = self.rng
        if options is None:
            hop = bytes([10, 9, 2, 9])
            options = rng.choice((
                b"\1\1\1\1", b"\0\0\0\0", b"\x94\x04\0\0", b"\1\x94\x04\0\0\0\0\0",
                b"\x07\x07\x04\0\0\0\0\0", b"\x07\x0b\x04" + bytes(8) + b"\0", b"\x83\x07\x04" + hop + b"\0",
                b"\x89\x07\x04" + hop + b"\0", b"\x83\x07\x08" + hop + b"\0", b"\x88\x04\x12\x34",
                b"\x1e\x04\xaa\xbb", b"\x9e\x04\xaa\xbb", b"\x82\x0b" + bytes(9) + b"\0",
            ))
        packet[20:20] = options
        packet[0] = 0x40 | (20 + len(options)) // 4
        packet[2:4] = struct.pack("!H", len(packet))
        return frame(sum_up(packet))

    def options_malformed(self, packet):
        rng = self.rng
        length = 4 * rng.randrange(1, 11)
        options = bytes(rng.choice((0, 1, 2, 3, 4, 7, 131, 137, 148, rng.getrandbits(8))) for _ in range(length))
        return self.options(packet, options.replace(bytes([TIMESTAMP_OPTION]), b"\1"))

    def traffic_class(self, packet):
        packet[1] = self.rng.getrandbits(8)
        return frame(sum_up(packet))

    def length_below_header(self, packet):
        packet[2:4] = struct.pack("!H", self.rng.randrange(20))
        return frame(sum_up(packet))

    def length_below_frame(self, packet):
        packet[2:4] = struct.pack("!H", self.rng.randrange(20, len(packet)))
        return frame(sum_up(packet))

    def length_beyond_frame(self, packet):
        packet[2:4] = struct.pack("!H", self.rng.randrange(len(packet) + 1, 65536))
        return frame(sum_up(packet))

    def identification(self, packet):
        packet[4:6] = struct.pack("!H", self.rng.choice((0, 1, 0xFFFF, self.rng.getrandbits(16))))
        return frame(sum_up(packet))

    def flags(self, packet):
        packet[6] = self.rng.randrange(8) << 5
        return frame(sum_up(packet))

    def fragment(self, packet):
        packet[6:8] = struct.pack("!H", self.rng.getrandbits(16))
        return frame(sum_up(packet))

    def last_of_life(self, packet):
        packet[8] = self.rng.choice((0, 1, 2, 255))
        return frame(sum_up(packet))

    def protocol(self, packet):
        packet[9] = self.rng.getrandbits(8)
        return frame(sum_up(packet))

    def checksum_wrong(self, packet):
        packet[10 + self.rng.randrange(2)] ^= 1 << self.rng.randrange(8)
        return frame(packet)

    def checksum_corner(self, packet):
        """The sum is made to come out at a value where one's complement has two zeros, or next to it."""
        wanted = self.rng.choice((0x0000, 0xFFFF, 0xFEFF, 0xFF00, 0x00FF, 0x0001, 0xFFFE))
        packet[4:6] = b"\0\0"
        have = struct.unpack("!H", bytes(sum_up(packet)[10:12]))[0]
        # Identification takes the difference: one's complement subtraction.
        gap = have - wanted
        packet[4:6] = struct.pack("!H", gap if gap >= 0 else gap + 0xFFFF)
        packet[10:12] = struct.pack("!H", wanted)
        return frame(packet)

    def source(self, packet):
        packet[12:16] = address_in(self.rng, *self.rng.choice(SPECIAL))
        return frame(sum_up(packet))

    def destination(self, packet):
        packet[16:20] = address_in(self.rng, *self.rng.choice(SPECIAL))
        return frame(sum_up(packet))

    def both_addresses(self, packet):
        packet[12:16] = address_in(self.rng, *self.rng.choice(SPECIAL))
        packet[16:20] = address_in(self.rng, *self.rng.choice(SPECIAL))
        return frame(sum_up(packet))

    def source_is_destination(self, packet):
        packet[12:16] = packet[16:20]
        return frame(sum_up(packet))

    def back_where_it_came_from(self, packet):
        packet[16:20] = bytes([10, 9, 1, self.rng.choice((2, 3, 77))])
        return frame(sum_up(packet))

    def cut(self, packet):
        return frame(packet)[: self.rng.randrange(14, min(70, len(packet) + 14))]

    def cut_anywhere(self, packet):
        return frame(packet)[: self.rng.randrange(14, len(packet) + 14)]

    def padded(self, packet):
        room = 1500 - len(packet)
        return frame(packet) + bytes(self.rng.getrandbits(8) for _ in range(self.rng.randrange(1, min(60, room))))

    def link_destination(self, packet):
        rng = self.rng
        to = rng.choice((b"\xff" * 6, bytes.fromhex("01005e000001"), bytes.fromhex("333300000001"),
                         bytes(6), HOST_MAC, ROUTER_MAC[:5] + b"\2", rng.getrandbits(48).to_bytes(6, "big")))
        return frame(packet, to=to)

    def link_source(self, packet):
        rng = self.rng
        by = rng.choice((b"\xff" * 6, bytes.fromhex("01005e000001"), bytes(6), ROUTER_MAC,
                         rng.getrandbits(48).to_bytes(6, "big")))
        return frame(packet, by=by)

    def ether_type(self, packet):
        rng = self.rng
        kind = rng.choice((b"\x86\xdd", b"\x88\x47", b"\x88\xcc", b"\x00\x26", b"\x05\xdc", b"\0\0", b"\xff\xff",
                           struct.pack("!H", rng.getrandbits(16))))
        if kind == b"\x08\x06":
            kind = b"\x08\x07"
        return frame(packet, kind=kind)

    def tagged(self, packet):
        rng = self.rng
        tag = struct.pack("!H", rng.choice((0, 0x2000, 1, 0x0FFF, rng.getrandbits(16))))
        inner = rng.choice((b"\x08\x00", b"\x08\x00", b"\x81\x00\0\0\x08\x00"))
        return frame(packet, kind=rng.choice((b"\x81\x00", b"\x88\xa8")) + tag + inner)

    def size_at_the_limit(self, packet):
        size = self.rng.choice((1399, 1400, 1401, 1402, 1408, 1472, 1499, 1500))
        packet[20:20] = bytes(size - len(packet)) if size > len(packet) else b""
        packet[2:4] = struct.pack("!H", len(packet))
        packet[6] = self.rng.choice((0x00, 0x40))
        return frame(sum_up(packet))

    def payload(self, packet):
        for _ in range(self.rng.randrange(1, 9)):
            packet[self.rng.randrange(20, len(packet) - 8)] = self.rng.getrandbits(8)
        return frame(packet)

    def bits_flipped(self, packet):
        for _ in range(self.rng.randrange(1, 4)):
            packet[self.rng.randrange(20)] ^= 1 << self.rng.randrange(8)
        return frame(packet)

    def bits_flipped_then_summed(self, packet):
        for _ in range(self.rng.randrange(1, 4)):
            packet[self.rng.randrange(20)] ^= 1 << self.rng.randrange(8)
        if packet[0] & 15 > 5 and TIMESTAMP_OPTION in packet[20:60]:
            packet[0] = packet[0] & 0xF0 | 5
        return frame(sum_up(packet))

    def header_random(self, packet):
        packet[:20] = self.rng.getrandbits(160).to_bytes(20, "big")
        packet[0] = 0x45
        packet[2:4] = struct.pack("!H", len(packet))
        return frame(sum_up(packet))

    def noise(self, packet):
        size = self.rng.randrange(0, 120)
        return frame(self.rng.getrandbits(8 * size).to_bytes(size, "big") if size else b"")


CASES = [
    "plain", "version", "header_length_short", "header_length_into_payload", "options", "options_malformed",
    "traffic_class", "length_below_header", "length_below_frame", "length_beyond_frame", "identification", "flags",
    "fragment", "last_of_life", "protocol", "checksum_wrong", "checksum_corner", "source", "destination",
    "both_addresses", "source_is_destination", "back_where_it_came_from", "cut", "cut_anywhere", "padded",
    "link_destination", "link_source", "ether_type", "tagged", "size_at_the_limit", "payload", "bits_flipped",
    "bits_flipped_then_summed", "header_random", "noise",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    maker = Maker(arguments.seed)
    makers = [getattr(maker, case) for case in CASES]
    with open(arguments.output + ".cases", "w", encoding="ascii") as names:
        names.write("\n".join(CASES) + "\n")
    with open(arguments.output, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number in range(arguments.count):
            made = makers[number % len(makers)](maker.valid(number))
            out.write(struct.pack("<IIII", number, 0, len(made), len(made)) + made)


if __name__ == "__main__":
    main()
