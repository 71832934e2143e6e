//! The mirror: a snapshot of the kernel's state, kept current by its notifications.
//!
//! Two sockets: notifications come on one, dumps are asked for on the other. The subscription is
//! made before the first dump, so nothing falls between them, and what arrives twice does no harm
//! ([`KernelState::apply`]).
//!
//! A dump is made again when the kernel says that it lost notifications (ENOBUFS), and when it may
//! have removed routes without a notification: it does so when an interface goes down or loses an
//! address, or with the nexthop object they use. Since it announces such an event before it acts on it, a second dump
//! follows after [`SECOND_LOOK`].

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use spine_nic::netlink::socket::{NetlinkError, NetlinkSocket, Received};

use super::decode::{self, RTM_GETLINK, RTM_GETNEIGH, RTM_GETROUTE};
use super::netconf::{self, RTM_GETNETCONF, RTNLGRP_IPV4_NETCONF};
use super::nexthop::{self, RTM_GETNEXTHOP, RTNLGRP_NEXTHOP};
use super::rules::{self, RTM_GETRULE, RTM_NEWRULE, RTNLGRP_IPV4_RULE};
use super::state::{Change, Dirty, KernelState, Rule, Sysctls};

const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_NEIGH: u32 = 3;
const RTNLGRP_TC: u32 = 4;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV4_ROUTE: u32 = 7;

/// Room for notifications while we are busy: a full table takes some 200 MB, a burst of 100,000
/// routes some 20 MB; beyond that a dump is cheaper.
pub const RECEIVE_BUFFER_BYTES: usize = 32 << 20;
/// How long no notification may come before a batch is closed.
const QUIET: Duration = Duration::from_millis(2);
/// How long a batch may be open.
const BATCH: Duration = Duration::from_millis(10);
/// When to look again after the kernel announced something it may not have acted on yet.
pub const SECOND_LOOK: Duration = Duration::from_millis(200);

/// How often settings are read whose changes nobody announces, where anything else gives occasion to.
const UNANNOUNCED: Duration = Duration::from_secs(1);

/// The mirror of the network namespace in which it was opened.
pub struct Mirror {
    events: NetlinkSocket,
    requests: NetlinkSocket,
    state: KernelState,
    /// The last dump may have seen the middle of what the waiting notifications tell.
    after_dump: bool,
    second_look: Option<Instant>,
    /// Since when a dump is due that was put off.
    put_off: Option<Instant>,
    /// When to read again what is not announced.
    next_reading: Instant,
    /// Full dumps made so far, the first included.
    pub dumps: u64,
}

impl Mirror {
    /// Subscribes, and takes the first snapshot.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel refuses; nothing here needs privileges.
    pub fn open() -> Result<Self, NetlinkError> {
        Self::with_receive_buffer(RECEIVE_BUFFER_BYTES)
    }

