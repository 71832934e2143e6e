//! An instance: a module with its memory, its slots and its regions, entered once a burst.
//!
//! Linear memory, from address 0: what the module itself declares; the slots (64 messages and what
//! their prefixes need beyond 240 bytes); the regions, shared with the application. The slots and
//! regions lie in pages grown here, once, before any code of the extension runs, and the linker
//! refuses modules that could grow memory themselves: so addresses hold for good.
//!
//! After every stop the shadow stack's pointer is put back: a stopped handler does not do it, and
//! 2000 of them leaked 64 KiB before (each later call then traps).

use std::sync::Arc;

use spine_abi::declaration::{DomainDeclaration, InterfaceDeclaration};
use spine_abi::interface::{
    Domain, Domains, EXPORT_INIT, EXPORT_MEMORY, EXPORT_RUN, EXPORT_STACK_POINTER,
};
use spine_abi::limits::{BURST, HEADER_BYTES, MEMORY_BYTES, MESSAGE_BYTES};
use spine_abi::{HandlerNumber, Header, Kind, Message};
use wasmtime::{Engine, Func, Memory, Store, Trap, TypedFunc, Val};

use super::image::{ImageError, TrustedKey, Verified};
use super::imports;
use super::judge::Judge;
use super::link::{self, CalleeTrapped, Lent, Link};
use super::outcome::{Body, Ending, Outcome, Pending, Settle};
use super::region::RegionSource;
use super::state::{Handler, Phase, State};
use super::sys::{self, CheckedRegion};
use super::timer::Timers;
use crate::buffer::reference::Kept;
use crate::buffer::{Frame, FrameMemory};
use crate::dma::Windows;
use crate::endpoint::fifo::FifoId;
use crate::stats::Mail;

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

/// Why an extension was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The image was refused.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The module does not have what every extension has.
    #[error("the extension has no {0}; link it again with this version")]
    Export(&'static str),
    /// It wants other regions than it is given.
    #[error("extension {name} wants {wanted} regions and is given {given}")]
    Regions {
        /// The extension.
        name: String,
        /// How many its manifest asks for.
        wanted: usize,
        /// How many the application offers.
        given: usize,
    },
    /// A region that could change under us, or of a wrong size.
    #[error("region {index} for extension {name} cannot be used: {why}")]
    Region {
        /// Which region.
        index: usize,
        /// The extension.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Too little memory, or too much wanted.
    #[error("no memory for extension {name}: {why}")]
    Memory {
        /// The extension.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Its `init` was stopped or trapped.
    #[error("the init of extension {name} failed: {why}")]
    Init {
        /// The extension.
        name: String,
        /// What wasmtime says.
        why: String,
    },
    /// One of its handler numbers is taken on this adapter.
    #[error("handler {number} of extension {name} is taken on adapter {adapter}")]
    HandlerTaken {
        /// The number.
        number: HandlerNumber,
        /// The extension.
        name: String,
        /// The adapter.
        adapter: String,
    },
    /// A domain it was linked against is not there.
    #[error(
        "extension {name} was linked against the domain {domain}, and no extension on adapter {adapter} exports it as it was then: load that one first, or link this one again"
    )]
    Domain {
        /// The extension.
        name: String,
        /// The domain.
        domain: String,
        /// The adapter.
        adapter: String,
    },
    /// Calls would go in a circle, or through too many extensions.
    #[error(
        "extension {name} calls others on adapter {adapter} that call back to it, or more than {limit} of them at one time"
    )]
    Circle {
        /// The extension.
        name: String,
        /// The adapter.
        adapter: String,
        /// How many a call may be in.
        limit: usize,
    },
    /// The domain it exports is another one's already.
    #[error("extension {name} exports the domain {domain}, and on adapter {adapter} {by} does")]
    DomainTaken {
        /// The domain.
        domain: String,
        /// The extension.
        name: String,
        /// Who has it.
        by: String,
        /// The adapter.
        adapter: String,
    },
    /// Others need what it exports, or exported before.
    #[error(
        "{by} on adapter {adapter} is linked against a domain of extension {name}: unload {by} first, or replace {name} by a version that exports the same"
    )]
    Needed {
        /// The extension.
        name: String,
        /// One that is linked against it.
        by: String,
        /// The adapter.
        adapter: String,
    },
    /// There is nothing to replace.
    #[error("adapter {adapter} has no extension {extension} any more")]
    NoExtension {
        /// The place on the adapter.
        extension: u16,
        /// The adapter.
        adapter: String,
    },
    /// Too many hear it.
    #[error("as many applications hear the extension {0} as can")]
    Applications(String),
    /// No room for one more.
    #[error("adapter {0} has as many extensions as it can")]
    Full(String),
    /// The adapter is gone.
    #[error("adapter {0} has stopped")]
    Stopped(String),
}

