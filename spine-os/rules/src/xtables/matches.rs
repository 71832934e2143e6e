//! What a match asks.

use std::sync::Arc;

use super::{Info, Tracks, depends_on, fact, masked, test};
use crate::ipset::IpSets;
use crate::model::{Byte, Bytes, Fact, Interface, Key, Keys, Source, Step, address};

/// Adds what a match asks.
pub(crate) fn add(info: Info<'_>, sets: &IpSets, steps: &mut Vec<Step>) -> Tracks {
    let before = steps.len();
    match known(info, sets, steps) {
        Some(tracks) => tracks,
        None => {
            steps.truncate(before);
            steps.push(Step::Perhaps);
            false
        }
    }
}

/// `None` where the structure is not understood.
fn known(info: Info<'_>, sets: &IpSets, steps: &mut Vec<Step>) -> Option<Tracks> {
    match info.name {
        "conntrack" | "state" | "connbytes" | "connlimit" | "connlabel" | "helper" | "cluster"
        | "ipvs" => {
            steps.push(depends_on(Fact::Connection));
            return Some(true);
        }
        "connmark" => {
            mark(info, Fact::ConnectionMark, steps)?;
            return Some(true);
        }
        "socket" => {
            steps.push(depends_on(Fact::Socket));
            return Some(true);
        }
        "comment" => {}
        "nfacct" => steps.push(Step::Count),
        "mark" => mark(info, Fact::Mark, steps)?,
        "addrtype" => address_type(info, steps)?,
        "tcp" => {
            ports(info, info.u8(11)?, steps)?;
            let (flags, option) = (info.u8(9)?, info.u8(8)?);
            if flags != 0 || option != 0 {
                steps.push(Step::Perhaps);
            }
        }
        "udp" | "udplite" => ports(info, info.u8(8)?, steps)?,
        "icmp" => {
            const ANY: u8 = 0xff;
            let inverted = info.u8(3)? & 1 != 0;
            match (info.u8(0)?, inverted) {
                (ANY, true) => steps.push(Step::Never),
                (ANY, false) => {}
                _ => control(info, inverted, steps)?,
            }
        }
        "icmp6" => control(info, info.u8(3)? & 1 != 0, steps)?,
        "multiport" => multiport(info, steps)?,
        "iprange" => address_range(info, steps)?,
        "devgroup" => device_group(info, steps)?,
        "pkttype" => {
            let kind = u8::try_from(info.u32(0)?).ok()?;
            let inverted = info.u32(4)? != 0;
            steps.push(test(fact(Fact::PacketType, 1), Keys::one(vec![kind]), inverted));
        }
        // Without a socket it is decided by what is asked for.
        "owner" if info.u8(16)? == info.u8(17)? => {}
        "owner" => steps.push(Step::Never),
        "cgroup" => steps.push(depends_on(Fact::Socket)),
        "physdev" => bridge_port(info, steps)?,
        "policy" => {
            const NONE: u16 = 4;
            const FLAGS: usize = 304;
            // No packet that is carried has been through IPsec, nor will be.
            if info.u16(FLAGS)? & NONE == 0 {
                steps.push(Step::Never);
            }
        }
        // Extension headers of IPv6.
        "rt" | "hbh" | "dst" | "srh" => steps.push(Step::Never),
        "frag" => {
            steps.push(test(fact(Fact::FragmentHeader, 1), Keys::one(vec![1]), false));
            steps.push(Step::Perhaps);
        }
        "set" => set(info, sets, steps)?,
        _ => return None,
    }
    Some(false)
}

/// Value, mask, and whether it is meant the other way.
fn mark(info: Info<'_>, what: Fact, steps: &mut Vec<Step>) -> Option<()> {
    if info.revision != 1 {
        return None;
    }
    let (mark, mask) = (info.at(0, 4)?, info.at(4, 4)?);
    let bytes = masked(fact(what, 4), mask);
    steps.push(test(bytes, Keys::one(mark.to_vec()), info.u8(8)? != 0));
    Some(())
}

fn address_type(info: Info<'_>, steps: &mut Vec<Step>) -> Option<()> {
    let (source, destination) = (info.u16(0)?, info.u16(2)?);
    let inverted = match info.revision {
        0 => info.u32(8)? != 0,
        1 => info.u32(4)? & 2 != 0,
        _ => return None,
    };
    if source != 0 {
        steps.push(Step::Perhaps);
    }
    if destination != 0 {
        let fields = Arc::new(vec![(0, 4)]);
        let kinds = (0..u16::BITS).filter(|kind| destination & 1 << kind != 0).map(|kind| {
            let value = kind.to_ne_bytes().to_vec();
            Key { first: value.clone(), last: value, fields: Arc::clone(&fields) }
        });
        let keys = Keys { keys: Arc::new(kinds.collect()), ..Keys::default() };
        steps.push(test(fact(Fact::DestinationType, 4), keys, inverted));
    }
    Some(())
}

fn source_port() -> Bytes {
    (0..2).map(|at| Byte::of(Source::Transport(at))).collect()
}

