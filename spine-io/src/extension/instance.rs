//! An instance: a module with its memory, its slots and its regions, entered once a burst.
//!
//! Linear memory, from address 0: what the module itself declares; the slots (64 messages and what
//! their prefixes need beyond 240 bytes); the regions, shared with the application. The slots and
//! regions lie in pages grown here, once, before any code of the extension runs, and the linker
//! refuses modules that could grow memory themselves: so addresses hold for good.
//!
//! After every stop the shadow stack's pointer is put back: a stopped handler does not do it, and
//! 2000 of them leaked 64 KiB before (each later call then traps).

mod error;
mod linked;
mod load;

use std::sync::Arc;

use spine_abi::interface::{Domain, Domains};
use spine_abi::limits::{BURST, HEADER_BYTES, MESSAGE_BYTES};
use spine_abi::{HandlerNumber, Header, Kind, Message};
use wasmtime::{Store, Trap, TypedFunc};

use super::judge::{Judge, reaches};
use super::link::{self, CalleeTrapped, Lent};
use super::owner::Owner;
use super::state::{Handler, State};
use super::timer::Timers;
use crate::dma::Windows;
use crate::id::{FifoId, User};
use crate::message::{Body, Ending, Outcome, Pending, Settle};
use crate::reference::Kept;
use crate::stats::Mail;
use spine_nic::buffer::{Frame, FrameMemory};

pub use error::LoadError;
pub(crate) use load::Ingredients;

/// How much an extension may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Fuel for one message; the watchdog stops its handler when it is used up.
    pub message: u64,
    /// Fuel after which an entry ends and its neighbours have their turn.
    pub entry: u64,
    /// Strikes after which the extension is unloaded.
    pub strikes: u32,
}

impl Default for Budget {
    fn default() -> Self {
        use spine_abi::limits::{FUEL_PER_MESSAGE, STRIKES};
        Self { message: FUEL_PER_MESSAGE, entry: 8 * FUEL_PER_MESSAGE, strikes: STRIKES }
    }
}

/// Fuel for one entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fuel {
    /// For each message: what the budget says, or less where its price does.
    pub(crate) message: u64,
    /// After which no further message is given out.
    pub(crate) entry: u64,
}

/// The last time that a handler was stopped: which one, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    /// Its number; of whichever was running.
    pub(crate) handler: HandlerNumber,
    /// What the processor or the watchdog found; `None`: it returned with messages left.
    pub(crate) trap: Option<Trap>,
}

impl Stop {
    /// What stopped it, in words.
    pub(crate) fn text(self) -> String {
        self.trap.map_or_else(
            || {
                "returned before its messages were done, or was given up by what it called"
                    .to_owned()
            },
            |trap| trap.to_string(),
        )
    }
}

/// An extension ready to run on one adapter.
pub struct Instance {
    name: String,
    store: Store<State>,
    run: TypedFunc<(), ()>,
    budget: Budget,
    /// Whose extension it is: where its messages to the host go, and who may send it some.
    applications: Vec<FifoId>,
    /// With whose other extensions it shares an adapter's time.
    user: User,
    /// The last time it was stopped.
    stop: Option<Stop>,
    /// The endpoints on other machines it may send to, a bit each; `None`: all of them.
    remotes: Option<u64>,
    /// Whose it is, and the numbers of its handlers on its adapter, if these are not its own.
    owner: Option<Arc<Owner>>,
    numbers: Option<Vec<HandlerNumber>>,
    mail: Mail,
    card_bytes: usize,
    /// The declaration of the domain it exports.
    exports: Option<Vec<u8>>,
    /// Whether it was linked against domains of others.
    linked: bool,
    /// Stores for the places of those it can call, while it has theirs.
    spares: Vec<Lent>,
}

/// A loaded extension, to be installed on the adapter it was made for.
pub type Loaded = Box<Instance>;

impl Instance {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes that it needs of a card's memory: what it starts with, its code as WebAssembly, one slot,
    /// and its regions.
    pub fn card_bytes(&self) -> usize {
        self.card_bytes
    }

    /// The domains it was linked against.
    pub fn domains(&self) -> Domains {
        self.store.data().domains
    }