/// Fuel for `init`: it runs before any packet, so it may take longer than a handler.
const INIT_FUEL: u64 = 50_000_000;

/// An extension ready to run on one adapter.
pub struct Instance {
    name: String,
    store: Store<State>,
    run: TypedFunc<(), ()>,
    budget: Budget,
    /// Whose extension it is: where its messages to the host go, and who may send it some.
    applications: Vec<FifoId>,
    /// The endpoints on other machines it may send to, a bit each; `None`: all of them.
    remotes: Option<u64>,
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

/// Everything an instance is made from.
pub(crate) struct Ingredients<'a> {
    /// The runtime's engine.
    pub(crate) engine: &'a Engine,
    /// Whose images are run.
    pub(crate) key: &'a TrustedKey,
    /// The image.
    pub(crate) image: &'a [u8],
    /// What the application shares.
    pub(crate) regions: Vec<RegionSource>,
    /// The frames that messages may refer to.
    pub(crate) frames: Arc<FrameMemory>,
    /// Which adapter it is for.
    pub(crate) adapter: u16,
    /// What it may use.
    pub(crate) budget: Budget,
}

impl Instance {
    /// Verifies, instantiates and initialises an extension. No handler runs yet.
    ///
    /// # Errors
    /// [`LoadError`]; nothing stays behind.
    pub(crate) fn load(from: Ingredients<'_>) -> Result<Loaded, LoadError> {
        let verified = from.key.verify(from.image, spine_engine::compatibility(from.engine))?;
        let code = |error: wasmtime::Error| ImageError::Code(error.to_string());
        let module = sys::module(from.engine, &verified).map_err(code)?;
        let linker = imports::bind(from.engine, verified.image()).map_err(code)?;

        let mut store = Store::new(from.engine, state(&verified, &from));
        store.set_fuel(INIT_FUEL).map_err(code)?;
        let instance = linker.instantiate(&mut store, &module).map_err(code)?;
        let run = instance
            .get_typed_func::<(), ()>(&mut store, EXPORT_RUN)
            .map_err(|_| LoadError::Export("exported function `run`"))?;
        let memory = instance
            .get_memory(&mut store, EXPORT_MEMORY)
            .ok_or(LoadError::Export("exported memory"))?;
        let stack_pointer = instance.get_global(&mut store, EXPORT_STACK_POINTER);
        let stack_pointer = stack_pointer.and_then(|global| match global.get(&mut store) {
            Val::I32(value) => Some((global, value)),
            _ => None,
        });
        store.data_mut().stack_pointer = stack_pointer;
        let exports = verified.image().manifest.exports();
        store.data_mut().interfaces = interfaces(&mut store, &instance, exports)?;
        let exports = exports.map(|declaration| declaration.as_bytes().to_vec());
        let linked = !store.data().links.is_empty();
        let init = instance.get_typed_func::<(), ()>(&mut store, EXPORT_INIT).ok();

        let name = verified.image().manifest.name().to_owned();
        let stride = verified.image().manifest.slot_stride();
        let wanted = verified.image().manifest.regions();
        let budget = from.budget;
        let header = &verified.image().header;
        let own = memory.data_size(&store) + header.wasm_code as usize + stride;
        let card_bytes = own + from.regions.iter().map(|region| region.bytes).sum::<usize>();
        let (applications, mail) = (vec![FifoId::OWN], Mail::default());
        let spares = Vec::new();
        let mut this = Box::new(Self {
            name,
            store,
            run,
            budget,
            applications,
            remotes: None,
            mail,
            card_bytes,
            exports,
            linked,
            spares,
        });
        this.lay_out(memory, stride, wanted, &from.regions)?;
        if let Some(init) = init {
            init.call(&mut this.store, ()).map_err(|error| LoadError::Init {
                name: this.name.clone(),
                why: format!("{error:#}"),
            })?;
        }
        link::restore_stack(&mut this.store);
        this.store.data_mut().phase = Phase::Run;
        Ok(this)
    }

