//! A way through the kernel, and what a byte is there.

use crate::link::Link;
use crate::model::{Byte, Fact, Hook, Interface, Source};
use crate::packets::{Family, Packets, Pieces, Protocols};

/// Packets of a family on a way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) family: Family,
    pub(crate) ends: Ends<'a>,
    /// Rules set marks of connections, so that one is not known to be zero.
    pub(crate) connections_have_marks: bool,
}

/// Where a way leads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ends<'a> {
    /// In on one interface, out by another, to an address that is not the machine's.
    Forwarded(&'a Link, &'a Link),
    /// In on one, to an address of the machine.
    Delivered(&'a Link),
    /// Anywhere, from anywhere: for what a rule says by itself.
    Unknown,
}

/// A field of which a set of packets has a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Protocol,
    Source,
    Destination,
    SourcePort,
    DestinationPort,
    /// Of ICMP or ICMPv6.
    Type,
    Code,
}

/// What a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Known(u8),
    /// The byte at this position of a field.
    Part(Field, usize),
    Unknown,
    /// What it would be loaded from is not there: the rule ends.
    Absent,
}

/// Packets of which bytes are the same thing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Class {
    pub(super) packets: Packets,
    protocols: Layout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Ports,
    Control,
    Other,
    /// Not asked for.
    Any,
}

/// What holds or does not while a test is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Assumption {
    pub(super) hook: Hook,
    /// The packet's mark is zero; else it may be anything.
    pub(super) unmarked: bool,
    /// The interface that the packet came in on is still known.
    pub(super) input_is_known: bool,
}

/// Protocols whose ports a set of packets tells apart.
fn with_ports() -> Protocols {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    Protocols::one(TCP).or(Protocols::one(UDP))
}

impl Field {
    /// How many bytes it has.
    pub(super) fn width(self, family: Family) -> usize {
        match (self, family) {
            (Self::Protocol | Self::Type | Self::Code, _) => 1,
            (Self::SourcePort | Self::DestinationPort, _) => 2,
            (Self::Source | Self::Destination, Family::V4) => 4,
            (Self::Source | Self::Destination, Family::V6) => 16,
        }
    }
}

