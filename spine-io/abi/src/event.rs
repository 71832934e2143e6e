//! Event kinds: the steps into which a backend breaks its work (SPINE 3.2, 6).
//!
//! All work of an adapter is events in one processing loop. A backend brings its *event plan*: the
//! list of kinds it works with. The dispatcher is the same for all of them.

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
}

/// How urgent an event is: of the ready ones, the lowest class runs first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Control: loading, unloading, notices.
    Control = 0,
    /// What frees resources or moves messages out.
    Out = 1,
    /// What moves messages on.
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
    /// The fuel its handlers used, times a factor from configuration.
    Fuel,
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
}

/// A backend's event plan.
#[derive(Debug, Clone, Copy)]
pub struct EventPlan {
    /// The plan's name.
    pub name: &'static str,
    /// Its kinds; the first of a stage is the one the dispatcher uses for that stage.
    pub kinds: &'static [EventKind],
    /// Messages one event carries at most, 1 to 64.
    pub burst: usize,
}

impl EventPlan {
    /// The kind for a stage, by position in the plan.
    pub fn kind_of(&self, stage: Stage) -> Option<usize> {
        self.kinds.iter().position(|kind| kind.stage == stage)
    }
}
