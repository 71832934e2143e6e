//! Rules in one form, wherever the kernel keeps them.
//!
//! A rule is a list of steps. A test compares bytes, each of which says where it comes from: a place in a header, a
//! fact about the packet, a constant. What a byte is for a packet of a family on its way from one interface to another is found
//! when the rules are walked ([`walk`](crate::walk)); here is only what the rule says.

use std::sync::Arc;

use crate::packets::Family;

/// All chains there are.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) chains: Vec<Chain>,
    /// Connection tracking is used somewhere, reached or not: then it is active, and collects fragments.
    pub(crate) tracks: PerFamily<Option<String>>,
    /// Policy rules or routes ask for marks, so that a mark can choose another way.
    pub(crate) routes_by_mark: PerFamily<bool>,
}

/// Something for IPv4 and for IPv6.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct PerFamily<T> {
    pub(crate) v4: T,
    pub(crate) v6: T,
}

impl<T> PerFamily<T> {
    /// That of a family.
    pub(crate) fn of(&self, family: Family) -> &T {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// The same, to be changed.
    pub(crate) fn of_mut(&mut self, family: Family) -> &mut T {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// Where in the kernel's way a chain hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hook {
    Ingress,
    Prerouting,
    Input,
    Forward,
    Postrouting,
    Egress,
    /// Where nothing passes that is carried: output, bridges, ARP.
    Elsewhere,
}

#[derive(Debug)]
pub(crate) struct Chain {
    /// As people find it: "nftables chain ip nat POSTROUTING".
    pub(crate) place: Arc<str>,
    pub(crate) v4: bool,
    pub(crate) v6: bool,
    /// What the kernel itself calls here; others are reached by rules.
    pub(crate) base: Option<Base>,
    pub(crate) rules: Vec<Rule>,
}

#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
    /// The policy is to drop.
    pub(crate) drops: bool,
    /// Only packets of these interfaces, for hooks that hang on them.
    pub(crate) devices: Option<Vec<Device>>,
}

/// An interface that a chain hangs on, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Device {
    Named(String),
    /// All whose names begin so.
    Prefix(String),
}

#[derive(Debug)]
pub(crate) struct Rule {
    /// "rule handle 5".
    pub(crate) name: Arc<str>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug)]
pub(crate) enum Step {
    Test(Test),
    /// What becomes of the packet is in a map.
    Map(Bytes, Arc<Vec<Choice>>),
    /// The packet is changed, diverted, shown to someone or otherwise treated as only the kernel can, in this way.
    Keep(Arc<str>),
    /// Someone is shown the packet, in this way, and it goes on.
    Log(Arc<str>),
    Nat(Nat),
    /// The packet gets a mark.
    Mark(Bytes),
    /// Its connection gets one.
    ConnectionMark(Bytes),
    /// Both ways from here: a limit that may be exhausted or not.
    Perhaps,
    /// The rule ends here for every packet that may be carried.
    Never,
    Count,
    Verdict(Verdict),
}

/// What a key of a verdict map says.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) keys: Keys,
    pub(crate) verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Accept,
    Continue,
    Return,
    Jump(usize),
    Goto(usize),
    /// Anything else, as people call it.
    Keep(Arc<str>),
}

/// Bytes that are compared or stored.
pub(crate) type Bytes = Vec<Byte>;

/// An address of the packet: its source or its destination.
pub(crate) fn address(is_ipv6: bool, is_source: bool) -> Bytes {
    let (start, length): (u16, u16) = match (is_ipv6, is_source) {
        (false, true) => (12, 4),
        (false, false) => (16, 4),
        (true, true) => (8, 16),
        (true, false) => (24, 16),
    };
    (start..start + length).map(|at| Byte::of(Source::Network(at))).collect()
}

/// One byte: of what is found at its source, what `and` leaves, then changed by `xor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Byte {
    pub(crate) source: Source,
    pub(crate) and: u8,
    pub(crate) xor: u8,
}

impl Byte {
    pub(crate) const fn of(source: Source) -> Self {
        Self { source, and: 0xff, xor: 0 }
    }

    pub(crate) const fn constant(value: u8) -> Self {
        Self { source: Source::Constant, and: 0, xor: value }
    }
}

/// Where a byte comes from; the number is its position there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// `and` and `xor` say all.
    Constant,
    /// The network header.
    Network(u16),
    /// The transport header.
    Transport(u16),
    Fact(Fact, u8),
    /// Data of the map of this number.
    Mapped(usize, u8),
    Unknown,
}

/// What is known of a packet beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    Nfproto,
    EtherType,
    L4Proto,
    Mark,
    /// How the kernel sorts the link-layer destination: to this machine.
    PacketType,
    Input(Interface),
    Output(Interface),
    /// Local or not, of the destination.
    DestinationType,
    /// What IPsec did with it.
    SecurityPath,
    /// The mark of the connection.
    ConnectionMark,
    /// Anything else about the connection.
    Connection,
    /// The socket it is for; only TCP and UDP have one before they are delivered.
    Socket,
    /// An IPv6 extension header is there (fragments aside, what has one is never carried).
    ExtensionHeader,
    /// A fragment header is there.
    FragmentHeader,
    /// It came in by a bridge's port.
    Bridge,
}

/// What is asked about an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    Index,
    Name,
    Group,
    LinkLayer,
    Kind,
}

#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) bytes: Bytes,
    pub(crate) keys: Keys,
    pub(crate) inverted: bool,
}

/// What bytes are compared with: any of these.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    pub(crate) keys: Arc<Vec<Key>>,
    /// There may be others, now or a moment later.
    pub(crate) others: bool,
    /// Some may be gone a moment later.
    pub(crate) expire: bool,
}

/// From one value to another, both meant. Where they differ, `fields` says where a range ends and the next begins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) first: Vec<u8>,
    pub(crate) last: Vec<u8>,
    /// Position and length of each.
    pub(crate) fields: Arc<Vec<(usize, usize)>>,
}

impl Keys {
    pub(crate) fn one(value: Vec<u8>) -> Self {
        Self::range(value.clone(), value)
    }

    pub(crate) fn range(first: Vec<u8>, last: Vec<u8>) -> Self {
        let fields = Arc::new(vec![(0, first.len())]);
        Self { keys: Arc::new(vec![Key { first, last, fields }]), ..Self::default() }
    }

    pub(crate) fn any() -> Self {
        Self { others: true, ..Self::default() }
    }
}

/// Translation of addresses or ports.
#[derive(Debug)]
pub(crate) struct Nat {
    /// "masquerade", "dnat".
    pub(crate) name: Arc<str>,
    pub(crate) to: NatTo,
}

/// What is put in.
#[derive(Debug)]
pub(crate) enum NatTo {
    /// An address of this machine, as source or as destination.
    Local,
    /// These as source.
    Source(Vec<NewAddress>),
    /// These as destination.
    Destination(Vec<NewAddress>),
    /// One or the other, by where the rule is reached from.
    Either(Vec<NewAddress>),
}

/// From one address to another, for one family, and a range of ports if they change. Without an address it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewAddress {
    pub(crate) addresses: Option<(bool, u128, u128)>,
    pub(crate) ports: Option<(u16, u16)>,
}
