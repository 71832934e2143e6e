//! ipsets, which rules of iptables look up by number.
//!
//! Asked of the kernel by netlink (subsystem 6). It announces nothing of them, so whoever keeps a copy asks again now and then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use netlink_sys::protocols::NETLINK_NETFILTER;
use spine_nic::netlink::socket::{NetlinkError, NetlinkSocket};
use spine_nic::netlink::wire::{Raw, attribute, attributes, text};

use crate::model::{Byte, Bytes, Fact, Key, Keys, Source, Step, Test, address};

const LIST: u16 = 6 << 8 | 7;
/// Since Linux 4.20; the first that says a set's number.
const PROTOCOL_VERSION: u8 = 7;
/// struct nfgenmsg.
const HEADER_BYTES: usize = 4;

const PROTOCOL: u16 = 1;
const NAME: u16 = 2;
const TYPE: u16 = 3;
const FAMILY: u16 = 5;
const DATA: u16 = 7;
const ELEMENTS: u16 = 8;
const INDEX: u16 = 11;

const IP: u16 = 1;
const IP_TO: u16 = 2;
const CIDR: u16 = 3;
const PORT: u16 = 4;
const PORT_TO: u16 = 5;
const TIMEOUT: u16 = 6;
const TRANSPORT: u16 = 7;
const FLAGS: u16 = 8;
const IP2: u16 = 20;
const CIDR2: u16 = 21;
const IP2_TO: u16 = 22;
const NETMASK: u16 = 20;
const NOT_A_MATCH: u32 = 4;

/// All sets, by number.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct IpSets(BTreeMap<u16, IpSet>);

#[derive(Debug, Default, PartialEq, Eq)]
struct IpSet {
    /// `hash:ip,port`.
    kind: String,
    is_ipv6: bool,
    expires: bool,
    /// The length of the prefix that elements stand for, where they do not say it.
    netmask: Option<u8>,
    /// Where something takes elements out that others put in, or more is compared than is known here.
    is_inexact: bool,
    /// Each with a range for each of its addresses and ports.
    elements: Vec<Vec<(Vec<u8>, Vec<u8>)>>,
}

/// What a set tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Address,
    Port,
    /// Known not to be looked at here.
    Other,
}

impl IpSets {
    /// Reads all.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub(crate) fn read() -> Result<Self, NetlinkError> {
        const ANY_FAMILY: u8 = 2;
        let mut socket = NetlinkSocket::open(NETLINK_NETFILTER)?;
        let mut request = vec![ANY_FAMILY, 0, 0, 0];
        request.extend(attribute(PROTOCOL, &[PROTOCOL_VERSION]));
        let messages = socket.dump("ipsets", LIST, &request, |raw: Raw<'_>| {
            (raw.kind == LIST).then(|| raw.payload.get(HEADER_BYTES..).map(<[u8]>::to_vec))?
        })?;
        let mut sets: HashMap<String, (Option<u16>, IpSet)> = HashMap::new();
        for message in &messages {
            part_of_set(message, &mut sets);
        }
        let numbered = sets.into_values().filter_map(|(index, set)| Some((index?, set)));
        Ok(Self(numbered.collect()))
    }

    /// Whether there are none: then no rule looks into one.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A look-up of so many parts, the bits of `sources` saying of which the packet's source is meant.
    pub(crate) fn test(
        &self,
        is_ipv6: bool,
        index: u16,
        (count, sources): (u8, u8),
        inverted: bool,
    ) -> Option<Step> {
        let set = self.0.get(&index)?;
        let parts = set.parts()?;
        if set.is_ipv6 != is_ipv6 && parts.contains(&Part::Address) {
            // Nothing of the other family is in it.
            return Some(if inverted { Step::Count } else { Step::Never });
        }
        let mut bytes = Bytes::new();
        let mut fields = Vec::new();
        for (at, part) in parts.iter().take(usize::from(count)).enumerate() {
            let is_source = sources & 1 << at != 0;
            let more = match part {
                Part::Address => address(is_ipv6, is_source),
                Part::Port => port(is_source),
                Part::Other => continue,
            };
            // A port's protocol is a field of its own.
            let length = more.len();
            let start = bytes.len();
            match part {
                Part::Port => fields.extend([(start, 1), (start + 1, 2)]),
                _ => fields.push((start, length)),
            }
            bytes.extend(more);
        }
        if usize::from(count) < parts.len() {
            return None;
        }
        let fields = Arc::new(fields);
        let key = |element: &Vec<(Vec<u8>, Vec<u8>)>| Key {
            first: element.iter().flat_map(|(first, _)| first.clone()).collect(),
            last: element.iter().flat_map(|(_, last)| last.clone()).collect(),
            fields: Arc::clone(&fields),
        };
        let keys = Keys {
            keys: Arc::new(set.elements.iter().map(key).collect()),
            others: false,
            expire: set.expires || set.is_inexact,
        };
        Some(Step::Test(Test { bytes, keys, inverted }))
    }
}

