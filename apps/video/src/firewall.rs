//! The host's firewall: what it would drop is not shown.
//!
//! A stream's packets are taken before the kernel's rules see them, so the rules are read instead: those that packets to
//! this machine pass. Where one could treat a stream's packets in any other way than to accept them, the stream is refused with
//! the rule's name, at the start and when the rule comes later, unless the user says to bypass it.
//!
//! Left out: routes and reverse-path filters, which decide about what is forwarded.

use std::time::Instant;

use spine_rules::{
    Addresses, Family, Kept, Link, Packets, Pieces, Ports, Protocols, Purpose, Rules, RulesError,
    Watch,
};

use crate::interface::Interface;
use crate::stream::Stream;

const UDP: u8 = 17;

/// A rule of the kernel's that could drop a stream.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// What it is.
    #[error(
        "packets on port {port} may be dropped by the host's firewall, and what it drops is not shown: {why}; accept them there (for example `nft add rule inet filter input udp dport {port} accept`), or say --bypass-kernel-policy"
    )]
    Kept {
        /// The stream's port.
        port: u16,
        /// The rule.
        why: String,
    },
    /// The rules cannot be asked for.
    #[error(transparent)]
    Rules(#[from] RulesError),
}

/// The rules as they were last read.
pub struct Firewall {
    link: Link,
    watch: Watch,
    rules: Rules,
}

impl Firewall {
    /// Reads the rules for what comes in on an interface.
    ///
    /// # Errors
    /// [`Refused::Rules`].
    pub fn read(interface: &Interface, now: Instant) -> Result<Self, Refused> {
        // In this order, so that no change is missed in between.
        let watch = Watch::open(Purpose::Delivery, now);
        let link = Link::ethernet(interface.found.index, &interface.name);
        Ok(Self { link, watch, rules: Rules::read()? })
    }

    /// Whether these streams may be shown.
    ///
    /// # Errors
    /// [`Refused::Kept`].
    pub fn allows(&self, streams: &[Stream]) -> Result<(), Refused> {
        let kept = self.rules.delivered(Family::V4, &self.link);
        streams.iter().try_for_each(|stream| judge(&kept, stream))
    }

    /// The same, if rules that matter have changed since.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn still_allows(&mut self, now: Instant, streams: &[Stream]) -> Result<(), Refused> {
        if !self.watch.due(now, &self.rules, std::slice::from_ref(&self.link)) {
            return Ok(());
        }
        self.rules = Rules::read()?;
        self.allows(streams)
    }
}

fn judge(kept: &[Kept], stream: &Stream) -> Result<(), Refused> {
    let packets = packets(stream);
    match kept.iter().find(|kept| kept.packets.and(&packets).is_some()) {
        None => Ok(()),
        Some(kept) => Err(Refused::Kept { port: stream.port, why: kept.why.clone() }),
    }
}

/// What a stream may consist of. Fragments are nobody's here.
fn packets(stream: &Stream) -> Packets {
    let one = |address: Option<std::net::Ipv4Addr>| match address {
        Some(address) => Addresses::prefix(Family::V4, u32::from(address).into(), 32),
        None => Addresses::all(Family::V4),
    };
    Packets {
        protocols: Protocols::one(UDP),
        source: one(stream.source),
        destination: one(stream.address),
        destination_ports: Ports::one(stream.port),
        pieces: Pieces::WHOLE,
        ..Packets::all(Family::V4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser as _;

    fn stream(words: &str) -> Stream {
        let line = format!("spine-video --iface lo --stream {words}");
        let cli = Cli::try_parse_from(line.split(' ')).expect("a command line");
        cli.receive.streams().expect("a stream")[0]
    }

    #[test]
    fn only_what_a_rule_may_concern_is_refused() {
        let kept = |packets| vec![Kept { packets, why: "chain".to_owned() }];
        let all = Packets::all(Family::V4);
        let port = |port| Packets { destination_ports: Ports::one(port), ..all };
        let net = Addresses::prefix(Family::V4, 0x0a00_0000, 8);
        let from = Packets { source: net, ..all };
        let any = stream("5004:BGRA:64x48");
        let one = stream("5004:BGRA:64x48@192.0.2.1/192.0.2.9");
        for (name, kept, stream, allowed) in [
            ("no rules", vec![], &any, true),
            ("everything", kept(all), &any, false),
            ("its port", kept(port(5004)), &any, false),
            ("another port", kept(port(5006)), &any, true),
            ("some senders", kept(from), &any, false),
            ("senders that are not its own", kept(from), &one, true),
            ("fragments", kept(Packets { pieces: Pieces::PIECES, ..all }), &any, true),
            ("TCP", kept(Packets { protocols: Protocols::one(6), ..all }), &any, true),
        ] {
            assert_eq!(judge(&kept, stream).is_ok(), allowed, "{name}");
        }
    }
}