impl Way<'_> {
    /// The classes of packets that bytes tell apart; together they are all.
    pub(super) fn classes(&self, bytes: &[Byte]) -> Vec<Class> {
        let transport = |byte: &Byte| {
            matches!(byte.source, Source::Transport(_) | Source::Fact(Fact::Socket, _))
        };
        let fragment = |byte: &Byte| match byte.source {
            Source::Network(6 | 7) => self.family == Family::V4,
            Source::Transport(_) | Source::Fact(Fact::FragmentHeader, _) => true,
            _ => false,
        };
        let all = Packets::all(self.family);
        let control = Protocols::one(self.family.control_protocol());
        let others = Protocols::ALL.without(with_ports()).without(control);
        let protocols = match bytes.iter().any(transport) {
            true => vec![
                (with_ports(), Layout::Ports),
                (control, Layout::Control),
                (others, Layout::Other),
            ],
            false => vec![(Protocols::ALL, Layout::Any)],
        };
        let pieces = match bytes.iter().any(fragment) {
            true => vec![Pieces::WHOLE, Pieces::PIECES],
            false => vec![Pieces::ANY],
        };
        let mut classes = Vec::new();
        for (protocols, layout) in protocols {
            for pieces in &pieces {
                let packets = Packets { protocols, pieces: *pieces, ..all };
                classes.push(Class { packets, protocols: layout });
            }
        }
        classes
    }

    /// What a byte is for packets of a class.
    pub(super) fn find(&self, byte: Byte, class: &Class, assumed: Assumption) -> Found {
        if byte.and == 0 {
            return Found::Known(byte.xor);
        }
        match self.source(byte, class, assumed) {
            Found::Known(value) => Found::Known(value & byte.and ^ byte.xor),
            other => other,
        }
    }

    fn source(&self, byte: Byte, class: &Class, assumed: Assumption) -> Found {
        match byte.source {
            Source::Constant => Found::Known(0),
            Source::Network(at) => self.network(usize::from(at), byte.and, class),
            Source::Transport(at) => transport(usize::from(at), class),
            Source::Fact(fact, at) => self.fact(fact, usize::from(at), class, assumed),
            Source::Mapped(..) | Source::Unknown => Found::Unknown,
        }
    }

    fn network(&self, at: usize, and: u8, class: &Class) -> Found {
        const DO_NOT_FRAGMENT: u8 = 0x40;
        match (self.family, at) {
            (Family::V4, 6) if and & DO_NOT_FRAGMENT == 0 => fragmented(class),
            (Family::V4, 7) => fragmented(class),
            (Family::V4, 9) | (Family::V6, 6) => Found::Part(Field::Protocol, 0),
            (Family::V4, 12..=15) => Found::Part(Field::Source, at - 12),
            (Family::V4, 16..=19) => Found::Part(Field::Destination, at - 16),
            (Family::V6, 8..=23) => Found::Part(Field::Source, at - 8),
            (Family::V6, 24..=39) => Found::Part(Field::Destination, at - 24),
            _ => Found::Unknown,
        }
    }

    fn fact(&self, fact: Fact, at: usize, class: &Class, assumed: Assumption) -> Found {
        let known = |bytes: &[u8]| Found::Known(bytes.get(at).copied().unwrap_or(0));
        match fact {
            Fact::Nfproto => known(&[match self.family {
                Family::V4 => 2,
                Family::V6 => 10,
            }]),
            Fact::EtherType => known(match self.family {
                Family::V4 => &[0x08, 0x00],
                Family::V6 => &[0x86, 0xdd],
            }),
            Fact::L4Proto if at == 0 => Found::Part(Field::Protocol, 0),
            Fact::L4Proto | Fact::PacketType | Fact::SecurityPath | Fact::ExtensionHeader => {
                Found::Known(0)
            }
            Fact::Mark if assumed.unmarked => Found::Known(0),
            Fact::Input(what) => self.input(what, at, assumed),
            Fact::Output(what) => self.output(what, at, assumed),
            Fact::DestinationType => {
                const UNICAST: u32 = 1;
                const LOCAL: u32 = 2;
                match self.ends {
                    Ends::Forwarded(..) => known(&UNICAST.to_ne_bytes()),
                    Ends::Delivered(_) => known(&LOCAL.to_ne_bytes()),
                    Ends::Unknown => Found::Unknown,
                }
            }
            Fact::ConnectionMark if !self.connections_have_marks => Found::Known(0),
            Fact::Socket if class.protocols != Layout::Ports => Found::Absent,
            Fact::FragmentHeader => fragmented(class),
            Fact::Bridge if !self.has_bridge() => Found::Known(0),
            Fact::Mark | Fact::ConnectionMark | Fact::Connection | Fact::Socket | Fact::Bridge => {
                Found::Unknown
            }
        }
    }

    fn has_bridge(&self) -> bool {
        let is_bridge = |link: &Link| link.kind == "bridge";
        match self.ends {
            Ends::Forwarded(from, to) => is_bridge(from) || is_bridge(to),
            Ends::Delivered(link) => is_bridge(link),
            Ends::Unknown => true,
        }
    }

    fn input(&self, what: Interface, at: usize, assumed: Assumption) -> Found {
        match self.ends {
            Ends::Unknown => Found::Unknown,
            Ends::Forwarded(link, _) | Ends::Delivered(link) => {
                interface(assumed.input_is_known.then_some(link), what, at)
            }
        }
    }

    fn output(&self, what: Interface, at: usize, assumed: Assumption) -> Found {
        let is_known = matches!(assumed.hook, Hook::Forward | Hook::Postrouting | Hook::Egress);
        match self.ends {
            Ends::Unknown => Found::Unknown,
            Ends::Forwarded(_, link) => interface(is_known.then_some(link), what, at),
            Ends::Delivered(_) => interface(None, what, at),
        }
    }
}

/// A byte that is zero in whole packets.
fn fragmented(class: &Class) -> Found {
    if class.packets.pieces.pieces { Found::Unknown } else { Found::Known(0) }
}

fn transport(at: usize, class: &Class) -> Found {
    // Only the first piece has a transport header.
    if class.packets.pieces.pieces {
        return Found::Unknown;
    }
    match (class.protocols, at) {
        (Layout::Ports, 0 | 1) => Found::Part(Field::SourcePort, at),
        (Layout::Ports, 2 | 3) => Found::Part(Field::DestinationPort, at - 2),
        (Layout::Control, 0) => Found::Part(Field::Type, 0),
        (Layout::Control, 1) => Found::Part(Field::Code, 0),
        _ => Found::Unknown,
    }
}

fn interface(link: Option<&Link>, what: Interface, at: usize) -> Found {
    let known = |bytes: &[u8]| Found::Known(bytes.get(at).copied().unwrap_or(0));
    let Some(link) = link else {
        return match what {
            Interface::Index | Interface::Name => Found::Known(0),
            Interface::Group | Interface::LinkLayer | Interface::Kind => Found::Absent,
        };
    };
    // For some of the way the kernel takes a packet for its master's.
    if link.master.is_some() {
        return Found::Unknown;
    }
    match what {
        Interface::Index => known(&link.index.to_ne_bytes()),
        Interface::Name => known(link.name.as_bytes()),
        Interface::Group => known(&link.group.to_ne_bytes()),
        Interface::LinkLayer => known(&link.link_layer.to_ne_bytes()),
        Interface::Kind => known(link.kind.as_bytes()),
    }
}
