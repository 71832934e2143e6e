//! An extension that calls another: it tells the application of flows with many packets.
//!
//! Which flow a packet belongs to it sees itself; how many packets that flow has had, the extension `flows`
//! counts, which must be loaded on the same adapter before, and which other extensions may call as well.
//! Every packet goes to the kernel.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use spine_headers::{ethernet, ipv4, ports};
use spine_sdk::{
    Context, HandlerNumber, Init, Message, Reason, Verdict, handler, init, send_to_host,
};

spine_sdk::import! {
    /// What the extension `flows` counts.
    mod flow {
        /// Counts a packet of the flow with this key, and gives how many it has had.
        fn count(key: u64) -> u64;
    }
}

/// The handler for packets.
pub const PACKET: HandlerNumber = HandlerNumber(32);
/// The application's number for the news of a flow: its key, and how many packets it has had (u64 each).
pub const HEAVY: HandlerNumber = HandlerNumber(2);

/// Packets from which on a flow is news; and again whenever they have doubled.
pub const MANY: u32 = 64;

/// Has handlers know how many are many.
#[init]
fn init(setup: &mut Init) {
    let known = setup.add_handler(PACKET, MANY);
    debug_assert_eq!(known, Ok(()));
}

const _: () = assert!(ethernet::BYTES + ipv4::MOST_BYTES + ports::BYTES == 78);

/// One packet: Ethernet, the longest IPv4 header, and the ports.
#[handler(PACKET.0, prefix = 78)]
fn packet(context: Context, message: &mut Message<'_>) -> Verdict {
    let Some(key) = key(message.packet()) else { return Verdict::kernel(Reason::Unhandled) };
    let seen = flow::count(key);
    if seen >= u64::from(context.0) && seen.is_power_of_two() {
        let mut news = [0; 16];
        news[..8].copy_from_slice(&key.to_le_bytes());
        news[8..].copy_from_slice(&seen.to_le_bytes());
        // If the FIFO is full, the next doubling is news again.
        let _ = send_to_host(HEAVY, &news);
    }
    Verdict::kernel(Reason::Unhandled)
}

/// The flow of a UDP or TCP packet over IPv4: a number made of addresses, ports and protocol, the same for
/// the same flow (FNV-1a, 64 bits). `None` for all else, fragments among them.
fn key(packet: &[u8]) -> Option<u64> {
    let (ethernet, rest) = ethernet::Header::split(packet).ok()?;
    let (ip, _) = ipv4::Header::split(rest).ok()?;
    let is_ipv4 = ethernet.ether_type() == ethernet::ether_type::IPV4;
    let is_sound = is_ipv4 && ip.header_length() >= ipv4::BYTES;
    if !is_sound || !ports::starts(ip.protocol()) || ip.is_fragment() {
        return None;
    }
    let (ports, _) = ports::Header::split(rest.get(ip.header_length()..)?).ok()?;
    let addresses = [ip.source().octets(), ip.destination().octets()];
    let all = addresses.as_flattened().iter().chain(ports.bytes()).copied();
    Some(all.chain([ip.protocol()]).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}

spine_sdk::extension! {
    name: "heavy",
    domains: [Host, Kernel],
    handlers: [packet],
    init: init,
}

#[cfg(test)]
mod tests {
    use super::*;
    use spine_sdk::Global;
    use spine_sdk::testing::{Call, answer, context_of, fresh, initialise};

    fn udp(port: u16) -> Vec<u8> {
        let mut packet = vec![0; 60];
        packet[12..15].copy_from_slice(&[8, 0, 0x45]);
        packet[23] = 17;
        packet[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet[36..38].copy_from_slice(&port.to_be_bytes());
        packet
    }

    #[test]
    fn a_flow_is_news_when_it_has_many_packets_and_whenever_they_have_doubled() {
        static CALLS: Global<u64> = Global::<u64>::new(0);
        fresh();
        initialise(extension::initialise);
        answer("flow", "count", |arguments| {
            assert_eq!(arguments, [key(&udp(53)).unwrap()]);
            CALLS.set(CALLS.get() + 1);
            CALLS.get()
        });
        let many = context_of(PACKET).unwrap();
        let mut news = Vec::new();
        for _ in 0..300 {
            let call = Call::packet(&udp(53)).handler(PACKET.0).context(many);
            let outcome = call.dispatch(extension::dispatch);
            assert_eq!(outcome.verdict, Verdict::kernel(Reason::Unhandled));
            let told = outcome.to_host.iter().map(|message| message.arguments()[8..].to_vec());
            news.extend(told.map(|seen| u64::from_le_bytes(*seen.first_chunk().unwrap())));
        }
        assert_eq!(news, [64, 128, 256]);
    }

    #[test]
    fn what_has_no_flow_is_not_counted() {
        fresh();
        // No double answers: a call would panic.
        let mut fragment = udp(53);
        fragment[20] = 0x20;
        let mut other = udp(53);
        other[23] = 1;
        for packet in [&fragment[..], &other, &udp(53)[..30], &[]] {
            let outcome = Call::packet(packet).handler(PACKET.0).dispatch(extension::dispatch);
            assert_eq!(outcome.verdict, Verdict::kernel(Reason::Unhandled));
        }
    }

    #[test]
    fn flows_differ_by_every_part() {
        let base = key(&udp(53)).unwrap();
        for at in [23, 26, 33, 34, 37] {
            let mut packet = udp(53);
            packet[at] = if at == 23 { 6 } else { packet[at] + 1 };
            assert_ne!(key(&packet), Some(base), "byte {at}");
        }
    }
}
