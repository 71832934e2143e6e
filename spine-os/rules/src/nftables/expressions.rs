//! Expressions of a rule, as steps.
//!
//! The kernel's expressions work on registers. Here a register holds where each of its bytes comes from, so that what a
//! comparison is about can be said when it is met, whatever nft made of it: parts of an address, two fields
//! loaded as one, a mask, a concatenation.

use std::sync::Arc;

use spine_nic::netlink::wire::{attributes, be32_at, text};

use super::numbers as n;
use super::read::{self, Data};
use super::sets::{Set, after, before};
use crate::model::{
    Byte, Bytes, Choice, Fact, Interface, Keys, Nat, NatTo, NewAddress, Source, Step, Test, Verdict,
};

/// All registers together: four of sixteen bytes, or sixteen of four.
const REGISTER_BYTES: usize = 64;
const VERDICT_REGISTER: u32 = 0;

/// What expressions may speak of beside themselves.
pub(super) trait Surroundings {
    /// A set of the rule's table, and its number.
    fn set(&self, name: &str) -> Option<(usize, &Set)>;
    /// The set of this number.
    fn mapped(&self, number: usize) -> Option<&Set>;
    /// A chain of the rule's table.
    fn chain(&self, name: &str) -> Option<usize>;
    /// An expression written for iptables.
    fn compat(&mut self, name: &str, data: &[u8], steps: &mut Vec<Step>);
    /// Connection tracking is used, for IPv4 and IPv6 as far as the table's family goes or, if given, for one.
    fn tracks(&mut self, ipv6: Option<bool>);
}

/// The steps of a rule from its list of expressions.
pub(super) fn steps(list: &[u8], around: &mut impl Surroundings) -> Vec<Step> {
    let mut rule =
        Rule { registers: [Byte::of(Source::Unknown); REGISTER_BYTES], steps: Vec::new() };
    for (_, value) in attributes(list).filter(|(kind, _)| *kind == n::expression::LIST_ELEMENT) {
        let body = Body(value);
        let name = body.find(n::expression::NAME).map(text).unwrap_or_default();
        let data = Body(body.find(n::expression::DATA).unwrap_or_default());
        if rule.expression(&name, data, around).is_none() {
            rule.keep(&format!("{name} (not understood)"));
        }
    }
    rule.steps
}

/// The attributes of an expression.
#[derive(Clone, Copy)]
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn find(self, wanted: u16) -> Option<&'a [u8]> {
        attributes(self.0).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    fn number(self, wanted: u16) -> Option<u32> {
        be32_at(self.find(wanted)?, 0)
    }

    fn value(self, wanted: u16) -> Option<Vec<u8>> {
        match read::data(self.find(wanted)?)? {
            Data::Value(value) => Some(value),
            Data::Verdict(..) => None,
        }
    }
}

struct Rule {
    registers: [Byte; REGISTER_BYTES],
    steps: Vec<Step>,
}

/// `None` where an expression says something that is not understood.
type Understood = Option<()>;

