//! Rules of nftables at an interface's ingress, run on a packet.
//!
//! A rule is given as the kernel gets it: netlink attributes, of which the expressions are a list. Names
//! and numbers are those of linux/netfilter/nf_tables.h, written down here once more: a test that took
//! them from the code it tests would agree with any mistake in them. Left out is what no rule of ours is
//! made of; a rule with anything else panics.

use std::collections::BTreeMap;

use spine_headers::ethernet;

/// What rules of a chain say of a packet: true if it is dropped. Each is its list of expressions
/// (NFTA_RULE_EXPRESSIONS); the chain accepts what no rule speaks of. `is_in_set` says of a set, by name,
/// whether it has an element.
///
/// # Panics
/// What is no rule that the kernel would take, or one that is not known here.
pub fn drops(rules: &[Vec<u8>], packet: &[u8], is_in_set: impl Fn(&str, &[u8]) -> bool) -> bool {
    let verdict = rules.iter().find_map(|rule| verdict(rule, packet, &is_in_set));
    verdict == Some(Verdict::Drop)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Drop,
    Accept,
}

/// Runs the expressions of a rule until one does not hold (`None`) or is a verdict.
fn verdict(
    rule: &[u8],
    packet: &[u8],
    is_in_set: &impl Fn(&str, &[u8]) -> bool,
) -> Option<Verdict> {
    // Registers by their number; the kernel's others are not used.
    let mut registers: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for (kind, expression) in attributes(rule) {
        assert_eq!(kind, 1, "NFTA_LIST_ELEM");
        let expression = Attributes::read(expression);
        let data = Attributes::read(expression.bytes(2));
        let holds = match expression.name(1) {
            "payload" => {
                let loaded = payload(packet, data.number(2), data.number(3), data.number(4))?;
                registers.insert(data.number(1), loaded.to_vec());
                true
            }
            "cmp" => {
                let value = Attributes::read(data.bytes(3));
                let order = registers[&data.number(1)].as_slice().cmp(value.bytes(1));
                match data.number(2) {
                    0 => order.is_eq(),
                    1 => order.is_ne(),
                    2 => order.is_lt(),
                    3 => order.is_le(),
                    4 => order.is_gt(),
                    5 => order.is_ge(),
                    other => panic!("no comparison: {other}"),
                }
            }
            "range" => {
                let (low, high) =
                    (Attributes::read(data.bytes(3)), Attributes::read(data.bytes(4)));
                let value = registers[&data.number(1)].as_slice();
                let is_inside = low.bytes(1) <= value && value <= high.bytes(1);
                // NFT_RANGE_EQ and NFT_RANGE_NEQ.
                is_inside == (data.number(2) == 0)
            }
            "lookup" => {
                let is_there = is_in_set(data.name(1), &registers[&data.number(2)]);
                let is_inverted = data.number_or_zero(5) & 1 != 0;
                is_there != is_inverted
            }
            "immediate" => {
                assert_eq!(data.number(1), 0, "NFT_REG_VERDICT");
                let verdict = Attributes::read(data.bytes(2));
                return Some(match Attributes::read(verdict.bytes(2)).number(1) {
                    0 => Verdict::Drop,
                    1 => Verdict::Accept,
                    other => panic!("no verdict: {other}"),
                });
            }
            other => panic!("an expression that is not known: {other}"),
        };
        if !holds {
            return None;
        }
    }
    None
}

/// Bytes of a packet, counted from one of its headers.
fn payload(packet: &[u8], base: u32, offset: u32, bytes: u32) -> Option<&[u8]> {
    let header = match base {
        0 => 0,
        1 => ethernet::BYTES,
        other => panic!("no header: {other}"),
    };
    let start = header + usize::try_from(offset).ok()?;
    packet.get(start..)?.get(..usize::try_from(bytes).ok()?)
}

/// Attributes by number.
struct Attributes<'a>(BTreeMap<u16, &'a [u8]>);

