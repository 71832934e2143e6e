//! The server: one loop over clients, adapters' notices and answers, and ended jobs.
//!
//! Invariants: nothing here waits for a client, a linker, an adapter or a disk. A client is read one packet at a time, in turn with the others, and not at all while it
//! is owed an answer. A client's end, however it comes, is the end of what it owns.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec};
use spine_abi::Notice;
use spine_abi::notice::Offence;
use spine_client::daemon::protocol::{Answer, ExtensionNumber, FromDaemon, parse};
use spine_client::daemon::socket::{Connection, Received};
use spine_io::ExtensionId;
use spine_policy::Policy;

use crate::asks::{Asks, Caller, PATIENCE};
use crate::clients::{self, ClientId, Clients};
use crate::descriptors::Descriptors;
use crate::extensions::{Extension, Extensions};
use crate::grants::Revoked;
use crate::jobs::Jobs;
use crate::log::Log;
use crate::mail::Bell;
use crate::notify::Notify;
use crate::place::Place;
use crate::requests::{Heard, Listing};
use crate::wires::Wires;

/// How often it looks around when nothing happens.
const TICK: Duration = Duration::from_secs(1);
/// How long no clients are taken after the system had no descriptor for one.
const PAUSE: Duration = Duration::from_millis(100);
/// Clients that are taken before the others are looked at again.
const KNOCKS: usize = 16;
/// Notices of adapters that are taken in before clients are looked at again.
const NOTICES: usize = 256;

/// Everything the daemon has.
pub(crate) struct Server {
    pub(crate) place: Place,
    pub(crate) signals: SignalFd,
    pub(crate) bell: Bell,
    pub(crate) mail: Receiver<(u16, Notice)>,
    pub(crate) wires: Wires,
    pub(crate) clients: Clients,
    pub(crate) extensions: Extensions,
    pub(crate) jobs: Jobs,
    pub(crate) asks: Asks,
    /// Lists that wait for adapters, and how many there have been.
    pub(crate) listings: Vec<Listing>,
    pub(crate) listed: u64,
    pub(crate) heard: Heard,
    pub(crate) policy: Arc<Policy>,
    /// The file to read the policy from again.
    pub(crate) policy_file: Option<PathBuf>,
    pub(crate) notify: Notify,
    /// Those that clients may have us hold.
    pub(crate) descriptors: Descriptors,
    pub(crate) log: Log,
    /// What becomes of extensions whose grants are taken away.
    pub(crate) revoked: Revoked,
}

/// Why the daemon cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("cannot wait for clients: {0}")]
    Poll(io::Error),
    #[error("an adapter's processor has ended: see the log; the kernel has all packets again")]
    Processor,
}

/// What became ready.
#[derive(Default)]
struct Ready {
    listener: bool,
    signals: bool,
    bell: bool,
    clients: Vec<(ClientId, PollFlags)>,
}

impl Server {
    /// Serves until a signal says otherwise.
    ///
    /// # Errors
    /// [`ServerError`].
    pub(crate) fn run(&mut self) -> Result<(), ServerError> {
        let mut alive = Instant::now();
        let mut not_before = Instant::now();
        loop {
            let looked = Instant::now();
            let ready = self.wait(looked >= not_before)?;
            if ready.signals && self.is_ended() {
                return Ok(());
            }
            if ready.bell {
                self.bell.silence();
                self.hear_notices();
                while let Some((step, caller)) = self.asks.next_step() {
                    self.serve_again(caller);
                    step(self, caller);
                }
                while let Some(done) = self.jobs.next_ended() {
                    self.finish(done);
                }
            }
            self.stop_waiting(Instant::now());
            for (client, flags) in ready.clients {
                self.look_at(client, flags);
            }
            self.close_silent(looked);
            if ready.listener && !self.accept() {
                not_before = Instant::now() + PAUSE;
            }
            self.forget_claims();
            self.log.catch_up(Instant::now());
            if !self.wires.machine.is_running() {
                return Err(ServerError::Processor);
            }
            if self.notify.interval().is_some_and(|interval| alive.elapsed() >= interval) {
                self.notify.say("WATCHDOG=1");
                alive = Instant::now();
            }
        }
    }