impl Rule {
    fn expression(
        &mut self,
        name: &str,
        body: Body<'_>,
        around: &mut impl Surroundings,
    ) -> Understood {
        match name {
            "meta" => self.meta(body),
            "payload" => self.payload(body),
            "exthdr" => self.header_option(body),
            "ct" => {
                around.tracks(None);
                self.connection(body)
            }
            "fib" => self.fib(body),
            "socket" => {
                around.tracks(None);
                self.load(body.number(2)?, vec![Byte::of(Source::Fact(Fact::Socket, 0)); 8])
            }
            "lookup" => self.lookup(body, around),
            "cmp" => self.compare(body),
            "range" => self.range(body),
            "bitwise" => self.bitwise(body),
            "byteorder" => self.byte_order(body),
            "immediate" => self.immediate(body, around),
            "counter" => self.push(Step::Count),
            "last" | "notrack" => Some(()),
            "limit" | "quota" => self.push(Step::Perhaps),
            "dynset" => {
                let expressions = [body.find(7), body.find(10)].into_iter().flatten();
                if expressions.into_iter().any(|list| holds(list, b"connlimit")) {
                    around.tracks(None);
                }
                self.push(Step::Perhaps)
            }
            "connlimit" | "flow_offload" => {
                around.tracks(None);
                self.connection_unknown();
                self.push(Step::Perhaps)
            }
            "objref" => self.object(body, around),
            "numgen" | "hash" | "rt" | "osf" | "xfrm" | "tunnel" | "inner" => {
                self.unknown_load(name, body)
            }
            "log" => self.push(Step::Log("log".into())),
            "masq" => {
                around.tracks(None);
                self.nat("masquerade", NatTo::Local)
            }
            "redir" => {
                around.tracks(None);
                self.nat("redirect", NatTo::Local)
            }
            "nat" => self.translate(body, around),
            "synproxy" | "tproxy" => {
                around.tracks(None);
                self.keep(name)
            }
            "match" | "target" => {
                around.compat(name, body.0, &mut self.steps);
                Some(())
            }
            other => self.keep(other),
        }
    }

    fn push(&mut self, step: Step) -> Understood {
        self.steps.push(step);
        Some(())
    }

    fn keep(&mut self, what: &str) -> Understood {
        self.push(Step::Keep(what.into()))
    }

    fn test(&mut self, bytes: Bytes, keys: Keys, inverted: bool) -> Understood {
        self.push(Step::Test(Test { bytes, keys, inverted }))
    }

    /// Depends on the connection, in a way that is not looked into.
    fn connection_unknown(&mut self) {
        let bytes = vec![Byte::of(Source::Fact(Fact::Connection, 0))];
        self.steps.push(Step::Test(Test { bytes, keys: Keys::any(), inverted: false }));
    }

    /// Puts bytes into a register; what is left of its last four bytes is zero.
    fn load(&mut self, register: u32, mut bytes: Bytes) -> Understood {
        bytes.resize(bytes.len().next_multiple_of(4), Byte::constant(0));
        let start = position(register)?;
        self.registers.get_mut(start..start + bytes.len())?.copy_from_slice(&bytes);
        Some(())
    }

    fn read(&self, register: u32, length: usize) -> Option<Bytes> {
        let start = position(register)?;
        Some(self.registers.get(start..start.checked_add(length)?)?.to_vec())
    }

    fn load_fact(&mut self, register: u32, fact: Fact, length: u8) -> Understood {
        let bytes = (0..length).map(|at| Byte::of(Source::Fact(fact, at)));
        self.load(register, bytes.collect())
    }

    fn unknown_load(&mut self, name: &str, body: Body<'_>) -> Understood {
        let register = match name {
            "hash" | "tunnel" => 2,
            "inner" => return self.inner(body),
            _ => 1,
        };
        self.load(body.number(register)?, vec![Byte::of(Source::Unknown); 16])
    }

    /// A load from within a tunnel.
    fn inner(&mut self, body: Body<'_>) -> Understood {
        const EXPRESSION: u16 = 5;
        let inner = Body(body.find(EXPRESSION)?);
        let data = Body(inner.find(n::expression::DATA)?);
        self.load(data.number(1)?, vec![Byte::of(Source::Unknown); 16])
    }

