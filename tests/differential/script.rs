//! A router and what happens to it, as lines of text: drawn from a seed, shrunk by lines, kept as a file.
//!
//! `hosts N OWNED`: so many hosts around the router, and how many of its interfaces, the first ones, are given to spine-router.
//! `router COMMAND`: a shell line in the router's namespace; one that this kernel refuses is refused both times. `start`: from
//! here on spine-router runs, the second time. `send HOST PACKET`: an IP packet in hexadecimal, from that host to the router.
//! `settle`: what was sent has arrived, and what was changed is known to everybody. `#` begins a remark.

use std::fmt;
use std::str::FromStr;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// A shell line in the router's namespace.
    Router(String),
    /// spine-router begins.
    Start,
    /// An IP packet from a host.
    Send(usize, Vec<u8>),
    /// Everything has arrived.
    Settle,
}

/// A whole script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    /// Hosts around the router.
    pub(crate) hosts: usize,
    /// How many interfaces spine-router has.
    pub(crate) owned: usize,
    /// What happens.
    pub(crate) lines: Vec<Line>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "hosts {} {}", self.hosts, self.owned)?;
        for line in &self.lines {
            match line {
                Line::Router(command) => writeln!(f, "router {command}")?,
                Line::Start => writeln!(f, "start")?,
                Line::Send(host, packet) => {
                    let hex: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
                    writeln!(f, "send {host} {hex}")?;
                }
                Line::Settle => writeln!(f, "settle")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut script = Self { hosts: 2, owned: 2, lines: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let wrong = || format!("no line of a script: {line}");
            let numbers = || rest.split_once(' ').ok_or_else(wrong);
            match word {
                "hosts" => {
                    let (hosts, owned) = numbers()?;
                    script.hosts = hosts.parse().map_err(|_| wrong())?;
                    script.owned = owned.parse().map_err(|_| wrong())?;
                }
                "router" => script.lines.push(Line::Router(rest.to_owned())),
                "start" => script.lines.push(Line::Start),
                "send" => {
                    let (host, hex) = numbers()?;
                    let packet = unhex(hex).ok_or_else(wrong)?;
                    script.lines.push(Line::Send(host.parse().map_err(|_| wrong())?, packet));
                }
                "settle" => script.lines.push(Line::Settle),
                _ => return Err(wrong()),
            }
        }
        Ok(script)
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[test]
fn a_script_is_read_back_as_it_was_written() {
    let script = super::draw::script(1);
    assert_eq!(script.to_string().parse(), Ok(script));
}