    fn wait(&self, accepting: bool) -> Result<Ready, ServerError> {
        let mut ids = Vec::with_capacity(self.clients.all.len());
        let mut fds =
            vec![PollFd::new(&self.bell, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        let listening = accepting.then(|| self.place.as_fd());
        fds.extend(listening.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let before = fds.len();
        for (id, client) in &self.clients.all {
            ids.push(*id);
            // Hang-ups are told in any case.
            let flags = match (client.is_served(), client.busy) {
                (false, _) => PollFlags::OUT,
                (true, true) => PollFlags::empty(),
                (true, false) => PollFlags::IN,
            };
            fds.push(PollFd::new(&client.connection, flags));
        }
        let tick = self.notify.interval().unwrap_or(TICK).min(TICK);
        let tick = if accepting { tick } else { PAUSE };
        let due = self.asks.deadline().into_iter().chain(self.listing_due());
        let due = due.chain(self.clients.hello_due()).min();
        let due = due.map(|due| due.saturating_duration_since(Instant::now()));
        let tick = due.map_or(tick, |due| tick.min(due));
        let tick = Timespec::try_from(tick).map_err(|e| ServerError::Poll(io::Error::other(e)))?;
        match rustix::event::poll(&mut fds, Some(&tick)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            Err(errno) => return Err(ServerError::Poll(errno.into())),
        }
        let is = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let (bell, signals, listener) = (is(0), is(1), accepting && is(2));
        let found = ids.into_iter().zip(fds.iter().skip(before).map(PollFd::revents));
        let clients = found.filter(|(_, flags)| !flags.is_empty()).collect();
        Ok(Ready { listener, signals, bell, clients })
    }

    /// A client that waited for an adapter is listened to again.
    fn serve_again(&mut self, caller: Option<Caller>) {
        if let Some(Caller { client, .. }) = caller
            && let Some(client) = self.clients.all.get_mut(&client)
        {
            client.busy = false;
        }
    }

    /// Answers those who have waited long enough for adapters.
    fn stop_waiting(&mut self, now: Instant) {
        self.finish_listings(now);
        while let Some((caller, wire)) = self.asks.next_overdue(now) {
            self.serve_again(Some(caller));
            let name = self.wires.wires.get(wire).map_or("", |wire| wire.name.as_str());
            let why = format!("the adapter of {name} has not answered for {PATIENCE:?}");
            tracing::warn!(why, "a client is told");
            self.answer(caller.client, caller.call, Err(why));
        }
    }

    /// Reads a signal: whether it is one to end by. SIGHUP has the policy read again.
    fn is_ended(&mut self) -> bool {
        let Ok(Some(signal)) = self.signals.read_signal() else { return false };
        if i32::try_from(signal.ssi_signo) != Ok(Signal::SIGHUP as i32) {
            return true;
        }
        match self.policy_file.as_deref().map(Policy::read) {
            Some(Ok(policy)) => {
                self.follow_policy(policy);
            }
            Some(Err(error)) => {
                tracing::error!(%error, "the policy stays as it was");
            }
            None => tracing::info!("there is no policy to read again"),
        }
        false
    }

    /// Closes those that had said no hello, although they were to, when we looked last.
    fn close_silent(&mut self, looked: Instant) {
        for id in self.clients.silent(looked) {
            self.send_away(id, &format!("no hello came within {:?}", clients::PATIENCE));
        }
    }

    /// Takes those in who knock, some at a time; false if the system has no descriptor for one.
    fn accept(&mut self) -> bool {
        for _ in 0..KNOCKS {
            match Connection::accept(self.place.as_fd()) {
                Ok(Some(connection)) => self.admit(connection),
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "cannot take a client");
                    return false;
                }
            }
        }
        true
    }

    fn admit(&mut self, connection: Connection) {
        let Ok(peer) = connection.peer() else { return };
        match self.clients.admit(connection, peer, &self.policy) {
            Ok(id) => tracing::debug!(client = ?id, user = peer.user, "a client came"),
            Err(why) => tracing::warn!(user = peer.user, why, "a client was not let in"),
        }
    }

    fn look_at(&mut self, id: ClientId, flags: PollFlags) {
        let Some(client) = self.clients.all.get_mut(&id) else { return };
        if flags.contains(PollFlags::OUT) && client.flush().is_err() {
            return self.drop_client(id);
        }
        if flags.contains(PollFlags::IN) && !client.busy && client.is_served() {
            return self.read(id);
        }
        if flags.intersects(PollFlags::HUP | PollFlags::ERR) {
            self.drop_client(id);
        }
    }

    /// Reads one packet of a client and does what it says.
    fn read(&mut self, id: ClientId) {
        let Some(client) = self.clients.all.get_mut(&id) else { return };
        let packet = match client.connection.try_receive() {
            Ok(Received::Packet(packet)) => packet,
            Ok(Received::Nothing) => return,
            Ok(Received::HungUp) | Err(_) => return self.drop_client(id),
            Ok(Received::Unfit(why)) => return self.send_away(id, why),
        };
        match parse(&packet.bytes) {
            Ok(call) => self.follow(id, call, packet.descriptors),
            Err(error) => self.send_away(id, &error.to_string()),
        }
    }

    /// Tells a client what is wrong with it, if it listens, and hangs up.
    pub(crate) fn send_away(&mut self, id: ClientId, why: &str) {
        if let Some(client) = self.clients.all.get_mut(&id) {
            tracing::info!(client = ?id, user = client.who.name, why, "a client is sent away");
            // It goes in any case.
            let _ = client.say(&FromDaemon::Refused { id: 0, why: why.to_owned() });
        }
        self.drop_client(id);
    }

    /// The end of a client, and of all it owns.
    pub(crate) fn drop_client(&mut self, id: ClientId) {
        let Some(client) = self.clients.remove(id) else { return };
        tracing::debug!(client = ?id, user = client.who.name, "a client went");
        self.asks.forget(id);
        self.jobs.forget(id);
        self.extensions.forget(id);
        for number in self.extensions.owned_by(id) {
            self.unload(number, "the application that loaded it has ended", None);
        }
        for (wire, fifo) in client.fifos {
            self.close_fifo(wire, fifo);
        }
    }

    /// Takes an extension off its adapter, and tells those who listen to it why, and who asked that it is done.
    /// Those that are linked against it go with it: the adapter says so of each.
    pub(crate) fn unload(&mut self, number: ExtensionNumber, why: &str, caller: Option<Caller>) {
        let Some(extension) = self.extensions.remove(number) else { return };
        if let Some(wire) = self.wires.wires.get_mut(extension.wire) {
            wire.release(&extension.claims);
        }
        self.take_off(extension.wire, extension.place, &extension.name, caller);
        self.announce_end(number, extension, why);
    }

    /// Has an adapter unload what is at a place, and answers who waits for that.
    pub(crate) fn take_off(
        &mut self,
        wire: usize,
        place: ExtensionId,
        name: &str,
        caller: Option<Caller>,
    ) {
        self.extensions.leaves(wire, place.0);
        let name = name.to_owned();
        let asked = self.asks.ask(
            wire,
            caller,
            move |adapter| adapter.unload_with_importers(place),
            move |server, caller, unloaded| {
                if let Err(error) = &unloaded {
                    tracing::error!(extension = name, %error, "cannot unload");
                }
                server.extensions.left(wire, place.0, unloaded.unwrap_or(true));
                if let Some(Caller { client, call, .. }) = caller {
                    server.answer(client, call, Ok(Answer::Done));
                }
            },
        );
        match (asked, caller) {
            (Ok(()), Some(Caller { client, .. })) => {
                if let Some(client) = self.clients.all.get_mut(&client) {
                    client.busy = true;
                }
            }
            (Err(why), Some(Caller { client, call, .. })) => self.answer(client, call, Err(why)),
            (_, None) => {}
        }
    }

    /// Forgets an extension that its adapter has unloaded, and tells those who listen to it.
    pub(crate) fn struck_out(&mut self, number: ExtensionNumber, why: &str) {
        let Some(extension) = self.extensions.remove(number) else { return };
        if let Some(wire) = self.wires.wires.get_mut(extension.wire) {
            wire.release(&extension.claims);
        }
        self.announce_end(number, extension, why);
    }

    fn announce_end(&mut self, number: ExtensionNumber, extension: Extension, why: &str) {
        tracing::info!(extension = extension.name, number, why, "unloaded");
        let ended = FromDaemon::Ended { extension: number, why: why.to_owned() };
        for listener in extension.listeners {
            if let Some(client) = self.clients.all.get_mut(&listener)
                && !client.tell(&ended).unwrap_or(true)
            {
                // One that has gone is noticed by the next look at it.
                tracing::info!(client = ?listener, number, "a client does not listen");
            }
        }
    }

    /// Answers a call.
    pub(crate) fn answer(&mut self, id: ClientId, call: u64, result: Result<Answer, String>) {
        self.answer_with(id, call, result.map(|answer| (answer, Vec::new())));
    }

    /// Answers a call, with descriptors beside the answer.
    pub(crate) fn answer_with(
        &mut self,
        id: ClientId,
        call: u64,
        result: Result<(Answer, Vec<OwnedFd>), String>,
    ) {
        let Some(client) = self.clients.all.get_mut(&id) else { return };
        let (said, beside) = match result {
            Ok((answer, beside)) => (FromDaemon::Answer { id: call, answer }, beside),
            // Some compilers' messages have several lines.
            Err(why) => {
                let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
                (FromDaemon::Refused { id: call, why }, Vec::new())
            }
        };
        if client.say_with(&said, beside).is_err() {
            self.drop_client(id);
        }
    }

    /// Takes in what the adapters say of themselves.
    fn hear_notices(&mut self) {
        for _ in 0..NOTICES {
            let Ok((wire, notice)) = self.mail.try_recv() else { return };
            if let Notice::Unloaded { extension, .. } = notice
                && let Some(number) = self.extensions.noticed(usize::from(wire), extension, notice)
            {
                self.hear_of_end(number, notice);
            }
        }
        // There may be more.
        self.bell.ring();
    }

    /// Takes in that an adapter has unloaded an extension for what it did.
    pub(crate) fn hear_of_end(&mut self, number: ExtensionNumber, notice: Notice) {
        let Notice::Unloaded { offence, strikes, .. } = notice else { return };
        let why = match offence {
            Offence::Orphaned => format!("its handlers {}", offence.text()),
            _ => format!("it was stopped {strikes} times: its handlers {}", offence.text()),
        };
        self.struck_out(number, &why);
    }
}