/// A protocol and a port.
fn port(is_source: bool) -> Bytes {
    let start = if is_source { 0 } else { 2 };
    let protocol = Byte::of(Source::Fact(Fact::L4Proto, 0));
    let port = (start..start + 2).map(|at| Byte::of(Source::Transport(at)));
    [protocol].into_iter().chain(port).collect()
}

impl IpSet {
    /// `None` for a kind that is not understood.
    fn parts(&self) -> Option<Vec<Part>> {
        let (_, parts) = self.kind.split_once(':')?;
        let part = |word: &str| match word {
            "ip" | "net" => Some(Part::Address),
            "port" => Some(Part::Port),
            "iface" | "mark" => Some(Part::Other),
            _ => None,
        };
        parts.split(',').map(part).collect()
    }

    fn add(&mut self, element: &[u8]) {
        let find = |wanted| attributes(element).find(|(kind, _)| *kind == wanted).map(|(_, v)| v);
        let flags = find(FLAGS).and_then(|v| v.first_chunk()).map_or(0, |v| u32::from_be_bytes(*v));
        self.expires |= find(TIMEOUT).is_some();
        if flags & NOT_A_MATCH != 0 {
            self.is_inexact = true;
            return;
        }
        let Some(parts) = self.parts() else { return };
        self.is_inexact |= parts.contains(&Part::Other);
        let mut ranges = Vec::new();
        let mut addresses = [(IP, IP_TO, CIDR), (IP2, IP2_TO, CIDR2)].into_iter();
        for part in parts {
            match part {
                Part::Address => {
                    let Some((from, to, cidr)) = addresses.next() else { return };
                    let Some(first) = find(from).and_then(ip) else { return };
                    let length = find(cidr).and_then(|v| v.first().copied()).or(self.netmask);
                    let last = match find(to).and_then(ip) {
                        Some(last) => last,
                        None => end_of(&first, length),
                    };
                    ranges.push((first, last));
                }
                Part::Port => {
                    let number = |v: Option<&[u8]>| Some(*v?.first_chunk::<2>()?);
                    let Some(first) = number(find(PORT)) else { return };
                    let last = number(find(PORT_TO)).unwrap_or(first);
                    let protocol = find(TRANSPORT).and_then(|v| v.first().copied());
                    ranges.push(match protocol {
                        Some(protocol) => (vec![protocol], vec![protocol]),
                        // Of TCP and UDP alike.
                        None => (vec![0], vec![0xff]),
                    });
                    ranges.push((first.to_vec(), last.to_vec()));
                }
                Part::Other => {}
            }
        }
        self.elements.push(ranges);
    }
}

