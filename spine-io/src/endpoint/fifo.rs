//! An adapter's FIFOs to applications: one for each, with the adapter's end here (SPINE 3.1).
//!
//! The first belongs to the process the adapter runs in. Others are made for, or brought by, applications of
//! other processes. What an extension sends to the host goes to the application that loaded it, and
//! an application's messages reach its own extensions only; the first application, which runs the adapter,
//! reaches all. An extension may have several applications, which all hear it.
//!
//! The protocol is `spine_ring`'s, and so is what keeps a hostile application out. Here is what keeps it from
//! costing the others: in one event no more than a burst is taken of each FIFO, a full one costs its own
//! messages (dropped, counted), one that sends more than its [allowance](super::allowance) waits, each FIFO is rung at most once a turn, and one that is closed is not looked at again.
//! Extensions of one application share its FIFO fairly: each may have so many times what is free of it.

use std::collections::VecDeque;
use std::io;

use spine_abi::limits::EXTENSIONS;
use spine_abi::{Kind, Message, Nanos, Notice, Reason};
use spine_ring::sleeper::Watch;
use spine_ring::{Closed, Counts, End, OpenError, Polled, SendError, Sleeper};

use super::allowance::{Allowance, Allowances};
use crate::dispatcher::share::Ledger;
use crate::id::FifoId;

/// Notices that wait for a full FIFO at most: one for each extension there can be.
const NOTICES: usize = EXTENSIONS;
/// FIFOs one adapter has at most.
pub const FIFOS: usize = 64;
/// Applications of one extension at most.
pub const APPLICATIONS: usize = 8;
/// How long a notice that finds no room waits at the least before it is tried again.
const AGAIN: u64 = 500_000;
/// The part of the time that a notice has waited, which it may wait on beside room for it.
const LATENESS: u64 = 4;

/// Why an application has no FIFO.
#[derive(Debug, thiserror::Error)]
pub enum FifoError {
    /// It was not made, or what the application brought is none.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No room for one more.
    #[error("adapter {0} has FIFOs to as many applications as it can ({FIFOS})")]
    Full(String),
    /// The adapter is gone.
    #[error("adapter {0} has stopped")]
    Stopped(String),
}

/// What the adapter's end of a FIFO has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FifoStatistics {
    /// Which.
    pub id: FifoId,
    /// Messages, and the doorbells rung for and heard from the application.
    pub counts: Counts,
    /// Why it is closed, if it is.
    pub closed: Option<Closed>,
}

#[derive(Debug)]
struct Fifo {
    end: End,
    /// Its doorbell, in the processor's sleeper.
    watch: Option<Watch>,
    /// Whether something was put in since the application was last rung for.
    unrung: bool,
    /// Which extension has what in it.
    shares: Ledger,
    /// What the runtime tells the application, before everything else, and since when that waits.
    notices: VecDeque<Message>,
    owed_since: Nanos,
    /// Whose allowance it sends on, if there is one, and whether that is used up.
    owner: Option<u32>,
    held: bool,
}

impl Fifo {
    fn new(end: End, owner: Option<u32>) -> Self {
        let (shares, notices) = (Ledger::default(), VecDeque::new());
        let (watch, unrung, owed_since, held) = (None, false, Nanos(0), false);
        Self { end, watch, unrung, shares, notices, owed_since, owner, held }
    }

    fn put(&mut self, message: &Message) -> Result<(), Reason> {
        self.end.sender.put(message).map_err(|error| match error {
            SendError::Full => Reason::HostFull,
            SendError::Closed(_) => Reason::HostClosed,
        })?;
        self.unrung = true;
        Ok(())
    }

