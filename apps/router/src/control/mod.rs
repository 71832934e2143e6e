//! What a running router answers to whoever asks: whose packets are and why, its routes and counters, what becomes of one
//! packet, and the packets themselves.
//!
//! Everything is read between two steps of the control loop, which has one thread and one poll. So nothing here waits: sockets do
//! not block, what a client sends and gets is bounded, and so is how many there are and how long one may take, by the loop's
//! clock; long answers are made some thousand prefixes at a time ([`routes`]). Packets are shown by a thread of their own (`capture`).
//!
//! An answer is a plain value, of which JSON and text are made, the text where it is shown ([`client`]). [`asks`] is all that crosses
//! the socket. Left out: changing anything; who wants that has `ip`, `nft` and the command line.

pub mod asks;
mod capture;
pub mod client;
pub mod command;
mod connection;
mod counters;
pub mod coverage;
pub mod explain;
pub mod facts;
pub mod listing;
pub mod metrics;
mod opening;
mod place;
pub mod routes;
mod text;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::PollFd;
use spine_nic::netlink::socket::NetlinkSocket;

use self::asks::{Answer, Ask};
use self::capture::Session;
use self::connection::{Connection, Door};
pub(crate) use self::counters::{Unheard, report};
use self::coverage::Coverage;
use self::facts::Facts;

pub use self::place::{ControlError, Sockets};
use self::routes::{CHUNK, Routes, Walk};
use crate::adapters::Adapter;
use crate::claims::{Claims, Whose};
use crate::cli::Options;
use crate::fib::NextHop;
use crate::interfaces::Interfaces;
use crate::netlink::KernelState;
use crate::ownership::{Ownership, Reach};
use crate::report::Report;
use crate::table::Table;

/// Who may ask at the same time, by each door.
const CONNECTIONS: usize = 8;
/// How old an answer to whoever reads metrics may be: what many ask for is worked out once.
const METRICS_AGE: Duration = Duration::from_millis(250);

/// The router as it stands between two steps.
pub struct View<'a> {
    /// What the kernel knows.
    pub state: &'a KernelState,
    /// A socket to ask the kernel with.
    pub requests: &'a mut NetlinkSocket,
    /// The table as written.
    pub table: &'a Table,
    /// The interfaces, in the order of the adapters.
    pub ours: &'a Interfaces,
    /// Their names.
    pub names: &'a [String],
    /// Whose packets are.
    pub ownership: &'a Ownership,
    /// What the classifier was told.
    pub claims: &'a Claims,
    /// What it can tell apart.
    pub reach: Reach,
    /// Which adapters forward what their interface receives.
    pub enabled: Vec<bool>,
    /// Whether the kernel forwards what each interface receives.
    pub forwarding: &'a [bool],
    /// What is forwarded past.
    pub bypassed: &'a BTreeSet<String>,
    /// What carrying packets past the kernel costs people, in sentences.
    pub noted: &'a BTreeSet<String>,
    /// All that kept packets from the adapters since the start.
    pub reasons: &'a BTreeSet<String>,
    /// The most prefixes at a time that the table had no room for.
    pub most_unrepresented: usize,
    /// The adapters.
    pub adapters: &'a [Box<dyn Adapter>],
    /// Where packets to an address go, by the hash of their flow.
    pub look_up: &'a dyn Fn(Ipv4Addr, u32) -> NextHop,
    /// Whether the adapter with a number believes that a packet comes from an address.
    pub believes: &'a dyn Fn(Ipv4Addr, u16) -> bool,
}

impl View<'_> {
    /// Whose the packets of a prefix are.
    fn whose(&self) -> Whose<'_> {
        Whose { table: self.table, ours: self.ours, ownership: self.ownership }
    }

    /// The position of the interface of ours with this name.
    fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }
}

/// What a router that runs can be asked, and who asks.
pub struct Control<'a> {
    facts: &'a dyn Facts,
    sockets: Sockets,
    connections: Vec<Connection>,
    capture: Option<Session>,
    start: Instant,
    /// The last answer to who reads metrics.
    metrics: Option<(Instant, String)>,
}