fn part_of_set(message: &[u8], sets: &mut HashMap<String, (Option<u16>, IpSet)>) {
    let find = |wanted| attributes(message).find(|(kind, _)| *kind == wanted).map(|(_, v)| v);
    let Some(name) = find(NAME).map(text) else { return };
    let (index, set) = sets.entry(name).or_default();
    if let Some(kind) = find(TYPE) {
        const IPV6: u8 = 10;
        set.kind = text(kind);
        set.is_ipv6 = find(FAMILY).and_then(|v| v.first().copied()) == Some(IPV6);
        *index = find(INDEX).and_then(|v| v.first_chunk()).map(|v| u16::from_be_bytes(*v));
        for (kind, value) in attributes(find(DATA).unwrap_or_default()) {
            match kind {
                NETMASK => set.netmask = value.first().copied(),
                TIMEOUT => set.expires = true,
                _ => {}
            }
        }
    }
    for (_, element) in attributes(find(ELEMENTS).unwrap_or_default()) {
        set.add(element);
    }
}

/// The address in an attribute of one.
fn ip(value: &[u8]) -> Option<Vec<u8>> {
    attributes(value).next().map(|(_, address)| address.to_vec())
}

/// The last address of a prefix.
fn end_of(first: &[u8], length: Option<u8>) -> Vec<u8> {
    let Some(length) = length.map(usize::from) else { return first.to_vec() };
    let host = |at: usize| {
        0xff_u8.checked_shr(u32::try_from(length.saturating_sub(8 * at)).unwrap_or(8)).unwrap_or(0)
    };
    first.iter().enumerate().map(|(at, byte)| byte | host(at)).collect()
}

#[cfg(test)]
mod tests {
    use spine_nic::netlink::wire::nested;

    use super::*;

    fn set(kind: &str, elements: &[Vec<u8>]) -> IpSets {
        let elements: Vec<u8> = elements.iter().flat_map(|element| nested(DATA, element)).collect();
        let message = [
            attribute(NAME, b"s\0"),
            attribute(TYPE, &[kind.as_bytes(), &[0]].concat()),
            attribute(FAMILY, &[2]),
            attribute(INDEX, &7_u16.to_be_bytes()),
            nested(ELEMENTS, &elements),
        ];
        let mut sets = HashMap::new();
        part_of_set(&message.concat(), &mut sets);
        IpSets(sets.into_values().filter_map(|(index, set)| Some((index?, set))).collect())
    }

    fn address_of(address: [u8; 4], length: u8) -> Vec<u8> {
        [nested(IP, &attribute(1, &address)), attribute(CIDR, &[length])].concat()
    }

    #[test]
    fn an_element_is_a_range_of_what_the_rule_looks_at() {
        let sets = set("hash:net", &[address_of([10, 244, 0, 0], 14)]);
        let Some(Step::Test(test)) = sets.test(false, 7, (1, 1), false) else { panic!("a test") };
        assert_eq!(test.keys.keys[0].last, [10, 247, 255, 255]);
        assert_eq!(test.bytes, address(false, true));
        let Some(Step::Test(test)) = sets.test(false, 7, (1, 0), true) else { panic!("a test") };
        assert_eq!((test.bytes, test.inverted), (address(false, false), true));
        assert!(matches!(sets.test(true, 7, (1, 1), false), Some(Step::Never)), "IPv6");
        assert!(sets.test(false, 8, (1, 1), false).is_none(), "there is no such set");
    }

    #[test]
    fn an_exception_leaves_what_it_is_of_uncertain() {
        let flags = attribute(FLAGS, &NOT_A_MATCH.to_be_bytes());
        let but = [address_of([10, 1, 0, 0], 16), flags].concat();
        let sets = set("hash:net", &[address_of([10, 0, 0, 0], 8), but]);
        let Some(Step::Test(test)) = sets.test(false, 7, (1, 1), false) else { panic!("a test") };
        assert_eq!((test.keys.keys.len(), test.keys.expire), (1, true));
    }

    #[test]
    fn a_kind_that_is_not_understood_is_no_test() {
        assert!(set("list:set", &[]).test(false, 7, (1, 1), false).is_none());
    }
}
