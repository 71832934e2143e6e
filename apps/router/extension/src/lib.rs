//! The adapter half of the router: one packet in, one verdict out.
//!
//! Three steps, one file each: [`mod@classify`] finds out whether it may be forwarded at all,
//! [`mod@lookup`] where to, [`mod@forward`] changes what a router changes. Everything that is not the common case is left
//! to the kernel, untouched, as it was received; only what no router forwards is dropped here.
//!
//! The table lies in the shared region ([`spine_fib`]). Which half of it to read, and which adapter this
//! is, the host half says with a [`Swap`]; until the first one everything goes
//! to the kernel.
//!
//! The steps are those of IPv4; [`ipv6`] has its own, and between them both families go the same way.
//!
//! Left out: what the XDP classifier has settled before (the frame's destination address is ours, the
//! packet is not for this machine). It may be wrong about the IP header at no risk; about the
//! link-layer address it is believed.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

pub mod classify;
pub mod forward;
pub mod ipv6;
pub mod lookup;
mod packet;
pub mod settings;

use spine_fib::protocol::{self, SWAP_BYTES, SWAPPED, Swap};
use spine_fib::{Action, Store};
use spine_headers::ethernet::{self, ether_type};
use spine_sdk::{
    Context, Endpoint, Finish, Init, Message, PackedVerdict, Reason, RegionCell, Verdict, handler,
    init, send_to_host,
};

use crate::classify::{HEADER_BYTES, classify};
use crate::lookup::{Table, believed, lookup};
use crate::packet::Packet;
use crate::settings::Settings;

static TABLE: RegionCell = RegionCell::new();

#[init]
fn init(setup: &mut Init) {
    if let Some(region) = setup.region(0) {
        TABLE.set(region);
    }
}

/// One packet from the wire. Sees the headers as far as TCP's checksum behind IPv6; changes Ethernet, IPv4, and of IPv6
/// the hop limit, which is not as far back.
#[handler(protocol::FORWARD.0, prefix = 72, writeback = 34)]
fn forward(_context: Context, message: &mut Message<'_>) -> PackedVerdict {
    let (Some(region), Some(settings)) = (TABLE.get(), Settings::current()) else {
        return Verdict::kernel(Reason::Paused).into();
    };
    let length = message.length();
    route(&Table(region), settings, message.packet_mut(), length)
}

/// The host half's "from now on, read this half", acknowledged with the same words.
#[handler(protocol::SWAP.0)]
fn swap(_context: Context, message: &mut Message<'_>) -> Verdict {
    if message.source() != Endpoint::Host {
        return Verdict::Drop(Reason::Unhandled);
    }
    let Some(swap) = Swap::parse(message.arguments()) else {
        return Verdict::Drop(Reason::Truncated);
    };
    Settings::apply(&swap);
    let bytes: [u8; SWAP_BYTES] = swap.to_bytes();
    match send_to_host(SWAPPED, &bytes) {
        Ok(()) => Verdict::Done,
        // The host misses the acknowledgement and says it again: the same swap is the same twice.
        Err(_) => Verdict::Drop(Reason::Unanswered),
    }
}

/// Decides about one packet, of which `prefix` are the first bytes and `length` all of them, and changes
/// its headers if it is to be forwarded. The handler without its surroundings, for tests and benches.
#[inline]
pub fn route<Region: Store>(
    region: &Region,
    settings: Settings,
    prefix: &mut [u8],
    length: usize,
) -> PackedVerdict {
    let Some(headers) = prefix.first_chunk::<HEADER_BYTES>() else {
        return Verdict::Drop(Reason::Truncated).into();
    };
    let Ok((ethernet, _)) = ethernet::Header::split(headers) else {
        return Verdict::Drop(Reason::Truncated).into();
    };
    if ethernet.ether_type() != ether_type::IPV4 {
        return route_other(region, settings, prefix, length);
    }
    if settings.check_sources {
        return route_checked(region, settings, prefix, length);
    }
    let verdict = match classify(headers, length) {
        Ok(packet) => send_on(region, settings, &packet, prefix, length, || true),
        Err(verdict) => verdict,
    };
    verdict.into()
}

/// The same for IPv4 where the way back to its source is looked up as well. A function of its own whose answer is one
/// register, as [`route_other`], so that those who do not ask pay nothing.
#[inline(never)]
fn route_checked<Region: Store>(
    region: &Region,
    settings: Settings,
    prefix: &mut [u8],
    length: usize,
) -> PackedVerdict {
    let Some(headers) = prefix.first_chunk::<HEADER_BYTES>() else {
        return Verdict::Drop(Reason::Truncated).into();
    };
    match classify(headers, length) {
        Ok(packet) => {
            let believed = || believed(region, settings.half, settings.adapter, packet.source);
            send_on(region, settings, &packet, prefix, length, believed).into()
        }
        Err(verdict) => verdict.into(),
    }
}

/// The same for what is not IPv4: IPv6, or nothing of ours. A function of its own whose answer is one register, so that
/// IPv4 pays nothing for it.
#[inline(never)]
fn route_other<Region: Store>(
    region: &Region,
    settings: Settings,
    prefix: &mut [u8],
    length: usize,
) -> PackedVerdict {
    match ethernet::Header::split(prefix) {
        Ok((ethernet, _)) if ethernet.ether_type() == ether_type::IPV6 => {}
        _ => return Verdict::kernel(Reason::Unhandled).into(),
    }
    match ipv6::classify(prefix, length) {
        // Linux checks no sources of IPv6.
        Ok(packet) => send_on(region, settings, &packet, prefix, length, || true).into(),
        Err(verdict) => verdict.into(),
    }
}

/// The second and the third step; `is_believed` says whether the kernel's reverse-path filter would let the packet pass.
#[inline(always)]
fn send_on<Region: Store>(
    region: &Region,
    settings: Settings,
    packet: &impl Packet,
    prefix: &mut [u8],
    length: usize,
    is_believed: impl FnOnce() -> bool,
) -> Verdict {
    let (index, hop) = lookup(region, settings.half, packet, prefix);
    // The kernel forwards what it is handed without looking at transport checksums, as we do.
    let checksum = match settings.complete_checksums {
        true => packet.partial_checksum(prefix),
        false => None,
    };
    let finish = Finish { length: forward::without_padding(packet, length), checksum };
    let reason = match hop.action {
        Action::Drop(reason) => return Verdict::Drop(reason),
        Action::Kernel(reason) => Some(reason),
        Action::Forward if !is_believed() => Some(Reason::ReversePath),
        Action::Forward if packet.total_length() > hop.mtu => Some(Reason::TooBig),
        Action::Forward if hop.peer == settings.adapter => Some(Reason::Hairpin),
        Action::Forward => None,
    };
    if let Some(reason) = reason {
        return Verdict::Kernel { reason, finish };
    }
    packet.rewrite(prefix, &hop);
    lookup::mark_used(region, index);
    Verdict::Forward { peer: hop.peer, finish }
}

spine_sdk::extension! {
    name: "router",
    domains: [Net, Peer, Kernel, Host],
    regions: 1,
    handlers: [forward, swap],
    init: init,
}

#[cfg(test)]
mod tests;
