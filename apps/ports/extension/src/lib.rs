//! Counts packets by destination port, in a region that the application shares.
//!
//! The region is an array of 65,536 counters of 32 bits, by port; 0 counts what has no port: other
//! protocols, and fragments but the first. Every packet goes to the kernel, unchanged.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use spine_headers::{ethernet, ipv4, ports};
use spine_sdk::{
    Context, HandlerNumber, Init, Message, Reason, RegionCell, Verdict, handler, init, send_to_host,
};

/// The handler for packets.
pub const PACKET: HandlerNumber = HandlerNumber(1);
/// The handler that says that packets are being counted.
pub const READY: HandlerNumber = HandlerNumber(2);
/// The application's number for the answer.
pub const COUNTING: HandlerNumber = HandlerNumber(1);

static COUNTS: RegionCell = RegionCell::new();

/// Finds the region.
#[init]
fn init(setup: &mut Init) {
    if let Some(region) = setup.region(0) {
        COUNTS.set(region);
    }
}

/// The destination port of an Ethernet frame with IPv4 and UDP or TCP in it; 0 for all else.
fn port(packet: &[u8]) -> u16 {
    let destination = || {
        let (ethernet, rest) = ethernet::Header::split(packet).ok()?;
        let (ip, _) = ipv4::Header::split(rest).ok()?;
        let is_ipv4 = ethernet.ether_type() == ethernet::ether_type::IPV4;
        if !is_ipv4 || !ports::starts(ip.protocol()) || ip.is_later_fragment() {
            return None;
        }
        let (ports, _) = ports::Header::split(rest.get(ip.header_length()..)?).ok()?;
        Some(ports.destination())
    };
    destination().unwrap_or(0)
}

const _: () = assert!(ethernet::BYTES + ipv4::MOST_BYTES + ports::BYTES == 78);

/// One packet. It wants to see 78 bytes: Ethernet, the longest IPv4 header, and the ports.
#[handler(PACKET.0, prefix = 78)]
fn packet(_context: Context, message: &mut Message<'_>) -> Verdict {
    if let Some(counts) = COUNTS.get() {
        let place = 4 * usize::from(port(message.packet()));
        counts.set_u32(place, counts.u32_at(place).wrapping_add(1));
    }
    Verdict::kernel(Reason::Unhandled)
}

/// The application asks whether packets are being counted, and is told.
#[handler(READY.0)]
fn ready(_context: Context, _message: &mut Message<'_>) -> Verdict {
    match send_to_host(COUNTING, &[]) {
        Ok(()) => Verdict::Done,
        Err(_) => Verdict::Drop(Reason::Unanswered),
    }
}

spine_sdk::extension! {
    name: "ports",
    domains: [Host, Kernel],
    regions: 1,
    handlers: [packet, ready],
    init: init,
}

#[cfg(test)]
mod tests {
    use super::*;
    use spine_sdk::testing::{self, Call, fresh};

    fn frame(protocol: u8, options: u8, fragment: u16, port: u16) -> Vec<u8> {
        let mut frame = vec![0; 78];
        frame[12..14].copy_from_slice(&0x0800u16.to_be_bytes());
        frame[14] = 0x45 + options;
        frame[20..22].copy_from_slice(&fragment.to_be_bytes());
        frame[23] = protocol;
        let at = 14 + usize::from(5 + options) * 4 + 2;
        frame[at..at + 2].copy_from_slice(&port.to_be_bytes());
        frame
    }

    #[test]
    fn ports_are_found_behind_any_header_and_nowhere_else() {
        assert_eq!(port(&frame(17, 0, 0, 53)), 53);
        assert_eq!(port(&frame(6, 10, 0x4000, 443)), 443, "options, and don't fragment");
        assert_eq!(port(&frame(1, 0, 0, 53)), 0, "ICMP");
        assert_eq!(port(&frame(17, 0, 185, 53)), 0, "a later fragment");
        assert_eq!(port(&frame(17, 0, 0, 53)[..30]), 0, "cut short");
        assert_eq!(port(&[]), 0);
    }

    #[test]
    fn packets_are_counted_and_left_to_the_kernel() {
        fresh();
        let region = testing::region(4 << 16);
        COUNTS.set(region);
        for _ in 0..3 {
            let outcome = Call::packet(&frame(17, 0, 0, 65535)).run(packet);
            assert_eq!(outcome.verdict, Verdict::kernel(Reason::Unhandled));
        }
        assert_eq!(region.u32_at(4 * 65535), 3);
        let asked = Call::small(&[]).run(ready);
        assert_eq!((asked.verdict, asked.to_host.len()), (Verdict::Done, 1));
    }
}
