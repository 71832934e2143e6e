//! A packet as people write it.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use spine_headers::protocol;

/// How a packet is written.
pub const GRAMMAR: &str = "\
PACKET is 'iif=NAME SOURCE > DESTINATION [PROTOCOL [[SPORT>]DPORT]] [ttl=N] [len=N] [fragment] [options]':
  iif=eth1 10.1.2.3 > 10.9.8.7 tcp 443
  iif=eth1 10.1.2.3 > 10.9.8.7 udp 5353>53 ttl=2
  iif=eth1 10.1.2.3 > 10.9.8.7 icmp len=1600
PROTOCOL is a name (icmp, tcp, udp, sctp, gre, ospf) or a number; without one it is icmp. For icmp the ports are type and code. len is
that of the IP packet.";

/// Protocols that have names here.
const NAMES: &[(&str, u8)] = &[
    ("icmp", protocol::ICMP),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", protocol::TCP),
    ("udp", protocol::UDP),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("sctp", 132),
];
/// What ping asks.
const ECHO: u16 = 8;

/// A packet whose fate is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The interface it comes in by.
    pub ingress: String,
    /// From.
    pub source: Ipv4Addr,
    /// To.
    pub destination: Ipv4Addr,
    /// What is in it.
    pub protocol: u8,
    /// From this port, or of this ICMP type.
    pub source_port: u16,
    /// To this port, or of this ICMP code.
    pub destination_port: u16,
    /// Time to live.
    pub ttl: u8,
    /// Bytes of the IP packet.
    pub length: u16,
    /// A piece of a packet.
    pub fragment: bool,
    /// It has IP options.
    pub options: bool,
}

/// Not a packet: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a packet: {0}; one is 'iif=eth1 10.1.2.3 > 10.9.8.7 tcp 443'")]
pub struct NoPacket(String);

impl Packet {
    /// Whether its protocol has ports, and it is not a piece, so that they are there.
    pub fn has_ports(&self) -> bool {
        !self.fragment && spine_headers::ports::starts(self.protocol)
    }

    /// Whether type and code stand where ports would.
    pub fn has_type(&self) -> bool {
        !self.fragment && self.protocol == protocol::ICMP
    }
}

fn protocol_text(number: u8) -> String {
    let known = NAMES.iter().find(|(_, known)| *known == number);
    known.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

/// As it is read again.
impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ingress, source, destination, .. } = self;
        write!(f, "iif={ingress} {source} > {destination} {}", protocol_text(self.protocol))?;
        if self.has_ports() || self.has_type() {
            write!(f, " {}>{}", self.source_port, self.destination_port)?;
        }
        write!(f, " ttl={} len={}", self.ttl, self.length)?;
        let words = [(self.fragment, " fragment"), (self.options, " options")];
        words.iter().filter(|(there, _)| *there).try_for_each(|(_, word)| f.write_str(word))
    }
}

impl FromStr for Packet {
    type Err = NoPacket;

    fn from_str(text: &str) -> Result<Self, NoPacket> {
        // "a>b" and "a > b" are the same.
        let spaced = text.replace('>', " > ");
        let mut words = spaced.split_whitespace().peekable();
        let mut ingress = None;
        let mut before =
            |word: &str| word.strip_prefix("iif=").map(|name| ingress = Some(name.to_owned()));
        while words.next_if(|word| before(word).is_some()).is_some() {}
        let source = address(words.next(), "where it comes from")?;
        if words.next() != Some(">") {
            return Err(NoPacket(format!("after {source} comes '>', and where it goes")));
        }
        let destination = address(words.next(), "where it goes")?;
        let mut packet = Self {
            ingress: String::new(),
            source,
            destination,
            protocol: protocol::ICMP,
            source_port: 0,
            destination_port: 0,
            ttl: 64,
            length: 84,
            fragment: false,
            options: false,
        };
        let mut ports = Vec::new();
        let mut has_protocol = false;
        while let Some(word) = words.next() {
            match word {
                "fragment" => packet.fragment = true,
                "options" => packet.options = true,
                ">" => {}
                _ => match word.split_once('=') {
                    Some(("iif", name)) => ingress = Some(name.to_owned()),
                    Some(("ttl", number)) => packet.ttl = parse(number, "ttl", "0 to 255")?,
                    Some(("len", number)) => packet.length = parse(number, "len", "20 to 65535")?,
                    Some((key, _)) => {
                        return Err(NoPacket(format!("{key}= is none of iif=, ttl= and len=")));
                    }
                    None if !has_protocol => {
                        packet.protocol = protocol_of(word)?;
                        has_protocol = true;
                    }
                    None => {
                        let is_first = words.peek() == Some(&">") && ports.is_empty();
                        ports.push((is_first, parse(word, "a port", "0 to 65535")?));
                    }
                },
            }
        }
        packet.take_ports(&ports)?;
        packet.ingress = ingress
            .ok_or_else(|| NoPacket("iif=NAME says by which interface it comes in".to_owned()))?;
        if packet.length < 20 {
            return Err(NoPacket("len is 20 at least: the IP header".to_owned()));
        }
        Ok(packet)
    }
}

