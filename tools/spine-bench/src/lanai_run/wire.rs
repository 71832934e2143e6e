//! `link`: what the board's link is plugged into, and packets by hand.

use super::value;

/// What a `link` line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// A packet arrives.
    Inject { payload: Vec<u8>, tail: Tail, port: Option<usize> },
    /// The oldest packet that was sent has this payload; it is taken.
    Expect(Vec<u8>),
    /// Nothing was sent that has not been taken.
    ExpectNone,
    /// Prints what was sent and not taken.
    Show,
    /// Takes it all.
    Clear,
    /// The far end is the script.
    Cable,
    /// The far end is the board.
    Loopback,
    /// The far end is a switch.
    Switch { ports: usize, port: usize },
    /// The far end says stop (true) or go.
    Stop(bool),
    /// The link was reset (true: NRES_INT) or went up or down (LINK_INT).
    Event(bool),
}

/// How an injected packet ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// With its CRC-8.
    Good,
    /// With a wrong one.
    Bad,
    /// The payload's last byte is the tail.
    Raw,
}

const USAGE: &str = "link takes `inject [badcrc|raw] [port N] BYTES`, `expect BYTES`, `expect none`, `show`, `clear`, `cable`, \
                     `loopback`, `switch PORTS [PORT]`, `stop`, `go`, `reset` or `down`";

/// The most ports of a switch.
const MOST_PORTS: u32 = 64;

impl Wire {
    /// Reads what follows `link`.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let (command, rest) = words.split_first().ok_or(USAGE)?;
        match (command.to_ascii_lowercase().as_str(), rest) {
            ("inject" | "receive", [_, ..]) => Self::inject(rest),
            ("expect", [none]) if none.eq_ignore_ascii_case("none") => Ok(Self::ExpectNone),
            ("expect", [_, ..]) => Ok(Self::Expect(value::bytes(rest)?)),
            ("show" | "dump", []) => Ok(Self::Show),
            ("clear", []) => Ok(Self::Clear),
            ("cable" | "none", []) => Ok(Self::Cable),
            ("loopback" | "loop", []) => Ok(Self::Loopback),
            ("switch", [ports]) => Self::switch(ports, "0"),
            ("switch", [ports, port]) => Self::switch(ports, port),
            ("stop", []) => Ok(Self::Stop(true)),
            ("go", []) => Ok(Self::Stop(false)),
            ("reset" | "nres", []) => Ok(Self::Event(true)),
            ("down" | "up", []) => Ok(Self::Event(false)),
            _ => Err(USAGE.to_owned()),
        }
    }

    fn inject(words: &[&str]) -> Result<Self, String> {
        let mut tail = Tail::Good;
        let mut port = None;
        let mut words = words;
        loop {
            match words {
                [word, rest @ ..] if word.eq_ignore_ascii_case("badcrc") => {
                    (tail, words) = (Tail::Bad, rest)
                }
                [word, rest @ ..] if word.eq_ignore_ascii_case("raw") => {
                    (tail, words) = (Tail::Raw, rest)
                }
                [word, number, rest @ ..] if word.eq_ignore_ascii_case("port") => {
                    (port, words) = (Some(value::number(number)? as usize), rest);
                }
                [] => return Err(USAGE.to_owned()),
                _ => return Ok(Self::Inject { payload: value::bytes(words)?, tail, port }),
            }
        }
    }

    fn switch(ports: &str, port: &str) -> Result<Self, String> {
        let (ports, port) = (value::number(ports)?, value::number(port)?);
        if ports == 0 || ports > MOST_PORTS || port >= ports {
            return Err(format!(
                "a switch has 1 to {MOST_PORTS} ports, counted from 0; not port {port} of {ports}"
            ));
        }
        Ok(Self::Switch { ports: ports as usize, port: port as usize })
    }
}

#[cfg(test)]
mod tests {
    use super::{Tail, Wire};

    #[test]
    fn link_lines() {
        let parse = |line: &str| Wire::parse(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(
            parse("inject badcrc port 3 0102 03"),
            Ok(Wire::Inject { payload: vec![1, 2, 3], tail: Tail::Bad, port: Some(3) })
        );
        assert_eq!(parse("expect none"), Ok(Wire::ExpectNone));
        assert_eq!(parse("switch 8 2"), Ok(Wire::Switch { ports: 8, port: 2 }));
        for line in
            ["inject", "inject raw", "inject zz", "switch 0", "switch 8 8", "jump", "expect"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