    /// What it may use.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Whose extension it is: of the process the adapter runs in, unless it was said otherwise.
    pub fn applications(&self) -> &[FifoId] {
        &self.applications
    }

    /// Gives it to the application behind another FIFO, and to no other.
    pub fn set_application(&mut self, application: FifoId) {
        self.applications = vec![application];
    }

    /// Says with whose it shares: all extensions of one user on an adapter have one share of its time. Unless this is said
    /// they are the process's own, who are one.
    pub fn set_user(&mut self, user: User) {
        self.user = user;
    }

    /// With whose it shares.
    pub(crate) fn user(&self) -> User {
        self.user
    }

    /// The last time it was stopped, if it ever was.
    pub(crate) fn last_stop(&self) -> Option<Stop> {
        self.stop
    }

    /// Bytes of its own memory and its regions, and frames that it keeps.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let state = self.store.data();
        let regions: u64 = state.regions.iter().map(|(_, bytes)| u64::from(*bytes)).sum();
        state.own.as_ref().map_or(0, |own| own.bytes().len() as u64) + regions
    }

    /// Lets it send to these endpoints on other machines and to no others: bit `i` is the adapter's remote
    /// endpoint `i`. Unless this is said it may send to all.
    pub fn set_remotes(&mut self, remotes: u64) {
        self.remotes = Some(remotes);
    }

    /// Lets its packets and messages go to these adapters and to no others: bit `i` is adapter `i`. Unless this is
    /// said they may go to all.
    pub fn set_egress(&mut self, adapters: u64) {
        self.store.data_mut().egress = adapters;
    }

    /// Whether its messages may go to this adapter.
    pub(crate) fn may_cross(&self, adapter: u16) -> bool {
        reaches(self.store.data().egress, adapter)
    }

    /// Says whose it is, and which number each of its handlers has on its adapter, in the order of its manifest.
    pub fn set_owner(&mut self, owner: Owner, numbers: Vec<HandlerNumber>) {
        debug_assert_eq!(numbers.len(), self.store.data().handlers.len());
        self.user = User(owner.user);
        (self.owner, self.numbers) = (Some(Arc::new(owner)), Some(numbers));
    }

    /// Whose it is, if it is not the adapter's own process's.
    pub(crate) fn owner(&self) -> Option<&Arc<Owner>> {
        self.owner.as_ref()
    }

    /// The place among its handlers of the one that it knows by this number.
    pub(crate) fn position(&self, number: HandlerNumber) -> Option<u8> {
        let mut handlers = self.store.data().handlers.iter();
        let position = handlers.position(|handler| handler.number == number.0);
        position.and_then(|position| u8::try_from(position).ok())
    }

    /// Whether it may send to the adapter's remote endpoint of this number.
    pub(crate) fn may_reach(&self, remote: usize) -> bool {
        let bit = u32::try_from(remote).ok().and_then(|remote| 1_u64.checked_shl(remote));
        self.remotes.is_none_or(|remotes| bit.is_some_and(|bit| remotes & bit != 0))
    }

    /// Who hears it, to be added to and taken from.
    pub(crate) fn applications_mut(&mut self) -> &mut Vec<FifoId> {
        &mut self.applications
    }

    /// What it and its applications have sent each other.
    pub(crate) fn mail(&mut self) -> &mut Mail {
        &mut self.mail
    }

    /// The numbers of its handlers on its adapter, in the order of its table.
    pub fn handlers(&self) -> impl Iterator<Item = HandlerNumber> {
        let own = self.store.data().handlers.iter().map(|handler| HandlerNumber(handler.number));
        let given = |at: usize| self.numbers.as_ref().and_then(|numbers| numbers.get(at)).copied();
        own.enumerate().map(move |(at, own)| given(at).unwrap_or(own))
    }

    /// Tells it under which number it was installed.
    pub(crate) fn installed_as(&mut self, number: u16) {
        self.store.data_mut().number = number;
    }

    /// Runs a burst (at most 64 messages), or as much of it as `fuel` allows, and hands each
    /// message with its outcome to `settle`, in order. Messages for another handler of the same
    /// extension go to `again`; what the fuel did not reach stays in `burst`.
    ///
    /// Returns the fuel used and how the entry ended.
    pub(crate) fn enter(
        &mut self,
        burst: &mut Vec<Pending>,
        again: &mut Vec<Pending>,
        fuel: Fuel,
        settling: &mut impl Settle,
    ) -> (u64, Ending) {
        debug_assert!(burst.len() <= BURST);
        self.fill_slots(burst);
        let ending = self.run_once(fuel);

        let state = self.store.data_mut();
        std::mem::swap(&mut state.burst, burst);
        let (mut used, answered) = (state.spent, state.answered);
        // The message whose handler was running when the entry ended badly; the first one if the
        // extension did not even ask, so that every entry makes progress.
        let stopped = match ending {
            Ending::Finished | Ending::Faulted => 0,
            Ending::ReturnedEarly => burst.len() - answered,
            Ending::OutOfFuel
            | Ending::TooDear
            | Ending::Spared
            | Ending::Trapped
            | Ending::CalleeTrapped => usize::from(answered < burst.len()),
        };
        let egress = state.egress;
        let State { handlers, frames, own, domains, verdicts, kept, slots, stride, .. } = state;
        let judge = Judge { handlers, frames, own: own.as_ref(), domains: *domains, egress };
        let mut slot = *slots;
        for (position, mut pending) in burst.drain(..answered + stopped).enumerate() {
            let at = slot;
            slot += *stride;
            let verdict = (position < answered).then_some(verdicts[position]);
            if let Some(bits) = verdict
                && let Some(peer) = judge.forwards(bits, &mut pending, at)
            {
                used += judge.copies(&pending);
                settling.forward(pending, peer);
                continue;
            }
            let outcome = match verdict {
                Some(bits) => judge.outcome(bits, &mut pending, at),
                None => Outcome::Stopped,
            };
            used += judge.cost(&pending, &outcome);
            match outcome {
                Outcome::Passed => again.push(pending),
                outcome => settling.settle(kept, pending, outcome),
            }
        }
        (used, ending)
    }

    fn run_once(&mut self, Fuel { message: fuel, entry: share }: Fuel) -> Ending {
        let state = self.store.data_mut();
        state.asked = 0;
        state.answered = 0;
        state.spent = 0;
        state.fuel = fuel;
        state.renewed = fuel;
        state.share = share;
        state.paging.begin();
        // Until the first request the loop itself runs on one message's fuel.
        if self.store.set_fuel(fuel).is_err() {
            return Ending::Trapped;
        }
        let result = self.run.call(&mut self.store, ());
        let left = self.store.get_fuel().unwrap_or(0);
        let state = self.store.data_mut();
        state.settle(left);
        let faulted = state.paging.end();
        match result {
            Ok(()) => {
                let all = state.answered == state.burst.len() || state.spent >= state.share;
                match all {
                    true if faulted => Ending::Faulted,
                    true => Ending::Finished,
                    false => {
                        self.note_stop(None);
                        Ending::ReturnedEarly
                    }
                }
            }
            Err(error) => {
                link::restore_stack(&mut self.store);
                let trap = error.downcast_ref::<Trap>().copied();
                self.note_stop(trap);
                match trap {
                    Some(Trap::OutOfFuel) if fuel < self.budget.message => Ending::TooDear,
                    Some(Trap::OutOfFuel) => Ending::OutOfFuel,
                    None if error.is::<CalleeTrapped>() => Ending::CalleeTrapped,
                    _ => Ending::Trapped,
                }
            }
        }
    }

    /// Notes which handler was stopped, and by what.
    #[cold]
    fn note_stop(&mut self, trap: Option<Trap>) {
        let state = self.store.data();
        let running = state.burst.get(state.answered).map_or(0, |pending| pending.handler);
        let handler = state.handlers.get(usize::from(running));
        let handler = HandlerNumber(handler.map_or(0, |handler| handler.number));
        self.stop = Some(Stop { handler, trap });
    }

    /// Writes each message into its slot. Takes the burst into the state.
    fn fill_slots(&mut self, burst: &mut Vec<Pending>) {
        let state = self.store.data_mut();
        std::mem::swap(&mut state.burst, burst);
        let State { burst, handlers, frames, own, slots, stride, answers, .. } = state;
        let Some(own) = own else { return };
        if let Some(Pending { body: Body::Bulk(frame, _), .. }) = burst.first() {
            frames.prefetch(frame);
        }
        let mut at = *slots;
        for (position, answer) in (0..burst.len()).zip(answers) {
            // The next packet's bytes are on their way while this one's are copied.
            if let Some(Pending { body: Body::Bulk(frame, _), .. }) = burst.get(position + 1) {
                frames.prefetch(frame);
            }
            let pending = &burst[position];
            let handler = &handlers[usize::from(pending.handler)];
            *answer = (u64::from(handler.context) << 32) | u64::from(at);
            if let Ok(slot) = own.slice_mut(at, *stride as usize) {
                fill(slot, pending, handler, frames);
            }
            at += *stride;
        }
    }

    /// How many frames it keeps.
    #[inline]
    pub(crate) fn keeps(&self) -> usize {
        self.store.data().kept.len()
    }

    /// Takes what an earlier version of the same extension holds on this adapter: the buffers it keeps,
    /// the windows that were granted to it, its applications and its timers.
    pub(crate) fn take_over(&mut self, before: &mut Self) {
        self.applications = std::mem::take(&mut before.applications);
        self.mail = before.mail;
        self.user = before.user;
        let (ours, theirs) = (self.store.data_mut(), before.store.data_mut());
        std::mem::swap(&mut ours.kept, &mut theirs.kept);
        std::mem::swap(&mut ours.windows, &mut theirs.windows);
        let State { timers, handlers, .. } = ours;
        let has = |number: HandlerNumber| handlers.iter().any(|known| known.number == number.0);
        timers.inherit(&mut theirs.timers, has);
    }

    /// The frames it keeps.
    pub(crate) fn kept(&mut self) -> &mut Kept {
        &mut self.store.data_mut().kept
    }

    /// The frame buffers it may fill; `None` if it was not linked against their domain.
    pub(crate) fn windows(&mut self) -> Option<&mut Windows> {
        let state = self.store.data_mut();
        state.domains.contains(Domain::FrameBuffer).then_some(&mut state.windows)
    }

    /// Whether one of its frames waits for the next slice of a repair.
    pub(crate) fn is_repairing(&self) -> bool {
        self.store.data().windows.is_repairing()
    }

    /// Frames it released since the last call.
    pub(crate) fn take_released(&mut self, into: &mut Vec<Frame>) {
        into.append(&mut self.store.data_mut().released);
    }

    /// Messages it sent since the last call, to the host and to peers.
    pub(crate) fn take_sent(&mut self) -> (Vec<Message>, Vec<(u16, Message)>) {
        let state = self.store.data_mut();
        (std::mem::take(&mut state.to_host), std::mem::take(&mut state.to_peer))
    }

    /// Messages it tried to send beyond what one entry may, since the last call.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.store.data_mut().refused)
    }

    /// Whether it has sent anything, or tried to, or has armed a timer.
    pub(crate) fn has_sent(&self) -> bool {
        let state = self.store.data();
        !state.to_host.is_empty()
            || !state.to_peer.is_empty()
            || !state.released.is_empty()
            || state.refused > 0
            || state.timers.is_armed()
    }

    /// Its timers.
    #[inline]
    pub(crate) fn timers(&mut self) -> &mut Timers {
        &mut self.store.data_mut().timers
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("name", &self.name).field("budget", &self.budget).finish()
    }
}

/// Writes one message into its slot: the header, and the packet's prefix or the arguments.
#[inline]
fn fill(slot: &mut [u8], pending: &Pending, handler: &Handler, frames: &FrameMemory) {
    match &pending.body {
        Body::Bulk(frame, reference) => {
            let header = Header {
                handler: HandlerNumber(handler.number),
                kind: Kind::Bulk,
                source: pending.source,
                length: frame.len(),
                buffer: *reference,
            };
            let prefix = usize::from(handler.prefix.min(frame.len()));
            slot[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
            slot[HEADER_BYTES..HEADER_BYTES + prefix]
                .copy_from_slice(&frames.packet(frame)[..prefix]);
        }
        Body::Small(message) => {
            slot[..MESSAGE_BYTES].copy_from_slice(message.as_bytes());
            // The handler may have changed on the way (verdict "next").
            slot[..2].copy_from_slice(&handler.number.to_le_bytes());
        }
    }
}
