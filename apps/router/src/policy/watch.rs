//! Says when policy may have changed.
//!
//! Rules, filters and settings are announced on the mirror's socket; nftables and IPsec policies on
//! their own. The old iptables announces nothing and is looked at every [`IPTABLES_INTERVAL`].

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_XFRM};
use spine_nic::netlink::socket::{NetlinkSocket, Received};

/// The group that announces changes of nftables (linux/netfilter/nfnetlink.h).
const NFNLGRP_NFTABLES: u32 = 7;
/// The group that announces changes of IPsec policies (linux/xfrm.h).
const XFRMNLGRP_POLICY: u32 = 4;
/// Where the old iptables names its tables.
const NAMES: &str = "/proc/thread-self/net/ip_tables_names";
/// How often the old iptables is looked at.
pub(super) const IPTABLES_INTERVAL: Duration = Duration::from_secs(1);

/// The subscriptions.
pub struct Watch {
    sockets: Vec<NetlinkSocket>,
    next_look: Instant,
}

impl Watch {
    /// Subscribes to what the kernel has of this.
    pub fn open(now: Instant) -> Self {
        let subscribe = |(protocol, group): (isize, u32)| {
            let subscribed = NetlinkSocket::open(protocol).and_then(|socket| {
                socket.join(group)?;
                Ok(socket)
            });
            subscribed.inspect_err(|error| tracing::debug!(protocol, %error, "not watched")).ok()
        };
        let sources = [(NETLINK_NETFILTER, NFNLGRP_NFTABLES), (NETLINK_XFRM, XFRMNLGRP_POLICY)];
        let sockets = sources.into_iter().filter_map(subscribe).collect();
        Self { sockets, next_look: now + IPTABLES_INTERVAL }
    }

    /// The descriptors to wait on.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(NetlinkSocket::as_fd)
    }

    /// When to ask although nothing was announced.
    pub fn deadline(&self) -> Instant {
        self.next_look
    }

    /// Reads what was announced; whether a check is due.
    pub fn due(&mut self, now: Instant) -> bool {
        let mut due = false;
        for socket in &mut self.sockets {
            loop {
                match socket.receive(|_| ()) {
                    Ok(Received::Nothing) => break,
                    Ok(Received::Datagram | Received::Overrun) => due = true,
                    Err(error) => {
                        tracing::warn!(%error, "policy is not watched any more");
                        due = true;
                        break;
                    }
                }
            }
        }
        if now >= self.next_look {
            self.next_look = now + IPTABLES_INTERVAL;
            due |= legacy_tables_may_be_there();
        }
        due
    }
}

/// Whether the old iptables has tables, as far as can be known: a change of them is not announced.
fn legacy_tables_may_be_there() -> bool {
    match std::fs::read_to_string(NAMES) {
        Ok(names) => !names.trim().is_empty(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}