    fn meta(&mut self, body: Body<'_>) -> Understood {
        const MARK: u32 = 3;
        const TRACE: u32 = 12;
        let (register, key, stored) = (body.number(1), body.number(2)?, body.number(3));
        if let Some(stored) = stored {
            return match key {
                MARK => {
                    let mark = self.read(stored, 4)?;
                    self.push(Step::Mark(mark))
                }
                TRACE => Some(()),
                _ => self.keep("changes what the kernel knows of the packet (meta set)"),
            };
        }
        let (fact, length) = match key {
            1 => (Fact::EtherType, 2),
            MARK => (Fact::Mark, 4),
            4 => (Fact::Input(Interface::Index), 4),
            5 => (Fact::Output(Interface::Index), 4),
            6 => (Fact::Input(Interface::Name), 16),
            7 => (Fact::Output(Interface::Name), 16),
            8 => (Fact::Input(Interface::LinkLayer), 2),
            9 => (Fact::Output(Interface::LinkLayer), 2),
            10 | 11 | 23 => (Fact::Socket, 4),
            15 => (Fact::Nfproto, 1),
            16 => (Fact::L4Proto, 1),
            19 => (Fact::PacketType, 1),
            21 => (Fact::Input(Interface::Group), 4),
            22 => (Fact::Output(Interface::Group), 4),
            25 => (Fact::SecurityPath, 1),
            26 => (Fact::Input(Interface::Kind), 16),
            27 => (Fact::Output(Interface::Kind), 16),
            _ => return self.load(register?, vec![Byte::of(Source::Unknown); 16]),
        };
        self.load_fact(register?, fact, length)
    }

    fn payload(&mut self, body: Body<'_>) -> Understood {
        const NETWORK: u32 = 1;
        const TRANSPORT: u32 = 2;
        if body.number(5).is_some() {
            return self.keep("changes the packet (payload set)");
        }
        let (base, offset, length) = (body.number(2)?, body.number(3)?, body.number(4)?);
        let source = |at: u32| {
            let at = offset.checked_add(at).and_then(|at| u16::try_from(at).ok());
            match (base, at) {
                (NETWORK, Some(at)) => Source::Network(at),
                (TRANSPORT, Some(at)) => Source::Transport(at),
                _ => Source::Unknown,
            }
        };
        if usize::try_from(length).ok()? > REGISTER_BYTES {
            return None;
        }
        self.load(body.number(1)?, (0..length).map(|at| Byte::of(source(at))).collect())
    }

    fn header_option(&mut self, body: Body<'_>) -> Understood {
        const IPV6: u32 = 0;
        const FRAGMENT: u8 = 44;
        const PRESENT: u32 = 1;
        let (register, stored) = (body.number(1), body.number(7));
        let Some(register) = register.filter(|_| stored.is_none()) else {
            return self.keep("changes a header option (exthdr set)");
        };
        let kind = *body.find(2)?.first()?;
        let is_present = body.number(5).unwrap_or(0) & PRESENT != 0;
        let fact = match (body.number(6).unwrap_or(IPV6), kind) {
            (IPV6, FRAGMENT) => Fact::FragmentHeader,
            (IPV6, _) => Fact::ExtensionHeader,
            _ => {
                self.push(Step::Perhaps);
                return self.load(register, vec![Byte::of(Source::Unknown); 16]);
            }
        };
        if is_present {
            return self.load_fact(register, fact, 1);
        }
        // Without the header the rule ends here.
        self.test(vec![Byte::of(Source::Fact(fact, 0))], Keys::one(vec![1]), false);
        self.load(register, vec![Byte::of(Source::Unknown); 16])
    }

    fn connection(&mut self, body: Body<'_>) -> Understood {
        const MARK: u32 = 3;
        let (key, stored) = (body.number(2)?, body.number(4));
        match (stored, key) {
            (Some(stored), MARK) => {
                let mark = self.read(stored, 4)?;
                self.push(Step::ConnectionMark(mark))
            }
            // What is set is seen by whoever asks for the connection's state.
            (Some(_), _) => Some(()),
            (None, MARK) => self.load_fact(body.number(1)?, Fact::ConnectionMark, 4),
            (None, _) => self.load_fact(body.number(1)?, Fact::Connection, 16),
        }
    }

    fn fib(&mut self, body: Body<'_>) -> Understood {
        const ADDRESS_TYPE: u32 = 3;
        const DESTINATION: u32 = 2;
        let register = body.number(1)?;
        match (body.number(2)?, body.number(3)? & DESTINATION != 0) {
            (ADDRESS_TYPE, true) => self.load_fact(register, Fact::DestinationType, 4),
            _ => self.load(register, vec![Byte::of(Source::Unknown); 16]),
        }
    }

