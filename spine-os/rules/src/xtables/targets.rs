//! What a target does. Those that give a verdict of the standard kind are not structures, and not here.

use super::{Info, Tracks, fact, masked};
use crate::model::{Byte, Fact, Nat, NatTo, NewAddress, Source, Step};

/// Adds what a target does.
pub(crate) fn add(info: Info<'_>, steps: &mut Vec<Step>) -> Tracks {
    match known(info, steps) {
        Some(tracks) => tracks,
        None => {
            steps.push(Step::Keep(info.name.into()));
            true
        }
    }
}

/// `None` where it is not understood.
fn known(info: Info<'_>, steps: &mut Vec<Step>) -> Option<Tracks> {
    match info.name {
        "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT" | "NETMAP" => {
            steps.push(Step::Nat(nat(info)?));
            return Some(true);
        }
        "MARK" => {
            let (mark, mask) = (info.at(0, 4)?, info.at(4, 4)?);
            if info.revision != 2 {
                return None;
            }
            steps.push(Step::Mark(changed(Fact::Mark, mark, mask)));
        }
        "HMARK" => steps.push(Step::Mark(vec![Byte::of(Source::Unknown)])),
        "CONNMARK" => {
            connection_mark(info, steps)?;
            return Some(true);
        }
        "CT" => {
            const WITHOUT: u16 = 1;
            return Some(info.u16(0)? & WITHOUT == 0);
        }
        "CONNSECMARK" => return Some(true),
        "NOTRACK" | "SECMARK" | "TRACE" => {}
        "IDLETIMER" | "LED" | "RATEEST" | "SET" => steps.push(Step::Count),
        "LOG" | "NFLOG" | "AUDIT" => steps.push(Step::Log(info.name.into())),
        "REJECT" | "NFQUEUE" | "TEE" | "CLASSIFY" | "TCPMSS" | "DSCP" | "TOS" | "TTL" | "HL"
        | "ECN" | "CHECKSUM" | "TCPOPTSTRIP" | "SNPT" | "DNPT" => {
            steps.push(Step::Keep(info.name.into()));
        }
        // Among them TPROXY and SYNPROXY, which collect fragments.
        _ => return None,
    }
    Some(false)
}

/// Of what is there, what the mask does not have, and then this changed.
fn changed(what: Fact, value: &[u8], mask: &[u8]) -> Vec<Byte> {
    let kept: Vec<u8> = mask.iter().map(|byte| !byte).collect();
    let mut bytes = masked(fact(what, 4), &kept);
    for (byte, value) in bytes.iter_mut().zip(value) {
        byte.xor = *value;
    }
    bytes
}

fn connection_mark(info: Info<'_>, steps: &mut Vec<Step>) -> Option<()> {
    const SET: u8 = 0;
    const SAVE: u8 = 1;
    const RESTORE: u8 = 2;
    let (value, mask, of_packet) = (info.at(0, 4)?, info.at(4, 4)?, info.at(8, 4)?);
    let mode = match info.revision {
        1 => info.u8(12)?,
        2 => info.u8(14)?,
        _ => return None,
    };
    // A shift leaves nothing where nothing is.
    steps.push(match mode {
        SET => Step::ConnectionMark(changed(Fact::ConnectionMark, value, mask)),
        SAVE => Step::ConnectionMark(masked(fact(Fact::Mark, 4), of_packet)),
        RESTORE => Step::Mark(masked(fact(Fact::ConnectionMark, 4), mask)),
        _ => return None,
    });
    Some(())
}

/// struct nf_nat_range, or the older one that only IPv4 has.
fn nat(info: Info<'_>) -> Option<Nat> {
    const ADDRESSES: u32 = 1;
    const PORTS: u32 = 2;
    const FROM_A_BASE: u32 = 32;
    let is_older = !info.is_ipv6 && info.revision == 0;
    let (flags, first, last, ports) = match is_older {
        true => (info.u32(4)?, info.at(8, 4)?, info.at(12, 4)?, 16),
        false => (info.u32(0)?, info.address(4)?, info.address(20)?, 36),
    };
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u128::from(*byte));
    let addresses = (flags & ADDRESSES != 0).then(|| (info.is_ipv6, number(first), number(last)));
    let ports = match flags & (PORTS | FROM_A_BASE) {
        0 => None,
        PORTS => Some((info.be16(ports)?, info.be16(ports + 2)?)),
        _ => Some((0, u16::MAX)),
    };
    let new = vec![NewAddress { addresses, ports }];
    let to = match info.name {
        "DNAT" => NatTo::Destination(new),
        "SNAT" => NatTo::Source(new),
        "NETMAP" => NatTo::Either(new),
        _ => NatTo::Local,
    };
    Some(Nat { name: info.name.into(), to })
}