impl Packet {
    fn take_ports(&mut self, ports: &[(bool, u16)]) -> Result<(), NoPacket> {
        let is_icmp = self.protocol == protocol::ICMP;
        (self.source_port, self.destination_port) = match *ports {
            [] if is_icmp => (ECHO, 0),
            [] => (0, 0),
            [(false, kind)] if is_icmp => (kind, 0),
            [(false, port)] => (0, port),
            [(true, from), (false, to)] => (from, to),
            _ => return Err(NoPacket("ports are 'DPORT' or 'SPORT>DPORT'".to_owned())),
        };
        let has_none = !is_icmp && !spine_headers::ports::starts(self.protocol);
        if has_none && !ports.is_empty() {
            let name = protocol_text(self.protocol);
            return Err(NoPacket(format!("protocol {name} has no ports")));
        }
        Ok(())
    }
}

fn address(word: Option<&str>, what: &str) -> Result<Ipv4Addr, NoPacket> {
    let word = word.ok_or_else(|| NoPacket(format!("{what} is missing")))?;
    word.parse().map_err(|_| NoPacket(format!("{word:?} is no IPv4 address ({what})")))
}

fn parse<Number: FromStr>(word: &str, what: &str, range: &str) -> Result<Number, NoPacket> {
    word.parse().map_err(|_| NoPacket(format!("{word:?} is not {what}, which is {range}")))
}

fn protocol_of(word: &str) -> Result<u8, NoPacket> {
    let named = NAMES.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
    named.or_else(|| word.parse().ok()).ok_or_else(|| {
        NoPacket(format!("{word:?} is no protocol: a name such as tcp, udp, icmp, or a number"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_as_people_write_them_and_written_so_that_they_are_read_again() {
        for (text, said) in [
            (
                "iif=eth1 10.1.2.3 > 10.9.8.7 tcp 443",
                "iif=eth1 10.1.2.3 > 10.9.8.7 tcp 0>443 ttl=64 len=84",
            ),
            ("10.1.2.3>10.9.8.7 iif=a", "iif=a 10.1.2.3 > 10.9.8.7 icmp 8>0 ttl=64 len=84"),
            (
                "iif=a 10.1.2.3 > 10.9.8.7 udp 5353>53 ttl=2 len=1500 fragment",
                "iif=a 10.1.2.3 > 10.9.8.7 udp ttl=2 len=1500 fragment",
            ),
            (
                "iif=a 1.1.1.1 > 2.2.2.2 udp 1 > 2 options",
                "iif=a 1.1.1.1 > 2.2.2.2 udp 1>2 ttl=64 len=84 options",
            ),
            ("iif=a 1.1.1.1 > 2.2.2.2 89", "iif=a 1.1.1.1 > 2.2.2.2 ospf ttl=64 len=84"),
            ("iif=a 1.1.1.1 > 2.2.2.2 253 len=20", "iif=a 1.1.1.1 > 2.2.2.2 253 ttl=64 len=20"),
            ("iif=a 1.1.1.1 > 2.2.2.2 icmp 3", "iif=a 1.1.1.1 > 2.2.2.2 icmp 3>0 ttl=64 len=84"),
        ] {
            let packet: Packet = text.parse().expect(text);
            assert_eq!(packet.to_string(), said);
            let again: Packet = said.parse().expect(said);
            assert_eq!(again.to_string(), said);
        }
    }

    #[test]
    fn what_is_no_packet_has_a_sentence() {
        for (text, sentence) in [
            ("", "where it comes from is missing"),
            ("iif=a", "where it comes from is missing"),
            ("1.1.1.1 > 2.2.2.2", "iif=NAME says by which interface"),
            ("iif=a 1.1.1 > 2.2.2.2", "\"1.1.1\" is no IPv4 address"),
            ("iif=a ::1 > ::2", "\"::1\" is no IPv4 address"),
            ("iif=a 1.1.1.1 2.2.2.2", "after 1.1.1.1 comes '>'"),
            ("iif=a 1.1.1.1 >", "where it goes is missing"),
            ("iif=a 1.1.1.1 > 2.2.2.2 tpc 443", "\"tpc\" is no protocol"),
            ("iif=a 1.1.1.1 > 2.2.2.2 tcp 70000", "\"70000\" is not a port"),
            ("iif=a 1.1.1.1 > 2.2.2.2 tcp 1 2", "ports are"),
            ("iif=a 1.1.1.1 > 2.2.2.2 gre 1", "protocol gre has no ports"),
            ("iif=a 1.1.1.1 > 2.2.2.2 ttl=256", "\"256\" is not ttl"),
            ("iif=a 1.1.1.1 > 2.2.2.2 len=19", "len is 20 at least"),
            ("iif=a 1.1.1.1 > 2.2.2.2 mark=1", "mark= is none of"),
        ] {
            let error = text.parse::<Packet>().expect_err(text).to_string();
            assert!(error.starts_with(&format!("not a packet: {sentence}")), "{text:?}: {error}");
        }
    }
}