fn destination_port() -> Bytes {
    (2..4).map(|at| Byte::of(Source::Transport(at))).collect()
}

/// Ranges of source and destination ports, the first flag for either to be meant the other way.
fn ports(info: Info<'_>, inverted: u8, steps: &mut Vec<Step>) -> Option<()> {
    for (offset, bytes, bit) in [(0, source_port(), 1), (4, destination_port(), 2)] {
        let (first, last) = (info.u16(offset)?, info.u16(offset + 2)?);
        let inverted = inverted & bit != 0;
        if (first, last, inverted) != (0, u16::MAX, false) {
            let keys = Keys::range(first.to_be_bytes().to_vec(), last.to_be_bytes().to_vec());
            steps.push(test(bytes, keys, inverted));
        }
    }
    Some(())
}

/// A type of control message, and a range of its codes.
fn control(info: Info<'_>, inverted: bool, steps: &mut Vec<Step>) -> Option<()> {
    let (kind, first, last) = (info.u8(0)?, info.u8(1)?, info.u8(2)?);
    let key = Key {
        first: vec![kind, first],
        last: vec![kind, last],
        fields: Arc::new(vec![(0, 1), (1, 1)]),
    };
    let keys = Keys { keys: Arc::new(vec![key]), ..Keys::default() };
    steps.push(test(source_port(), keys, inverted));
    Some(())
}

fn multiport(info: Info<'_>, steps: &mut Vec<Step>) -> Option<()> {
    const RANGES: usize = 32;
    const INVERTED: usize = 47;
    const SOURCE: u8 = 0;
    const DESTINATION: u8 = 1;
    let (which, count) = (info.u8(0)?, usize::from(info.u8(1)?));
    let port = |at: usize| info.u16(2 + 2 * at);
    let fields = Arc::new(vec![(0, 2)]);
    let mut keys = Vec::new();
    let mut at = 0;
    while at < count {
        let first = port(at)?;
        let is_range = info.revision > 0 && info.u8(RANGES + at)? != 0;
        at += usize::from(is_range);
        let last = port(at)?;
        at += 1;
        let (first, last) = (first.to_be_bytes().to_vec(), last.to_be_bytes().to_vec());
        keys.push(Key { first, last, fields: Arc::clone(&fields) });
    }
    let bytes = match which {
        SOURCE => source_port(),
        DESTINATION => destination_port(),
        // Either of both.
        _ => return None,
    };
    let inverted = info.revision > 0 && info.u8(INVERTED)? != 0;
    steps.push(test(bytes, Keys { keys: Arc::new(keys), ..Keys::default() }, inverted));
    Some(())
}

fn address_range(info: Info<'_>, steps: &mut Vec<Step>) -> Option<()> {
    const FLAGS: usize = 64;
    if info.revision != 1 {
        return None;
    }
    let flags = info.u8(FLAGS)?;
    for (is_source, offset, bit) in [(true, 0, 1), (false, 32, 2)] {
        if flags & bit != 0 {
            let (first, last) = (info.address(offset)?, info.address(offset + 16)?);
            let keys = Keys::range(first.to_vec(), last.to_vec());
            steps.push(test(address(info.is_ipv6, is_source), keys, flags & bit << 4 != 0));
        }
    }
    Some(())
}

fn device_group(info: Info<'_>, steps: &mut Vec<Step>) -> Option<()> {
    let flags = info.u32(0)?;
    let (input, output) = (Fact::Input(Interface::Group), Fact::Output(Interface::Group));
    for (what, offset, bit) in [(input, 4, 1), (output, 12, 4)] {
        if flags & bit != 0 {
            let (group, mask) = (info.at(offset, 4)?, info.at(offset + 4, 4)?);
            let keys = Keys::one(group.to_vec());
            steps.push(test(masked(fact(what, 4), mask), keys, flags & bit << 1 != 0));
        }
    }
    Some(())
}

/// What came in by a bridge's port, or leaves by one.
fn bridge_port(info: Info<'_>, steps: &mut Vec<Step>) -> Option<()> {
    const INVERTED: usize = 64;
    let (inverted, asked) = (info.u8(INVERTED)?, info.u8(INVERTED + 1)?);
    // Of other packets all that is asked for must be asked for the other way.
    let otherwise = asked & !inverted == 0;
    let bridged = test(fact(Fact::Bridge, 1), Keys::one(vec![1]), false);
    match otherwise {
        true => steps.push(Step::Perhaps),
        false => steps.extend([bridged, Step::Perhaps]),
    }
    Some(())
}

/// A look-up in an ipset.
fn set(info: Info<'_>, sets: &IpSets, steps: &mut Vec<Step>) -> Option<()> {
    const COUNTERS: usize = 40;
    let (index, count, flags) = match info.revision {
        1.. => (info.u16(0)?, info.u8(2)?, info.u8(3)?),
        0 => return None,
    };
    steps.push(sets.test(info.is_ipv6, index, (count, flags >> 1), flags & 1 != 0)?);
    if info.revision >= 3 && info.u32(COUNTERS)? != 0 {
        steps.push(Step::Perhaps);
    }
    Some(())
}
