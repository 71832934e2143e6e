//! What a comparison of bytes lets through: at least, and at most.

use super::way::{Assumption, Class, Field, Found, Way};
use crate::model::{Byte, Fact, Hook, Key, Keys, Source};
use crate::packets::{Family, Packets, Ports, Protocols};
use crate::region::{self, Region};

/// Packets that match: all that may are in `plus`, none that may not is in `minus`.
#[derive(Debug, Default)]
pub(super) struct Match {
    pub(super) plus: Region,
    pub(super) minus: Region,
}

/// What bytes being one of some keys, or none, means for packets at a hook; `marked` may have a mark.
pub(super) fn compare(
    way: &Way<'_>,
    hook: Hook,
    marked: &[Packets],
    (bytes, keys, inverted): (&[Byte], &Keys, bool),
) -> Match {
    let asks = |fact: fn(&Fact) -> bool| {
        bytes.iter().any(|byte| matches!(&byte.source, Source::Fact(asked, _) if fact(asked)))
    };
    let plain = Assumption { hook, unmarked: true, input_is_known: true };
    let mut found = under(way, plain, bytes, keys, inverted);
    if asks(|fact| matches!(fact, Fact::Input(_)))
        && matches!(hook, Hook::Postrouting | Hook::Egress)
    {
        // Kernels differ in whether they still say it there.
        let other = Assumption { input_is_known: false, ..plain };
        let other = under(way, other, bytes, keys, inverted);
        found.minus = region::common_at_most(&found.minus, &other.minus);
        region::add(&mut found.plus, &other.plus);
    }
    if !marked.is_empty() && asks(|fact| matches!(fact, Fact::Mark)) {
        let other = Assumption { unmarked: false, ..plain };
        let other = under(way, other, bytes, keys, inverted);
        found.minus = region::without_at_most(&found.minus, marked);
        region::add(&mut found.plus, &region::common_at_least(&other.plus, marked));
    }
    if keys.expire {
        // A key may be gone later.
        match inverted {
            true => found.plus = vec![Packets::all(way.family)],
            false => found.minus.clear(),
        }
    }
    if asks(|fact| matches!(fact, Fact::ConnectionMark)) {
        // For a packet without a connection the rule ends here.
        found.minus.clear();
    }
    found
}

/// Whether bytes are certain to be zero, for a packet without a mark.
pub(super) fn is_zero(way: &Way<'_>, hook: Hook, bytes: &[Byte]) -> bool {
    let plain = Assumption { hook, unmarked: true, input_is_known: true };
    let zero =
        |class: &Class| bytes.iter().all(|byte| way.find(*byte, class, plain) == Found::Known(0));
    way.classes(bytes).iter().all(zero)
}

fn under(way: &Way<'_>, assumed: Assumption, bytes: &[Byte], keys: &Keys, inverted: bool) -> Match {
    let mut all = Match::default();
    for class in way.classes(bytes) {
        let found: Vec<Found> = bytes.iter().map(|byte| way.find(*byte, &class, assumed)).collect();
        if found.contains(&Found::Absent) {
            continue;
        }
        let direct = direct(way.family, &class, bytes, &found, keys);
        let (plus, minus) = match inverted {
            false => (direct.plus, direct.minus),
            true => (
                region::without_at_least(&[class.packets], &direct.minus),
                region::without_at_most(&[class.packets], &direct.plus),
            ),
        };
        all.plus.extend(plus);
        all.minus.extend(minus);
    }
    all
}

fn direct(family: Family, class: &Class, bytes: &[Byte], found: &[Found], keys: &Keys) -> Match {
    let mut direct = Match::default();
    for key in keys.keys.iter() {
        let Some((packets, is_exact)) = with_key(family, class, bytes, found, key) else {
            continue;
        };
        if is_exact && direct.minus.len() < region::MOST {
            direct.minus.push(packets);
        }
        direct.plus.push(packets);
    }
    if keys.others {
        direct.plus = vec![class.packets];
    }
    region::reduce(&mut direct.plus, region::MOST);
    region::join(&mut direct.minus);
    direct
}

/// The packets of a class that have a key, if any, and whether these are exactly them.
fn with_key(
    family: Family,
    class: &Class,
    bytes: &[Byte],
    found: &[Found],
    key: &Key,
) -> Option<(Packets, bool)> {
    let mut so_far = (class.packets, true);
    if key.first == key.last {
        equal(family, &mut so_far, bytes, found, &key.first)?;
        return Some(so_far);
    }
    for &(start, length) in key.fields.iter() {
        let part = start..start.checked_add(length)?;
        let (first, last) = (key.first.get(part.clone())?, key.last.get(part.clone())?);
        let (bytes, found) = (bytes.get(part.clone())?, found.get(part)?);
        if first == last {
            equal(family, &mut so_far, bytes, found, first)?;
        } else if first.iter().any(|byte| *byte != 0) || last.iter().any(|byte| *byte != 0xff) {
            within(family, &mut so_far, bytes, found, first, last)?;
        }
    }
    Some(so_far)
}