    fn lookup(&mut self, body: Body<'_>, around: &impl Surroundings) -> Understood {
        let (number, set) = around.set(&text(body.find(1)?))?;
        let bytes = self.read(body.number(2)?, set.key_length)?;
        let inverted = body.number(5).unwrap_or(0) & 1 != 0;
        let Some(register) = body.number(3) else {
            return self.test(bytes, set.keys.clone(), inverted);
        };
        if register == VERDICT_REGISTER {
            let choices = choices(set, around);
            return self.push(Step::Map(bytes, Arc::new(choices)));
        }
        self.test(bytes, set.keys.clone(), inverted);
        self.load(register, (0..16).map(|at| Byte::of(Source::Mapped(number, at))).collect())
    }

    fn compare(&mut self, body: Body<'_>) -> Understood {
        let (how, value) = (body.number(2)?, body.value(3)?);
        let bytes = self.read(body.number(1)?, value.len())?;
        let (lowest, highest) = (vec![0; value.len()], vec![0xff; value.len()]);
        let keys = |first: Option<Vec<u8>>, last: Option<Vec<u8>>| match (first, last) {
            (Some(first), Some(last)) => Keys::range(first, last),
            _ => Keys::default(),
        };
        let (keys, inverted) = match how {
            0 => (Keys::one(value), false),
            1 => (Keys::one(value), true),
            2 => (keys(Some(lowest), before(&value)), false),
            3 => (Keys::range(lowest, value), false),
            4 => (keys(after(&value), Some(highest)), false),
            5 => (Keys::range(value, highest), false),
            _ => return None,
        };
        self.test(bytes, keys, inverted)
    }

    fn range(&mut self, body: Body<'_>) -> Understood {
        let (first, last) = (body.value(3)?, body.value(4)?);
        if first.len() != last.len() {
            return None;
        }
        let bytes = self.read(body.number(1)?, first.len())?;
        self.test(bytes, Keys::range(first, last), body.number(2)? == 1)
    }

    fn bitwise(&mut self, body: Body<'_>) -> Understood {
        const MASK_AND_XOR: u32 = 0;
        let length = usize::try_from(body.number(3)?).ok()?;
        let mut bytes = self.read(body.number(1)?, length)?;
        match (body.number(6).unwrap_or(MASK_AND_XOR), body.value(4), body.value(5)) {
            (MASK_AND_XOR, Some(mask), Some(xor))
                if (mask.len(), xor.len()) == (length, length) =>
            {
                for ((byte, mask), xor) in bytes.iter_mut().zip(mask).zip(xor) {
                    byte.and &= mask;
                    byte.xor = (byte.xor & mask) ^ xor;
                }
            }
            _ => {
                let about = |byte: &Byte| {
                    matches!(byte.source, Source::Fact(Fact::Connection | Fact::ConnectionMark, _))
                };
                let source = match bytes.iter().any(about) {
                    true => Source::Fact(Fact::Connection, 0),
                    false => Source::Unknown,
                };
                bytes = vec![Byte::of(source); length];
            }
        }
        self.load(body.number(2)?, bytes)
    }

    fn byte_order(&mut self, body: Body<'_>) -> Understood {
        let length = usize::try_from(body.number(4)?).ok()?;
        let size = usize::try_from(body.number(5)?).ok().filter(|size| *size > 0)?;
        let mut bytes = self.read(body.number(1)?, length)?;
        if cfg!(target_endian = "little") {
            bytes.chunks_mut(size).for_each(<[Byte]>::reverse);
        }
        self.load(body.number(2)?, bytes)
    }

    fn immediate(&mut self, body: Body<'_>, around: &impl Surroundings) -> Understood {
        match read::data(body.find(2)?)? {
            Data::Value(value) => {
                self.load(body.number(1)?, value.into_iter().map(Byte::constant).collect())
            }
            Data::Verdict(code, chain) => self.push(Step::Verdict(verdict(code, &chain, around))),
        }
    }

