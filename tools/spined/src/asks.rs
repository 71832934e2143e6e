//! What the server asks of adapters, without waiting for them.
//!
//! An adapter answers within one turn of its loop. One whose processor is held up does not, and its clients
//! alone are to wait for that. So each adapter has a thread here that asks it one thing after the other, in the
//! order in which the server wanted them; what came of each returns to the server's loop as a [`Step`], to be
//! taken there.
//!
//! Invariants: the steps of one adapter are taken in the order of its questions. Each question is asked and
//! each step taken, also when the client for whom it was has been told that the adapter does not answer
//! ([`PATIENCE`]): then it has no [`Caller`] any more, and undoes what nobody would know of.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use spine_io::{AdapterHandle, Machine};

use crate::clients::ClientId;
use crate::mail::Bell;
use crate::server::Server;

/// How long a client waits for an adapter.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Questions of clients that wait for one adapter, at most, and those of one user: each client has one at a time,
/// but may ask again when it has waited in vain, or go and come again.
const CROWD: usize = 64;
const CROWD_OF_USER: usize = 16;
/// Questions of root's that may wait beside these.
const CROWD_OF_ROOT: usize = 16;

/// What those are told who may not wait for it, too.
pub(crate) const CROWDED: &str = "the adapter does not answer, and too many wait for it already";

/// Who waits for an answer: a client, the number of its call, and its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) client: ClientId,
    pub(crate) call: u64,
    /// The client's user.
    pub(crate) user: u32,
}

/// What is left to do in the server's loop once an adapter has answered; for whom, if he still waits.
pub(crate) type Step = Box<dyn FnOnce(&mut Server, Option<Caller>) + Send>;
/// What is asked, on the adapter's thread here.
type Question = Box<dyn FnOnce(&AdapterHandle) -> Step + Send>;

/// All adapters' questions.
pub(crate) struct Asks {
    lanes: Vec<Lane>,
    answered: Receiver<Answered>,
    last: u64,
    /// Questions that somebody waits for, by number.
    owed: BTreeMap<u64, Owed>,
}

/// One adapter's.
struct Lane {
    to: Sender<(u64, Question)>,
    /// Questions whose steps were not taken yet, in their order: the user each was asked for, if it was for one.
    waiting: VecDeque<Option<u32>>,
}

impl Lane {
    fn is_crowded(&self, user: u32) -> bool {
        let same = self.waiting.iter().filter(|of| **of == Some(user)).count();
        let all = self.waiting.len();
        if user == 0 { all >= CROWD + CROWD_OF_ROOT } else { all >= CROWD || same >= CROWD_OF_USER }
    }
}

struct Owed {
    caller: Caller,
    lane: usize,
    until: Instant,
}

struct Answered {
    lane: usize,
    question: u64,
    step: Step,
}

impl Asks {
    /// Starts a thread for each adapter.
    ///
    /// # Errors
    /// There are no threads.
    pub(crate) fn start(machine: &Arc<Machine>, bell: &Bell) -> io::Result<Self> {
        let (done, answered) = channel();
        let mut lanes = Vec::new();
        for index in 0..machine.adapters().len() {
            let (to, questions) = channel();
            let (machine, bell, done) = (Arc::clone(machine), bell.clone(), done.clone());
            std::thread::Builder::new()
                .name(format!("spine-ask{index}"))
                .spawn(move || carry(&machine, index, &questions, &done, &bell))?;
            lanes.push(Lane { to, waiting: VecDeque::new() });
        }
        Ok(Self { lanes, answered, last: 0, owed: BTreeMap::new() })
    }

    /// Asks an adapter something; `then` is the step that its answer is for. What nobody waits for is always taken.
    ///
    /// # Errors
    /// A sentence: too many wait for that adapter already, or it is gone.
    pub(crate) fn ask<T: Send + 'static>(
        &mut self,
        adapter: usize,
        caller: Option<Caller>,
        question: impl FnOnce(&AdapterHandle) -> T + Send + 'static,
        then: impl FnOnce(&mut Server, Option<Caller>, T) + Send + 'static,
    ) -> Result<(), String> {
        let lane = self.lanes.get_mut(adapter).ok_or("the adapter is gone")?;
        if caller.is_some_and(|caller| lane.is_crowded(caller.user)) {
            return Err(CROWDED.to_owned());
        }
        self.last += 1;
        let whole = Box::new(move |handle: &AdapterHandle| -> Step {
            let answer = question(handle);
            Box::new(move |server, caller| then(server, caller, answer))
        });
        lane.to.send((self.last, whole)).map_err(|_| "the adapter is gone".to_owned())?;
        lane.waiting.push_back(caller.map(|caller| caller.user));
        if let Some(caller) = caller {
            let until = Instant::now() + PATIENCE;
            self.owed.insert(self.last, Owed { caller, lane: adapter, until });
        }
        Ok(())
    }

    /// Whether an adapter has as many questions as it may before those of this user are refused.
    pub(crate) fn is_crowded(&self, adapter: usize, user: u32) -> bool {
        self.lanes.get(adapter).is_none_or(|lane| lane.is_crowded(user))
    }

    /// The next step to take, and who waits for it.
    pub(crate) fn next_step(&mut self) -> Option<(Step, Option<Caller>)> {
        let Answered { lane, question, step } = self.answered.try_recv().ok()?;
        if let Some(lane) = self.lanes.get_mut(lane) {
            // They are answered in their order.
            lane.waiting.pop_front();
        }
        Some((step, self.owed.remove(&question).map(|owed| owed.caller)))
    }

    /// Somebody who has waited too long, and for which adapter; he waits no longer.
    pub(crate) fn next_overdue(&mut self, now: Instant) -> Option<(Caller, usize)> {
        let (question, _) = self.owed.iter().find(|(_, owed)| owed.until <= now)?;
        let question = *question;
        self.owed.remove(&question).map(|owed| (owed.caller, owed.lane))
    }

    /// When the next one will have waited too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        // They are numbered in the order of asking, and all have the same patience.
        self.owed.values().next().map(|owed| owed.until)
    }

    /// A client has gone: nobody waits for what was asked for it.
    pub(crate) fn forget(&mut self, client: ClientId) {
        self.owed.retain(|_, owed| owed.caller.client != client);
    }
}

fn carry(
    machine: &Machine,
    index: usize,
    questions: &Receiver<(u64, Question)>,
    done: &Sender<Answered>,
    bell: &Bell,
) {
    let Some(adapter) = machine.adapters().get(index) else { return };
    while let Ok((question, ask)) = questions.recv() {
        let step = ask(adapter);
        if done.send(Answered { lane: index, question, step }).is_err() {
            return;
        }
        bell.ring();
    }
}