type SoFar = (Packets, bool);

/// Narrows to packets whose bytes are these; `None` where there are none.
fn equal(
    family: Family,
    so_far: &mut SoFar,
    bytes: &[Byte],
    found: &[Found],
    value: &[u8],
) -> Option<()> {
    let mut at = 0;
    while at < value.len() {
        match found.get(at)? {
            Found::Known(known) if *known != value[at] => return None,
            Found::Known(_) => at += 1,
            Found::Part(field, 0) => {
                let more = found[at..].iter().enumerate();
                let length = more
                    .take_while(|(offset, found)| **found == Found::Part(*field, *offset))
                    .count()
                    .min(value.len() - at);
                let part = at..at + length;
                masked(family, so_far, *field, &bytes[part.clone()], &value[part])?;
                at += length;
            }
            // In the middle of a field: not a range.
            Found::Part(..) | Found::Unknown | Found::Absent => {
                so_far.1 = false;
                at += 1;
            }
        }
    }
    Some(())
}

/// Narrows to packets with a field of which some bits, from its beginning, are these.
fn masked(
    family: Family,
    so_far: &mut SoFar,
    field: Field,
    bytes: &[Byte],
    value: &[u8],
) -> Option<()> {
    let unseen = 8 * (field.width(family) - bytes.len());
    let number = |byte: fn(&Byte) -> u8| bytes.iter().fold(0, |n, b| n << 8 | u128::from(byte(b)));
    let mask = number(|byte| byte.and);
    let wanted = be(value) ^ number(|byte| byte.xor);
    if wanted & !mask != 0 {
        return None;
    }
    let bits = 8 * field.width(family);
    let mask = mask << unseen;
    // Bits from the top of the field that are all looked at.
    let top = (mask << (128 - bits)).leading_ones();
    let host = (u128::MAX >> (128 - bits)).checked_shr(top).unwrap_or(0);
    so_far.1 &= mask & host == 0;
    let first = (wanted << unseen) & !host;
    so_far.0 = narrow(&so_far.0, field, first, first | host)?;
    Some(())
}

/// Narrows to packets whose bytes are from one value to another.
fn within(
    family: Family,
    so_far: &mut SoFar,
    bytes: &[Byte],
    found: &[Found],
    first: &[u8],
    last: &[u8],
) -> Option<()> {
    let known: Option<Vec<u8>> = found
        .iter()
        .map(|found| if let Found::Known(value) = found { Some(*value) } else { None })
        .collect();
    if let Some(known) = known {
        return (first <= known.as_slice() && known.as_slice() <= last).then_some(());
    }
    let plain = bytes.iter().all(|byte| (byte.and, byte.xor) == (0xff, 0));
    match found[0] {
        Found::Part(field, 0)
            if plain
                && found.len() <= field.width(family)
                && found.iter().enumerate().all(|(at, found)| *found == Found::Part(field, at)) =>
        {
            let unseen = 8 * (field.width(family) - found.len());
            let (low, high) = (be(first) << unseen, be(last) << unseen | ((1_u128 << unseen) - 1));
            so_far.0 = narrow(&so_far.0, field, low, high)?;
        }
        _ => so_far.1 = false,
    }
    Some(())
}

fn be(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// The packets of a set whose field is in a range.
fn narrow(packets: &Packets, field: Field, first: u128, last: u128) -> Option<Packets> {
    let mut range = Packets { ..*packets };
    let port = |number: u128| u16::try_from(number).unwrap_or(u16::MAX);
    let ports = Ports { first: port(first), last: port(last) };
    match field {
        Field::Protocol => {
            let number = |number: u128| u8::try_from(number).unwrap_or(u8::MAX);
            let all = number(first)..=number(last);
            range.protocols = all.fold(Protocols::NONE, |all, one| all.or(Protocols::one(one)));
        }
        Field::Source => (range.source.first, range.source.last) = (first, last),
        Field::Destination => (range.destination.first, range.destination.last) = (first, last),
        Field::SourcePort | Field::Type => range.source_ports = ports,
        Field::DestinationPort | Field::Code => range.destination_ports = ports,
    }
    packets.and(&range)
}