/// What is asked for and takes more than a moment.
enum Job {
    Coverage(Walk, Box<Coverage>),
    Routes(Walk, Routes),
}

/// What came of a look at a job.
enum Worked {
    Unfinished(Job),
    Answer(Box<Answer>),
}

/// The sockets of a router that is about to run, as its command line says.
///
/// # Errors
/// [`ControlError`]: what was asked for cannot be had. Where nothing was asked for, that is said and no error.
pub fn open(options: &Options) -> Result<Sockets, ControlError> {
    Sockets::open(options.control.as_deref(), options.metrics.as_ref())
}

impl<'a> Control<'a> {
    /// Answers on these sockets; `facts` is the data path.
    pub fn new(sockets: Sockets, facts: &'a dyn Facts, start: Instant) -> Self {
        let connections = Vec::new();
        Self { facts, sockets, connections, capture: None, start, metrics: None }
    }

    /// What to wait for.
    pub fn fds(&self) -> Vec<PollFd<'_>> {
        let doors = [Door::Control, Door::Metrics].into_iter().filter(|door| self.has_room(*door));
        let mut fds: Vec<PollFd<'_>> = doors.flat_map(|door| self.sockets.fd(door)).collect();
        fds.extend(self.connections.iter().filter_map(Connection::fd));
        fds
    }

    /// When to look although nothing came.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        self.connections.iter().map(|connection| connection.deadline(now)).min()
    }

    /// What a newcomer should know of a router that is about to say that it is ready: a sentence each.
    pub fn opening(&self, view: &View<'_>) -> Vec<String> {
        opening::sentences(view, self.facts, self.sockets.path())
    }

    fn has_room(&self, door: Door) -> bool {
        self.connections.iter().filter(|one| one.door() == door).count() < CONNECTIONS
    }

    /// Whether there is nobody to be looked after. Then it costs nothing to look.
    pub fn is_idle(&self) -> bool {
        self.connections.is_empty() && !self.sockets.is_open()
    }

    /// Looks after everybody who asks, once.
    pub fn attend(&mut self, view: &mut View<'_>, now: Instant) {
        for door in [Door::Control, Door::Metrics] {
            while self.has_room(door)
                && let Some(stream) = self.sockets.accept(door)
            {
                self.connections.push(Connection::new(stream, door, now));
            }
        }
        if self.capture.as_ref().is_some_and(Session::has_ended) {
            self.capture = None;
        }
        for mut connection in std::mem::take(&mut self.connections) {
            if self.serve(&mut connection, view, now) {
                self.connections.push(connection);
            }
        }
    }

    /// Does what can be done for one; whether it is still there.
    fn serve(&mut self, connection: &mut Connection, view: &mut View<'_>, now: Instant) -> bool {
        if let Some(asked) = connection.read() {
            match asked {
                Ok(Ask::Capture { interfaces, snap_bytes }) => {
                    return self.begin_capture(connection, &interfaces, snap_bytes, view, now);
                }
                Ok(ask) => match self.begin(ask, view, now) {
                    Worked::Unfinished(job) => connection.work_on(job),
                    Worked::Answer(answer) => connection.answer(&answer, now),
                },
                Err(sentence) => connection.answer(&Answer::Refused(sentence), now),
            }
        }
        if let Some(job) = connection.take_job() {
            match job.go_on(view) {
                Worked::Unfinished(job) => connection.work_on(job),
                Worked::Answer(answer) => connection.answer(&answer, now),
            }
        }
        connection.write() && connection.deadline(now) > now || connection.has_job()
    }

    fn begin(&mut self, ask: Ask, view: &mut View<'_>, now: Instant) -> Worked {
        let done = |answer| Worked::Answer(Box::new(answer));
        match ask {
            Ask::Coverage => match self.coverage(view, now) {
                Ok(coverage) => {
                    Worked::Unfinished(Job::Coverage(Walk::over_all(), Box::new(coverage)))
                }
                Err(sentence) => done(Answer::Refused(sentence)),
            },
            Ask::Routes { prefix, limit } => {
                Worked::Unfinished(Job::Routes(Walk::over(prefix), Routes::up_to(limit)))
            }
            Ask::Neighbours => done(Answer::Neighbours(listing::neighbours(view))),
            Ask::Interfaces => done(match listing::interfaces(view) {
                Ok(interfaces) => Answer::Interfaces(interfaces),
                Err(sentence) => Answer::Refused(sentence),
            }),
            Ask::Counters => done(match self.report(view, now) {
                Ok(report) => Answer::Counters(Box::new(report)),
                Err(sentence) => Answer::Refused(sentence),
            }),
            Ask::Metrics => done(match self.metrics(view, now) {
                Ok(text) => Answer::Metrics(text),
                Err(sentence) => Answer::Refused(sentence),
            }),
            Ask::Explain { packet } => done(match packet.parse() {
                Ok(packet) => {
                    Answer::Explain(Box::new(explain::explain(&packet, view, self.facts)))
                }
                Err(error) => Answer::Refused(format!("{error}")),
            }),
            // A capture is no answer but a thread's: `begin_capture`.
            Ask::Capture { .. } => {
                done(Answer::Refused("packets are shown by themselves".to_owned()))
            }
        }
    }

    fn report(&self, view: &View<'_>, now: Instant) -> Result<Report, String> {
        let statistics = view.adapters.iter();
        let statistics =
            statistics.map(|one| (one.name().to_owned(), one.statistics())).collect::<Vec<_>>();
        let duration = now.saturating_duration_since(self.start);
        let (report, unheard) = counters::report(
            statistics,
            self.facts,
            view.reasons,
            view.most_unrepresented,
            duration,
        );
        unheard.map_or(Ok(report), |unheard| Err(unheard.to_string()))
    }

    fn metrics(&mut self, view: &View<'_>, now: Instant) -> Result<String, String> {
        if let Some((time, text)) = &self.metrics
            && now.saturating_duration_since(*time) < METRICS_AGE
        {
            return Ok(text.clone());
        }
        let text = metrics::text(&self.report(view, now)?);
        self.metrics = Some((now, text.clone()));
        Ok(text)
    }

    fn coverage(&self, view: &View<'_>, now: Instant) -> Result<Coverage, String> {
        let report = self.report(view, now)?;
        let interfaces = listing::interfaces(view)?;
        Ok(Coverage::new(view, &report, interfaces, self.facts))
    }

    /// Gives a connection to a thread that shows packets; whether it stays here, to be told why not.
    fn begin_capture(
        &mut self,
        connection: &mut Connection,
        interfaces: &[String],
        snap_bytes: usize,
        view: &View<'_>,
        now: Instant,
    ) -> bool {
        let begun = match &self.capture {
            Some(_) => Err("packets are shown to somebody else already: one at a time".to_owned()),
            None => capture::choose(self.facts.taps(), interfaces, view.names),
        };
        let begun = begun.and_then(|taps| {
            let stream = connection.take_stream().ok_or("it is no control socket")?;
            Session::begin(stream, &taps, snap_bytes).map_err(|error| error.to_string())
        });
        match begun {
            Ok(session) => {
                self.capture = Some(session);
                false
            }
            Err(sentence) => {
                connection.answer(&Answer::Refused(sentence), now);
                connection.write()
            }
        }
    }
}

impl Job {
    /// Works on it for a moment.
    fn go_on(self, view: &View<'_>) -> Worked {
        match self {
            Self::Coverage(mut walk, mut coverage) => {
                let over = walk.go_on(view, CHUNK, |route| coverage.routes.count(&route));
                match over {
                    true => Worked::Answer(Box::new(Answer::Coverage(coverage))),
                    false => Worked::Unfinished(Self::Coverage(walk, coverage)),
                }
            }
            Self::Routes(mut walk, mut routes) => {
                let over = walk.go_on(view, CHUNK, |route| routes.add(&route, view));
                match over {
                    true => Worked::Answer(Box::new(Answer::Routes(routes))),
                    false => Worked::Unfinished(Self::Routes(walk, routes)),
                }
            }
        }
    }
}

/// Where the router of this network namespace can be asked, unless it was told otherwise.
pub fn default_path() -> Option<PathBuf> {
    place::default_path()
}
