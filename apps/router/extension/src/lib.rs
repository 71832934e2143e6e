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
//! Left out: what the XDP classifier has settled before (the frame's destination address is ours, the
//! packet is IPv4 and not for this machine). It may be wrong about the IP header at no risk; about the
//! link-layer address it is believed.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

pub mod classify;
pub mod forward;
pub mod lookup;
pub mod settings;

use spine_fib::protocol::{self, SWAP_BYTES, SWAPPED, Swap};
use spine_fib::{Action, Store};
use spine_sdk::{
    Context, Endpoint, Finish, Init, Message, Reason, RegionCell, Verdict, handler, init,
    send_to_host,
};

use crate::classify::{HEADER_BYTES, classify};
use crate::lookup::{Table, believed, lookup};
use crate::settings::Settings;

static TABLE: RegionCell = RegionCell::new();

#[init]
fn init(setup: &mut Init) {
    if let Some(region) = setup.region(0) {
        TABLE.set(region);
    }
}

/// One packet from the wire. Sees the headers and four more bytes than TCP's; changes Ethernet and IPv4.
#[handler(protocol::FORWARD.0, prefix = 64, writeback = 34)]
fn forward(_context: Context, message: &mut Message<'_>) -> Verdict {
    let (Some(region), Some(settings)) = (TABLE.get(), Settings::current()) else {
        return Verdict::kernel(Reason::Paused);
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
) -> Verdict {
    let Some(headers) = prefix.first_chunk::<HEADER_BYTES>() else {
        return Verdict::Drop(Reason::Truncated);
    };
    let packet = match classify(headers, length) {
        Ok(packet) => packet,
        Err(verdict) => return verdict,
    };
    let (index, hop) = lookup(region, settings.half, &packet, prefix);
    // The kernel forwards what it is handed without looking at transport checksums, as we do.
    let checksum = match settings.complete_checksums {
        true => forward::partial_checksum(&packet, prefix),
        false => None,
    };
    let finish = Finish { length: forward::without_padding(&packet, length), checksum };
    let reason = match hop.action {
        Action::Drop(reason) => return Verdict::Drop(reason),
        Action::Kernel(reason) => Some(reason),
        Action::Forward
            if settings.check_sources
                && !believed(region, settings.half, settings.adapter, packet.source) =>
        {
            Some(Reason::ReversePath)
        }
        Action::Forward if packet.total_length > hop.mtu => Some(Reason::TooBig),
        Action::Forward if hop.peer == settings.adapter => Some(Reason::Hairpin),
        Action::Forward => None,
    };
    if let Some(reason) = reason {
        return Verdict::Kernel { reason, finish };
    }
    if let Some(headers) = prefix.first_chunk_mut::<HEADER_BYTES>() {
        forward::rewrite(headers, &hop);
    }
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