    /// The same with another size of the notifications' buffer, in bytes.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn with_receive_buffer(bytes: usize) -> Result<Self, NetlinkError> {
        let events = NetlinkSocket::open(NETLINK_ROUTE)?;
        events.set_receive_buffer(bytes);
        for group in [
            RTNLGRP_LINK,
            RTNLGRP_NEIGH,
            RTNLGRP_TC,
            RTNLGRP_IPV4_IFADDR,
            RTNLGRP_IPV4_ROUTE,
            RTNLGRP_IPV4_RULE,
            RTNLGRP_IPV4_NETCONF,
            RTNLGRP_NEXTHOP,
        ] {
            events.join(group)?;
        }
        let mut mirror = Self {
            events,
            requests: NetlinkSocket::open(NETLINK_ROUTE)?,
            state: KernelState::default(),
            after_dump: false,
            second_look: None,
            put_off: None,
            next_reading: Instant::now() + UNANNOUNCED,
            dumps: 0,
        };
        mirror.resynchronise()?;
        Ok(mirror)
    }

    /// What the kernel knows, as far as it told us.
    pub fn state(&self) -> &KernelState {
        &self.state
    }

    /// The socket for requests, and what the kernel knows.
    pub fn parts(&mut self) -> (&mut NetlinkSocket, &KernelState) {
        (&mut self.requests, &self.state)
    }

    /// The socket for requests.
    pub fn requests(&mut self) -> &mut NetlinkSocket {
        &mut self.requests
    }

    /// The descriptor to wait on for notifications.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// When to call [`collect`](Self::collect) although no notification came.
    pub fn deadline(&self) -> Option<Instant> {
        self.put_off.or(self.second_look)
    }

    /// Takes in the notifications that wait, and those that follow within a few milliseconds, as
    /// one batch, and says what it touched. Dumps again where it has to; but what concerns policy is
    /// said first, and the dump, which may take seconds, made by the next call.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] when a socket is broken. A dump that was not consistent is made again
    /// at the next [`deadline`](Self::deadline).
    pub fn collect(&mut self, now: Instant) -> Result<Dirty, NetlinkError> {
        let mut dirty = Dirty::default();
        let start = Instant::now();
        loop {
            match self.take(&mut dirty)? {
                Received::Datagram if start.elapsed() < BATCH => continue,
                Received::Datagram => break,
                Received::Overrun => dirty.doubtful = true,
                Received::Nothing => {}
            }
            if dirty.doubtful || start.elapsed() >= BATCH || !self.more_within(QUIET) {
                break;
            }
        }
        self.after_dump = false;
        if self.next_reading <= now {
            self.next_reading = now + UNANNOUNCED;
            let sysctls = Sysctls::read();
            dirty.conf |= sysctls != self.state.sysctls;
            self.state.sysctls = sysctls;
        }
        if dirty.rules {
            self.read_rules(&mut dirty)?;
        }
        let waited = self.put_off.take().is_some();
        if dirty.doubtful && !waited && (dirty.policy || dirty.conf) {
            self.put_off = Some(now);
            dirty.doubtful = false;
            return Ok(dirty);
        }
        dirty.doubtful |= waited;
        if dirty.doubtful || self.second_look.is_some_and(|time| time <= now) {
            self.second_look = dirty.doubtful.then_some(now + SECOND_LOOK);
            match self.resynchronise() {
                Ok(differences) => dirty.merge(differences),
                Err(error @ NetlinkError::Unstable { .. }) => {
                    tracing::warn!(%error, "trying again");
                    self.second_look = Some(now + SECOND_LOOK);
                }
                Err(error) => return Err(error),
            }
        }
        dirty.doubtful = false;
        Ok(dirty)
    }

    /// Reads the rules again. Which of several alike went away, and where a new one went, a notification does not
    /// say; and there are few of them.
    fn read_rules(&mut self, dirty: &mut Dirty) -> Result<(), NetlinkError> {
        match rules_of(&mut self.requests) {
            Ok(rules) => {
                dirty.rules = self.state.rules != rules;
                self.state.rules = rules;
            }
            Err(NetlinkError::Unstable { .. }) => dirty.doubtful = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Applies one datagram.
    fn take(&mut self, dirty: &mut Dirty) -> Result<Received, NetlinkError> {
        let Self { events, state, after_dump, .. } = self;
        events.receive(|raw| {
            let Some(change) = decode::change(raw, false) else { return };
            // Old news of a link may come with routes that the kernel removed in silence since.
            dirty.doubtful |=
                *after_dump && matches!(change, Change::Link(..) | Change::NextHop(..));
            state.apply(change, dirty);
        })
    }

    fn more_within(&self, time: Duration) -> bool {
        let mut fds = [PollFd::new(self.events.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
        poll(&mut fds, timeout).is_ok_and(|ready| ready > 0)
    }

    /// Forgets what waits, dumps everything, and says what differs from what we had.
    ///
    /// # Errors
    /// [`NetlinkError`] when a dump does not succeed.
    pub fn resynchronise(&mut self) -> Result<Dirty, NetlinkError> {
        while self.events.receive(|_| ())? != Received::Nothing {}
        let next = snapshot(&mut self.requests)?;
        self.dumps += 1;
        self.after_dump = true;
        // Among the forgotten may have been a rule.
        let dirty = Dirty { policy: true, ..self.state.replace(next) };
        Ok(dirty)
    }
}

/// Dumps the policy rules, in their order. One that cannot be read is one of which nothing is known.
fn rules_of(socket: &mut NetlinkSocket) -> Result<Vec<Rule>, NetlinkError> {
    let mut header = [0; rules::HEADER_BYTES];
    header[0] = u8::try_from(libc::AF_INET).unwrap_or_default();
    let found = socket.dump("policy rules", RTM_GETRULE, &header, |raw| {
        (raw.kind == RTM_NEWRULE).then(|| rules::rule(raw).unwrap_or_else(rules::unreadable))
    });
    match found {
        // A kernel with one table does as if it had these.
        Err(error) if error.is_unsupported() => Ok(Rule::defaults()),
        found => found,
    }
}

/// Dumps all there is.
///
/// # Errors
/// [`NetlinkError`], saying which dump did not succeed.
pub fn snapshot(socket: &mut NetlinkSocket) -> Result<KernelState, NetlinkError> {
    let [inet, inet6] =
        [libc::AF_INET, libc::AF_INET6].map(|family| u8::try_from(family).unwrap_or_default());
    let family = |bytes: usize, family: u8| {
        let mut header = vec![0; bytes];
        header[0] = family;
        header
    };
    // Links first: if one goes down while we read, its routes are gone when we come to them, or the
    // notification makes us read again.
    let dumps: [(&'static str, u16, Vec<u8>); 6] = [
        ("interfaces", RTM_GETLINK, family(16, 0)),
        ("interface settings", RTM_GETNETCONF, family(netconf::HEADER_BYTES, inet)),
        ("nexthop objects", RTM_GETNEXTHOP, family(nexthop::HEADER_BYTES, 0)),
        ("routes", RTM_GETROUTE, family(12, inet)),
        ("neighbours", RTM_GETNEIGH, family(12, inet)),
        // Gateways of IPv4 routes, too.
        ("IPv6 neighbours", RTM_GETNEIGH, family(12, inet6)),
    ];
    let mut state = KernelState::default();
    state.rules = rules_of(socket)?;
    state.sysctls = Sysctls::read();
    let mut dirty = Dirty::default();
    for (what, kind, header) in dumps {
        for change in socket.dump(what, kind, &header, |raw| decode::change(raw, true))? {
            state.apply(change, &mut dirty);
        }
    }
    Ok(state)
}
