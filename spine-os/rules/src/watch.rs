//! Says when rules may have changed in a way that matters.
//!
//! nftables, IPsec policies, traffic control and policy rules announce changes, and these are told at once. What nobody
//! announces (the old iptables, ipsets, BPF programs) is looked at every [`Watch::INTERVAL`], and told only if it is not the
//! same any more: for that long a carrier goes by old rules.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_XFRM};
use spine_nic::netlink::socket::{NetlinkSocket, Received};
use spine_nic::netlink::wire::{Raw, u32_at};

use crate::link::Link;
use crate::nftables;
use crate::rules::{Purpose, Rules};

const XFRMNLGRP_POLICY: u32 = 4;
const RTNLGRP_TC: u32 = 4;
const RTNLGRP_IPV4_RULE: u32 = 8;
const RTNLGRP_IPV6_RULE: u32 = 19;

/// The subscriptions.
pub struct Watch {
    purpose: Purpose,
    sources: Vec<(Source, NetlinkSocket)>,
    next_look: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Nftables,
    Ipsec,
    /// Traffic control and policy rules.
    Route,
}

impl Watch {
    /// How often what is not announced is looked at.
    pub const INTERVAL: Duration = Duration::from_secs(1);

    /// Subscribes to what the kernel has of this, in the network namespace of the calling thread.
    ///
    /// To be opened before the rules are read, so that no change is missed between the two.
    pub fn open(purpose: Purpose, now: Instant) -> Self {
        let subscribe = |(source, protocol, groups): (Source, isize, &[u32])| {
            let subscribed = NetlinkSocket::open(protocol).and_then(|socket| {
                groups.iter().try_for_each(|group| socket.join(*group))?;
                Ok((source, socket))
            });
            subscribed.inspect_err(|error| tracing::debug!(?source, %error, "not watched")).ok()
        };
        let rules = [RTNLGRP_TC, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE];
        let sources: [(Source, isize, &[u32]); 3] = [
            (Source::Nftables, NETLINK_NETFILTER, &[nftables::GROUP]),
            (Source::Ipsec, NETLINK_XFRM, &[XFRMNLGRP_POLICY]),
            (Source::Route, NETLINK_ROUTE, &rules),
        ];
        let sources = sources.into_iter().filter_map(subscribe).collect();
        Self { purpose, sources, next_look: now + Self::INTERVAL }
    }

    /// The descriptors to wait on.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sources.iter().map(|(_, socket)| socket.as_fd())
    }

    /// When to ask although nothing was announced.
    pub fn deadline(&self) -> Instant {
        self.next_look
    }

    /// Reads what was announced; whether `rules` are to be read anew for the sake of these interfaces.
    pub fn due(&mut self, now: Instant, rules: &Rules, ours: &[Link]) -> bool {
        let mut due = false;
        let purpose = self.purpose;
        for (source, socket) in &mut self.sources {
            loop {
                let received = socket.receive(|raw| {
                    due |= match source {
                        Source::Nftables => rules.is_concerned(raw, purpose),
                        Source::Ipsec => true,
                        Source::Route => is_of_interest(raw, ours),
                    };
                });
                match received {
                    Ok(Received::Nothing) => break,
                    Ok(Received::Datagram) => {}
                    Ok(Received::Overrun) => due = true,
                    Err(error) => {
                        tracing::warn!(%error, ?source, "rules are not watched any more");
                        due = true;
                        break;
                    }
                }
            }
        }
        if now >= self.next_look {
            self.next_look = now + Self::INTERVAL;
            due |= !rules.is_as_polled();
        }
        due
    }
}

/// Traffic control of an interface of ours, or a policy rule.
fn is_of_interest(raw: Raw<'_>, ours: &[Link]) -> bool {
    const RTM_NEWRULE: u16 = 32;
    const RTM_DELRULE: u16 = 33;
    const RTM_NEWQDISC: u16 = 36;
    const RTM_LAST_OF_TC: u16 = 46;
    // Of a block that interfaces share.
    const BLOCK: u32 = u32::MAX;
    match raw.kind {
        RTM_NEWRULE | RTM_DELRULE => true,
        RTM_NEWQDISC..=RTM_LAST_OF_TC => u32_at(raw.payload, 4)
            .is_some_and(|index| index == BLOCK || ours.iter().any(|link| link.index == index)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_control_of_others_is_not_of_interest() {
        let ours = [Link::ethernet(7, "lan")];
        for (what, kind, index, expected) in [
            ("a qdisc of ours", 36, 7_u32, true),
            ("a filter of ours", 44, 7, true),
            ("a qdisc of another's", 36, 8, false),
            ("a filter of a shared block", 44, u32::MAX, true),
            ("a policy rule", 32, 8, true),
            ("a link", 16, 7, false),
        ] {
            let mut payload = vec![0; 20];
            payload[4..8].copy_from_slice(&index.to_ne_bytes());
            let raw = Raw { kind, flags: 0, sequence: 0, payload: &payload };
            assert_eq!(is_of_interest(raw, &ours), expected, "{what}");
        }
    }
}
