//! Event kinds and plans: the steps into which a backend breaks its work (SPINE 3.2, 6).
//!
//! All work of an adapter is events in one processing loop. A backend brings its *event plan*: the
//! list of kinds it works with, what each costs, and the policy that picks among those ready. The
//! dispatcher is the same for all of them.
//!
//! The kinds of a plan stand in the order of a message's way. A message enters a stage at the stage's
//! first kind; a kind that is `chained` posts the kind after it when it ends. One kind of each stage
//! does the runtime's own work for it; the others are the backend's alone (registers, engines).
//! A processor that is fast beside its wire needs one kind a stage; the paper's card needed 21.

/// Where in a message's way an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stage {
    /// Taking messages from the wire.
    Receive = 0,
    /// Finding the handler of each message.
    Dispatch = 1,
    /// Running an extension's handlers.
    Handle = 2,
    /// Handing messages to the wire, a peer, the host or the kernel.
    Send = 3,
    /// Taking back what has been sent.
    Complete = 4,
    /// Waiting.
    Idle = 5,
    /// Sending what peers forwarded, and taking what they return.
    Arrive = 6,
    /// Doing what the host asks for.
    Control = 7,
}

/// Number of stages.
pub const STAGES: usize = 8;

impl Stage {
    /// All stages, by number.
    pub const ALL: [Self; STAGES] = [
        Self::Receive,
        Self::Dispatch,
        Self::Handle,
        Self::Send,
        Self::Complete,
        Self::Idle,
        Self::Arrive,
        Self::Control,
    ];
}

/// What the priority rule knows of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Control: loading, unloading, messages from the host.
    Control = 0,
    /// What frees resources or moves messages out (on the paper's card: PCI).
    Out = 1,
    /// What moves messages on (on the paper's card: NET, with the next).
    On = 2,
    /// What brings messages in.
    In = 3,
}

/// Number of classes.
pub const CLASSES: usize = 4;

/// What an event costs in the time of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// Whatever it takes: the real clock measures it.
    Measured,
    /// A fixed number of nanoseconds, charged to a model's clock.
    Fixed(u32),
    /// The fuel its handlers used, times the plan's time for a unit.
    Fuel,
}

/// A way that one message at a time may be on: the paper's card has one host DMA engine, and software
/// that follows one message's transfers with it to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Free for all.
    Open,
    /// Waits until the way is free, and takes it for its message.
    Enter,
    /// Leaves the way when it ends, if its message has it.
    Leave,
}

/// One kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKind {
    /// Its name in traces.
    pub name: &'static str,
    /// Its stage.
    pub stage: Stage,
    /// Its priority class.
    pub class: Class,
    /// Its cost.
    pub cost: Cost,
    /// Whether the runtime's own work of the stage is done in it.
    pub works: bool,
    /// Whether the next kind of the plan follows for the same message.
    pub chained: bool,
    /// Whether it shares a way with others.
    pub gate: Gate,
}

impl EventKind {
    /// A kind that does its stage's work, with nothing after it, on a processor that is measured.
    pub const fn measured(name: &'static str, stage: Stage, class: Class) -> Self {
        let works = !matches!(stage, Stage::Idle);
        let (cost, gate) = (Cost::Measured, Gate::Open);
        Self { name, stage, class, cost, works, chained: false, gate }
    }
}

/// In which order events of one rank run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they became ready: an engine's, when the engine was done.
    Readiness,
    /// By how long their message has been here, the oldest first.
    Age,
}

/// The rule that picks among ready events: data, so that rules can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: &'static str,
    /// The rank of each class, by number: of the ready events, the lowest rank runs first. Ranks are
    /// under [`CLASSES`].
    pub rank: [u8; CLASSES],
    /// The order within a rank.
    pub order: Order,
    /// Nanoseconds after which a ready event runs before those of lower ranks; `u64::MAX`: never.
    pub patience: u64,
}

/// Kinds in a plan, at most.
pub const KINDS: usize = 32;

/// A backend's event plan.
#[derive(Debug, Clone, Copy)]
pub struct EventPlan {
    /// The plan's name.
    pub name: &'static str,
    /// The policy it is meant for.
    pub policy: Policy,
    /// Messages one event carries at most, 1 to 64.
    pub burst: usize,
    /// Picoseconds that a unit of fuel takes, for handlers whose cost is fuel.
    pub picoseconds_per_fuel: u64,
    kinds: [EventKind; KINDS],
    count: usize,
}

impl EventPlan {
    /// A plan of these kinds.
    ///
    /// # Panics
    /// If it cannot be: more kinds than [`KINDS`], a stage other than [`Stage::Idle`] without exactly
    /// one kind that does its work, or a chain that ends in the air. In a constant, that is at compile
    /// time.
    pub const fn new(
        name: &'static str,
        kinds: &[EventKind],
        burst: usize,
        policy: Policy,
        picoseconds_per_fuel: u64,
    ) -> Self {
        assert!(kinds.len() <= KINDS && !kinds.is_empty(), "a plan has 1 to 32 kinds");
        assert!(!kinds[kinds.len() - 1].chained, "nothing follows the last kind");
        let mut all = [kinds[0]; KINDS];
        let mut works = [0; STAGES];
        let mut i = 0;
        while i < kinds.len() {
            all[i] = kinds[i];
            works[kinds[i].stage as usize] += kinds[i].works as usize;
            i += 1;
        }
        works[Stage::Idle as usize] = 1;
        i = 0;
        while i < STAGES {
            assert!(works[i] == 1, "each stage's work is done by one of its kinds");
            i += 1;
        }
        Self { name, policy, burst, picoseconds_per_fuel, kinds: all, count: kinds.len() }
    }

    /// Its kinds, in the order of a message's way.
    #[inline]
    pub fn kinds(&self) -> &[EventKind] {
        &self.kinds[..self.count]
    }

    /// Where a message enters a stage: the position of the stage's first kind.
    pub fn entry(&self, stage: Stage) -> Option<usize> {
        self.kinds().iter().position(|kind| kind.stage == stage)
    }

    /// Whether its events take a model's time and not that of the processor they run on.
    pub fn is_modelled(&self) -> bool {
        self.kinds().iter().any(|kind| kind.cost != Cost::Measured)
    }
}

/// What is traced of one event (SPINE Figure 6: a box at `start`, `nanos` wide, in the row `kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceRecord {
    /// When it began, in nanoseconds of its adapter's clock.
    pub start: u64,
    /// How long it took.
    pub nanos: u32,
    /// Its kind: the position in the plan.
    pub kind: u8,
    /// Its message, by a number that the message has until it leaves.
    pub message: u64,
}