impl<'a> Attributes<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        Self(attributes(bytes).collect())
    }

    fn bytes(&self, kind: u16) -> &'a [u8] {
        self.0.get(&kind).unwrap_or_else(|| panic!("no attribute {kind}"))
    }

    fn number(&self, kind: u16) -> u32 {
        u32::from_be_bytes(self.bytes(kind).try_into().expect("four bytes"))
    }

    fn number_or_zero(&self, kind: u16) -> u32 {
        if self.0.contains_key(&kind) { self.number(kind) } else { 0 }
    }

    fn name(&self, kind: u16) -> &'a str {
        let bytes = self.bytes(kind).strip_suffix(&[0]).expect("a zero behind it");
        str::from_utf8(bytes).expect("a name")
    }
}

/// A list of attributes (struct nlattr): numbers without their flags, and payloads.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// NLA_TYPE_MASK: without "nested" and "network byte order".
    const KIND: u16 = 0x3fff;
    const HEADER: usize = 4;
    std::iter::from_fn(move || {
        let [l0, l1, k0, k1] = *bytes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let payload = bytes.get(HEADER..length).expect("as long as it says");
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((u16::from_ne_bytes([k0, k1]) & KIND, payload))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + payload.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn number(kind: u16, value: u32) -> Vec<u8> {
        attribute(kind, &value.to_be_bytes())
    }

    fn expression(name: &str, data: &[Vec<u8>]) -> Vec<u8> {
        let name = attribute(1, &[name.as_bytes(), &[0]].concat());
        attribute(1 | 0x8000, &[name, attribute(2 | 0x8000, &data.concat())].concat())
    }

    fn load(base: u32, offset: u32, bytes: u32) -> Vec<u8> {
        expression("payload", &[number(1, 1), number(2, base), number(3, offset), number(4, bytes)])
    }

    fn value(kind: u16, bytes: &[u8]) -> Vec<u8> {
        attribute(kind | 0x8000, &attribute(1, bytes))
    }

    fn say(code: u32) -> Vec<u8> {
        let verdict = attribute(2 | 0x8000, &attribute(2 | 0x8000, &number(1, code)));
        expression("immediate", &[number(1, 0), verdict])
    }

    /// Whether a rule that drops what this expression holds of drops a packet whose 15th byte is 5.
    fn drops_if(expression: Vec<u8>) -> bool {
        let mut packet = [0; 20];
        packet[15] = 5;
        drops(&[[load(1, 1, 1), expression, say(0)].concat()], &packet, |set, element| {
            set == "some" && element == [5]
        })
    }

    #[test]
    fn each_expression_holds_as_the_kernel_says() {
        let compare =
            |how, with| expression("cmp", &[number(1, 1), number(2, how), value(3, &[with])]);
        for (how, expected) in [
            (0, [false, true, false]),
            (1, [true, false, true]),
            (2, [false, false, true]),
            (3, [false, true, true]),
            (4, [true, false, false]),
            (5, [true, true, false]),
        ] {
            assert_eq!([4, 5, 6].map(|with| drops_if(compare(how, with))), expected, "{how}");
        }
        let range = |how, low, high| {
            let (low, high) = (value(3, &[low]), value(4, &[high]));
            drops_if(expression("range", &[number(1, 1), number(2, how), low, high]))
        };
        assert_eq!([range(0, 5, 6), range(0, 6, 7), range(0, 3, 4)], [true, false, false]);
        assert_eq!([range(1, 5, 6), range(1, 6, 7), range(1, 3, 4)], [false, true, true]);
        let look_up = |name: &[u8], flags| {
            drops_if(expression("lookup", &[attribute(1, name), number(2, 1), number(5, flags)]))
        };
        assert_eq!([look_up(b"some\0", 0), look_up(b"some\0", 1)], [true, false]);
        assert_eq!([look_up(b"other\0", 0), look_up(b"other\0", 1)], [false, true]);
    }

    #[test]
    fn rules_are_asked_in_order_and_a_packet_too_short_for_one_passes_it() {
        let nowhere = |_: &str, _: &[u8]| false;
        assert!(drops(&[say(0)], &[], nowhere));
        assert!(!drops(&[say(1), say(0)], &[], nowhere), "accepted before");
        assert!(!drops(&[], &[], nowhere), "the chain's policy");
        let long = [load(0, 14, 2), say(0)].concat();
        assert!(!drops(std::slice::from_ref(&long), &[0; 15], nowhere));
        assert!(drops(&[long], &[0; 16], nowhere));
    }
}