    fn object(&mut self, body: Body<'_>, around: &mut impl Surroundings) -> Understood {
        let (kind, by_map) = match (body.number(1), body.find(5).map(text)) {
            (Some(kind), _) => (kind, None),
            (None, Some(map)) => {
                let (_, set) = around.set(&map)?;
                let bytes = self.read(body.number(3)?, set.key_length)?;
                (set.object?, Some((bytes, set.keys.clone())))
            }
            _ => return None,
        };
        if let Some((bytes, keys)) = by_map {
            self.test(bytes, keys, false);
        }
        match kind {
            // A counter; a security mark.
            1 => self.push(Step::Count),
            8 => Some(()),
            // A quota or a limit.
            2 | 4 => self.push(Step::Perhaps),
            // What concerns the connection: a helper, a timeout, an expectation.
            3 | 7 | 9 => {
                around.tracks(None);
                Some(())
            }
            5 => {
                around.tracks(None);
                self.connection_unknown();
                self.push(Step::Perhaps)
            }
            _ => {
                around.tracks(None);
                self.keep("synproxy, tunnel or another object")
            }
        }
    }

    fn nat(&mut self, name: &str, to: NatTo) -> Understood {
        self.push(Step::Nat(Nat { name: name.into(), to }))
    }

    fn translate(&mut self, body: Body<'_>, around: &mut impl Surroundings) -> Understood {
        const IPV6: u32 = n::IPV6 as u32;
        let is_ipv6 = body.number(2)? == IPV6;
        around.tracks(Some(is_ipv6));
        let length = if is_ipv6 { 16 } else { 4 };
        let addresses = self.values(body.number(3), body.number(4), length, around);
        let ports = self.values(body.number(5), body.number(6), 2, around);
        // One map gives both, or each has its own.
        let map = |register: Option<u32>| match self.read(register?, 1)?.first()?.source {
            Source::Mapped(map, _) => Some(map),
            _ => None,
        };
        let from_one = map(body.number(3)).is_some() && map(body.number(3)) == map(body.number(5));
        let new = new_addresses(is_ipv6, addresses.as_deref(), ports.as_deref(), from_one);
        match body.number(1)? {
            0 => self.nat("snat", NatTo::Source(new)),
            _ => self.nat("dnat", NatTo::Destination(new)),
        }
    }

    /// The values that two registers may have, lowest and highest together; `None` where nothing is given.
    fn values(
        &self,
        low: Option<u32>,
        high: Option<u32>,
        length: usize,
        around: &impl Surroundings,
    ) -> Option<Vec<(u128, u128)>> {
        let low = self.read(low?, length)?;
        let high =
            high.and_then(|register| self.read(register, length)).unwrap_or_else(|| low.clone());
        let Some(&Byte { source: Source::Mapped(map, _), .. }) = low.first() else {
            let all = (0, u128::MAX >> (128 - 8 * length));
            let both = constant(&low).zip(constant(&high));
            return Some(vec![both.unwrap_or(all)]);
        };
        let set = around.mapped(map)?;
        let pick = |bytes: &Bytes, data: &[u8]| {
            let byte = |byte: &Byte| match byte.source {
                Source::Mapped(_, at) => data.get(usize::from(at)).copied(),
                _ => None,
            };
            bytes.iter().map(byte).collect::<Option<Vec<u8>>>().map(|bytes| value(&bytes))
        };
        let values = set.data.iter().flatten().filter_map(|data| match data {
            Data::Value(data) => {
                let low = pick(&low, data)?;
                Some((low, pick(&high, data).unwrap_or(low)))
            }
            Data::Verdict(..) => None,
        });
        Some(values.collect())
    }
}