    /// Puts slots and regions behind the module's own memory.
    fn lay_out(
        &mut self,
        memory: Memory,
        stride: usize,
        wanted: usize,
        regions: &[RegionSource],
    ) -> Result<(), LoadError> {
        let name = || self.name.clone();
        if regions.len() != wanted {
            return Err(LoadError::Regions { name: name(), wanted, given: regions.len() });
        }
        let own = memory.data_size(&self.store);
        if own > MEMORY_BYTES {
            let why = format!("it wants {own} bytes, and {MEMORY_BYTES} is the limit");
            return Err(LoadError::Memory { name: name(), why });
        }
        let mut checked = Vec::with_capacity(wanted);
        for (index, region) in regions.iter().enumerate() {
            let refuse = |why| LoadError::Region { index, name: name(), why };
            checked.push(CheckedRegion::new(region).map_err(refuse)?);
        }
        let layout = sys::lay_out(&mut self.store, memory, stride * BURST, &checked)
            .map_err(|why| LoadError::Memory { name: self.name.clone(), why })?;
        let state = self.store.data_mut();
        let places = layout.regions.iter();
        state.regions = places.map(|(at, bytes)| (address(*at), address(*bytes))).collect();
        state.slots = address(layout.slots);
        state.stride = address(stride);
        state.own = Some(layout.own);
        state.paging.share(layout.populated && !layout.regions.is_empty());
        Ok(())
    }

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

    /// Lets it send to these endpoints on other machines and to no others: bit `i` is the adapter's remote
    /// endpoint `i`. Unless this is said it may send to all.
    pub fn set_remotes(&mut self, remotes: u64) {
        self.remotes = Some(remotes);
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

    /// The numbers of its handlers, in the order of its table.
    pub fn handlers(&self) -> impl Iterator<Item = HandlerNumber> {
        self.store.data().handlers.iter().map(|handler| HandlerNumber(handler.number))
    }

    /// Tells it under which number it was installed.
    pub(crate) fn installed_as(&mut self, number: u16) {
        self.store.data_mut().number = number;
    }

    /// The declaration of the domain that it exports.
    pub(crate) fn exports(&self) -> Option<DomainDeclaration<'_>> {
        DomainDeclaration::parse(self.exports.as_deref()?).ok()
    }