    fn send_notices(&mut self) {
        while let Some(notice) = self.notices.pop_front() {
            if self.put(&notice) == Err(Reason::HostFull) {
                return self.notices.push_front(notice);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Place {
    fifo: Option<Fifo>,
    generation: u16,
}

/// The adapter's ends.
#[derive(Debug)]
pub(crate) struct Fifos {
    places: Vec<Place>,
    allowances: Allowances,
    /// When FIFOs that are held are looked at again.
    held_until: Option<Nanos>,
    /// Doorbells of FIFOs that are gone, still watched.
    unwatched: Vec<Watch>,
    /// Doorbells rung and heard by FIFOs that are gone.
    past_calls: u64,
}

impl Fifos {
    /// With the FIFO of the process itself.
    pub(crate) fn new(own: End) -> Self {
        let mut fifos = Self {
            places: Vec::new(),
            allowances: Allowances::default(),
            held_until: None,
            unwatched: Vec::new(),
            past_calls: 0,
        };
        fifos.add(own, None);
        fifos
    }

    /// Takes the adapter's end of a FIFO; `None` if there are too many.
    pub(crate) fn add(&mut self, end: End, allowance: Option<Allowance>) -> Option<FifoId> {
        let free = self.places.iter().position(|place| place.fifo.is_none());
        let index = free.unwrap_or(self.places.len());
        if index == FIFOS {
            return None;
        }
        if free.is_none() {
            self.places.push(Place::default());
        }
        let place = &mut self.places[index];
        place.fifo = Some(Fifo::new(end, allowance.map(|allowance| allowance.owner)));
        if let Some(allowance) = allowance {
            self.allowances.join(allowance);
        }
        Some(FifoId { place: u16::try_from(index).ok()?, generation: place.generation })
    }

    /// Closes a FIFO; says whether it was there. The application finds that the other end has left.
    pub(crate) fn remove(&mut self, id: FifoId) -> bool {
        if id == FifoId::OWN || self.get(id).is_none() {
            return false;
        }
        let place = &mut self.places[usize::from(id.place)];
        place.generation = place.generation.wrapping_add(1);
        if let Some(fifo) = place.fifo.take() {
            if let Some(owner) = fifo.owner {
                self.allowances.leave(owner);
            }
            self.unwatched.extend(fifo.watch);
            self.past_calls += calls(&fifo.end.counts());
        }
        true
    }

    /// Whether a FIFO is there, open or closed.
    pub(crate) fn has(&self, id: FifoId) -> bool {
        let place = self.places.get(usize::from(id.place));
        place.is_some_and(|place| place.generation == id.generation && place.fifo.is_some())
    }

    fn get(&mut self, id: FifoId) -> Option<&mut Fifo> {
        let place = self.places.get_mut(usize::from(id.place))?;
        place.fifo.as_mut().filter(|_| place.generation == id.generation)
    }

    fn open(&mut self) -> impl Iterator<Item = &mut Fifo> {
        let fifos = self.places.iter_mut().filter_map(|place| place.fifo.as_mut());
        fifos.filter(|fifo| fifo.end.receiver.state().is_ok())
    }

    /// Puts a message of an extension into an application's FIFO. It is rung for at the end of the turn.
    ///
    /// # Errors
    /// Why it was dropped.
    #[inline]
    pub(crate) fn send(
        &mut self,
        id: FifoId,
        extension: u16,
        message: &Message,
    ) -> Result<(), Reason> {
        let fifo = self.get(id).ok_or(Reason::HostClosed)?;
        let waiting = fifo.end.sender.waiting().map_err(|_| Reason::HostClosed)?;
        let (waiting, capacity) = (slots(waiting), slots(fifo.end.sender.capacity()));
        if waiting < capacity && !fifo.shares.admits(extension, waiting, capacity) {
            return Err(Reason::OverShare);
        }
        fifo.put(message)?;
        fifo.shares.note(extension);
        Ok(())
    }

    /// Tells applications something, before everything else; what does not fit now is tried again in each
    /// turn. Those that are gone need not know. Answers how many older notices had to give way.
    pub(crate) fn notify(&mut self, ids: &[FifoId], notice: Notice, now: Nanos) -> u64 {
        let mut lost = 0;
        for id in ids {
            let Some(fifo) = self.get(*id) else { continue };
            if fifo.notices.len() == NOTICES {
                fifo.notices.pop_front();
                lost += 1;
            }
            if fifo.notices.is_empty() {
                fifo.owed_since = now;
            }
            fifo.notices.push_back(notice.to_message());
            fifo.send_notices();
        }
        lost
    }

    /// Begins a turn: sends the notices that wait, and looks again at FIFOs that were held.
    #[inline]
    pub(crate) fn turn(&mut self, now: Nanos) {
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
            self.open().for_each(|fifo| fifo.held = false);
        }
        self.open().filter(|fifo| !fifo.notices.is_empty()).for_each(Fifo::send_notices);
    }

    /// Nanoseconds until a FIFO should be looked at although nobody rings for it: it is held, or has had no
    /// room for a notice.
    ///
    /// The application need not ring when it has made room. So we look, after a part of the time that it
    /// has taken so far: a notice is late by that part at most, and who never reads costs ever less.
    pub(crate) fn due_in(&self, now: Nanos) -> Option<u64> {
        let held = self.held_until.map(|until| until.since(now));
        let fifos = self.places.iter().filter_map(|place| place.fifo.as_ref());
        let owing =
            fifos.filter(|fifo| !fifo.notices.is_empty() && fifo.end.receiver.state().is_ok());
        let owed = owing.map(|fifo| AGAIN.max(now.since(fifo.owed_since) / LATENESS)).min();
        held.into_iter().chain(owed).min()
    }

    /// Rings for every application that sleeps beside what was put in.
    #[inline]
    pub(crate) fn ring(&mut self) {
        for fifo in self.open() {
            if std::mem::take(&mut fifo.unrung) {
                // That it is closed is seen with the next message.
                let _ = fifo.end.sender.ring();
            }
        }
    }

    /// Whether an application has sent something.
    #[inline]
    pub(crate) fn is_ready(&mut self) -> bool {
        self.open().any(|fifo| !fifo.held && fifo.end.receiver.is_ready())
    }

    /// Takes up to `most` messages out of each FIFO, and of one with an [allowance](super::allowance) no more
    /// than that; answers how many of them were none, and are dropped.
    pub(crate) fn receive(
        &mut self,
        most: usize,
        now: Nanos,
        into: &mut Vec<(FifoId, Message)>,
    ) -> u64 {
        let mut bad = 0;
        for (index, Place { fifo, generation }) in (0..).zip(&mut self.places) {
            let Some(fifo) = fifo else { continue };
            let id = FifoId { place: index, generation: *generation };
            // Who goes on sending meanwhile does not keep us here.
            for _ in 0..most.min(slots(fifo.end.sender.capacity())) {
                let wait = fifo.owner.and_then(|owner| self.allowances.wait(owner, now));
                if let Some(wait) = wait.filter(|_| fifo.end.receiver.is_ready()) {
                    fifo.held = true;
                    let until = Nanos(now.0.saturating_add(wait));
                    self.held_until = Some(self.held_until.map_or(until, |other| other.min(until)));
                    break;
                }
                match fifo.end.receiver.poll() {
                    // Buffers are the adapter's own to refer to.
                    Polled::Message(message) if message.header().kind == Kind::Small => {
                        into.push((id, message));
                    }
                    Polled::Message(_) | Polled::Malformed => bad += 1,
                    Polled::Empty => break,
                }
                if let Some(owner) = fifo.owner {
                    self.allowances.spend(owner);
                }
            }
        }
        bad
    }

    /// Says to every application that the adapter is about to sleep: it must look once more after this. Who is
    /// held need not ring: time wakes us.
    pub(crate) fn doze(&mut self) {
        self.open().filter(|fifo| !fifo.held).for_each(|fifo| fifo.end.receiver.doze());
    }

    /// Has the sleeper watch every open FIFO's doorbell, and no other.
    ///
    /// # Errors
    /// What io_uring says.
    pub(crate) fn watch(&mut self, sleeper: &mut Sleeper) -> io::Result<()> {
        for place in &mut self.places {
            let Some(fifo) = &mut place.fifo else { continue };
            match (fifo.end.receiver.state(), fifo.watch) {
                (Ok(()), None) => fifo.watch = Some(sleeper.watch(fifo.end.receiver.fd())),
                // A socket that hung up is readable for ever.
                (Err(_), Some(watch)) => {
                    fifo.watch = None;
                    self.unwatched.push(watch);
                }
                _ => {}
            }
        }
        self.unwatched.drain(..).try_for_each(|watch| sleeper.forget(watch))
    }

    /// Says to every application that the adapter is awake, and silences what rang.
    pub(crate) fn wake(&mut self, sleeper: &mut Sleeper) {
        for fifo in self.open() {
            let heard = fifo.watch.is_some_and(|watch| sleeper.take_fired(watch));
            fifo.end.receiver.wake(heard);
            if let Err(why) = fifo.end.receiver.state() {
                tracing::debug!(%why, "closed a FIFO to an application");
            }
        }
    }

    /// System calls made for doorbells, those of FIFOs that are gone included.
    pub(crate) fn calls(&self) -> u64 {
        let fifos = self.places.iter().filter_map(|place| place.fifo.as_ref());
        self.past_calls + fifos.map(|fifo| calls(&fifo.end.counts())).sum::<u64>()
    }

    /// What each has done.
    pub(crate) fn statistics(&self) -> Vec<FifoStatistics> {
        let places = (0..).zip(&self.places);
        let fifos = places.filter_map(|(place, Place { fifo, generation })| {
            let end = &fifo.as_ref()?.end;
            let id = FifoId { place, generation: *generation };
            Some(FifoStatistics { id, counts: end.counts(), closed: end.receiver.state().err() })
        });
        fifos.collect()
    }
}

fn slots(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn calls(counts: &Counts) -> u64 {
    counts.rings + counts.heard
}