/// New addresses with new ports: in pairs if one map gave both, else each with each.
fn new_addresses(
    is_ipv6: bool,
    addresses: Option<&[(u128, u128)]>,
    ports: Option<&[(u128, u128)]>,
    from_one: bool,
) -> Vec<NewAddress> {
    let address = |(first, last): (u128, u128)| Some((is_ipv6, first, last));
    let port = |(first, last): (u128, u128)| {
        let number = |port| u16::try_from(port).unwrap_or(u16::MAX);
        Some((number(first), number(last)))
    };
    match (addresses, ports) {
        (None, None) => Vec::new(),
        (Some(addresses), None) => addresses
            .iter()
            .map(|range| NewAddress { addresses: address(*range), ports: None })
            .collect(),
        (None, Some(ports)) => {
            ports.iter().map(|range| NewAddress { addresses: None, ports: port(*range) }).collect()
        }
        (Some(addresses), Some(ports)) if from_one => addresses
            .iter()
            .zip(ports)
            .map(|(addresses, ports)| NewAddress {
                addresses: address(*addresses),
                ports: port(*ports),
            })
            .collect(),
        (Some(addresses), Some(ports)) => addresses
            .iter()
            .flat_map(|addresses| ports.iter().map(move |ports| (*addresses, *ports)))
            .map(|(addresses, ports)| NewAddress {
                addresses: address(addresses),
                ports: port(ports),
            })
            .collect(),
    }
}

fn constant(bytes: &Bytes) -> Option<u128> {
    let byte = |byte: &Byte| (byte.source == Source::Constant).then_some(byte.xor);
    bytes.iter().map(byte).collect::<Option<Vec<u8>>>().map(|bytes| value(&bytes))
}

fn value(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |value, byte| value << 8 | u128::from(*byte))
}

/// Where a register lies.
fn position(register: u32) -> Option<usize> {
    let register = usize::try_from(register).ok()?;
    match register {
        1..=4 => Some((register - 1) * 16),
        8..=23 => Some((register - 8) * 4),
        _ => None,
    }
}

/// Whether a list of expressions, or one, has one of this name.
fn holds(list: &[u8], name: &[u8]) -> bool {
    list.windows(name.len()).any(|bytes| bytes == name)
}

fn choices(set: &Set, around: &impl Surroundings) -> Vec<Choice> {
    let each = set.keys.keys.iter().zip(&set.data).map(|(key, data)| {
        let verdict = match data {
            Some(Data::Verdict(code, chain)) => verdict(*code, chain, around),
            _ => Verdict::Keep("a verdict map without a verdict".into()),
        };
        (verdict, key.clone())
    });
    // Keys that lead to the same are one choice; those for all others stay behind the ones that are meant.
    let mut choices: Vec<(Verdict, Vec<crate::model::Key>)> = Vec::new();
    for (verdict, key) in each {
        match choices.last_mut() {
            Some((last, keys)) if *last == verdict => keys.push(key),
            _ => choices.push((verdict, vec![key])),
        }
    }
    let mut choices: Vec<Choice> = choices
        .into_iter()
        .map(|(verdict, keys)| Choice {
            keys: Keys { keys: Arc::new(keys), others: false, expire: set.keys.expire },
            verdict,
        })
        .collect();
    if set.keys.others {
        let verdict = Verdict::Keep("a verdict map that packets change".into());
        choices.push(Choice { keys: Keys::any(), verdict });
    }
    choices
}

fn verdict(code: i32, chain: &str, around: &impl Surroundings) -> Verdict {
    const DROP: i32 = 0;
    const ACCEPT: i32 = 1;
    const QUEUE: i32 = 3;
    let unknown = || Verdict::Keep(format!("leads to chain {chain}, which is not there").into());
    match code {
        DROP => Verdict::Keep("drop".into()),
        ACCEPT => Verdict::Accept,
        -1 => Verdict::Continue,
        -3 => around.chain(chain).map_or_else(unknown, Verdict::Jump),
        -4 => around.chain(chain).map_or_else(unknown, Verdict::Goto),
        -5 => Verdict::Return,
        code if code & 0xff == QUEUE => Verdict::Keep("queue".into()),
        code => Verdict::Keep(format!("verdict {code}").into()),
    }
}