    /// The domains of other extensions that it was linked against, as they were declared then.
    pub(crate) fn links(&self) -> impl Iterator<Item = DomainDeclaration<'_>> {
        let links = self.store.data().links.iter();
        links.filter_map(|link| DomainDeclaration::parse(&link.declaration).ok())
    }

    /// The places of the extensions that export them.
    pub(crate) fn link_places(&self) -> impl Iterator<Item = u16> {
        self.store.data().links.iter().map(|link| link.place)
    }

    /// Whether it was linked against others.
    #[inline]
    pub(crate) fn is_linked(&self) -> bool {
        self.linked
    }

    /// Says where the extensions are that it was linked against, in the order of its links.
    pub(crate) fn set_links(&mut self, places: &[u16]) {
        for (link, place) in self.store.data_mut().links.iter_mut().zip(places) {
            link.place = *place;
        }
    }

    /// Says which extensions its calls can come to, the links of links included.
    pub(crate) fn set_reach(&mut self, places: &[u16]) {
        let store = &self.store;
        self.spares = places.iter().map(|place| Lent::vacant(store, *place)).collect();
    }

    /// Whether it was told so already.
    pub(crate) fn reaches(&self, places: &[u16]) -> bool {
        self.spares.iter().map(|lent| lent.place).eq(places.iter().copied())
    }

    /// Takes what is to be exchanged for the stores of those it can call, to be given back by
    /// [`set_rack`](Self::set_rack); and the other way round after its entry.
    pub(crate) fn take_spares(&mut self) -> Vec<Lent> {
        std::mem::take(&mut self.spares)
    }

    /// As [`take_spares`](Self::take_spares).
    pub(crate) fn set_spares(&mut self, spares: Vec<Lent>) {
        self.spares = spares;
    }

    /// Has these to call.
    pub(crate) fn set_rack(&mut self, rack: Vec<Lent>) {
        self.store.data_mut().rack = rack;
    }

    /// Has nobody to call any more.
    pub(crate) fn take_rack(&mut self) -> Vec<Lent> {
        std::mem::take(&mut self.store.data_mut().rack)
    }

    /// Lends its store for the vacant one, or takes it back for that.
    pub(crate) fn exchange(&mut self, lent: &mut Lent) {
        std::mem::swap(&mut self.store, &mut lent.store);
    }

    /// How often it trapped when others called it, since the last call.
    pub(crate) fn take_traps(&mut self) -> u64 {
        std::mem::take(&mut self.store.data_mut().traps)
    }

    /// Runs a burst (at most 64 messages), or as much of it as `share` fuel allows, and hands each
    /// message with its outcome to `settle`, in order. Messages for another handler of the same
    /// extension go to `again`; what the share did not reach stays in `burst`.
    ///
    /// Returns the fuel used and how the entry ended.
    pub(crate) fn enter(
        &mut self,
        burst: &mut Vec<Pending>,
        again: &mut Vec<Pending>,
        share: u64,
        settling: &mut impl Settle,
    ) -> (u64, Ending) {
        debug_assert!(burst.len() <= BURST);
        self.fill_slots(burst);
        let ending = self.run_once(share);

        let state = self.store.data_mut();
        std::mem::swap(&mut state.burst, burst);
        let (mut used, answered) = (state.spent, state.answered);
        // The message whose handler was running when the entry ended badly; the first one if the
        // extension did not even ask, so that every entry makes progress.
        let stopped = match ending {
            Ending::Finished | Ending::Faulted => 0,
            Ending::ReturnedEarly => burst.len() - answered,
            Ending::OutOfFuel | Ending::Trapped | Ending::CalleeTrapped => {
                usize::from(answered < burst.len())
            }
        };
        let State { handlers, frames, own, domains, verdicts, kept, slots, stride, .. } = state;
        let judge = Judge { handlers, frames, own: own.as_ref(), domains: *domains };
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

    fn run_once(&mut self, share: u64) -> Ending {
        let fuel = self.budget.message;
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
                    false => Ending::ReturnedEarly,
                }
            }
            Err(error) => {
                link::restore_stack(&mut self.store);
                match error.downcast_ref::<Trap>() {
                    Some(Trap::OutOfFuel) => Ending::OutOfFuel,
                    None if error.is::<CalleeTrapped>() => Ending::CalleeTrapped,
                    _ => Ending::Trapped,
                }
            }
        }
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

/// The functions behind the interfaces that an extension's manifest declares.
fn interfaces(
    store: &mut Store<State>,
    instance: &wasmtime::Instance,
    exports: Option<DomainDeclaration<'_>>,
) -> Result<Vec<Func>, LoadError> {
    let Some(domain) = exports else { return Ok(Vec::new()) };
    let function = |interface: InterfaceDeclaration<'_>| {
        let symbol = format!("{}.{}", domain.name(), interface.name);
        let wanted = link::function_type(store.engine(), interface.signature);
        let found = instance.get_func(&mut *store, &symbol);
        found
            .filter(|function| wasmtime::FuncType::eq(&function.ty(&*store), &wanted))
            .ok_or(LoadError::Export("function for an interface that its manifest declares"))
    };
    domain.interfaces().map(function).collect()
}

/// The state of an extension that has not run yet.
fn state(verified: &Verified<'_>, from: &Ingredients<'_>) -> State {
    let handlers = verified.image().manifest.handlers().map(|declared| Handler {
        number: declared.number.0,
        prefix: declared.prefix,
        writeback: declared.writeback,
        context: 0,
    });
    let links = verified
        .image()
        .links
        .iter()
        .map(|link| Link { declaration: link.as_bytes().to_vec(), place: u16::MAX });
    State {
        domains: verified.image().header.domains,
        handlers: handlers.collect(),
        burst: Vec::with_capacity(BURST),
        links: links.collect(),
        ..State::new(Arc::clone(&from.frames), from.adapter)
    }
}

/// An address in linear memory, all of which is under 4 GiB (asserted in `spine_abi::limits`).
#[expect(clippy::cast_possible_truncation, reason = "linear memory is under 4 GiB")]
#[inline]
fn address(bytes: usize) -> u32 {
    bytes as u32
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
