//! What an extension is given, and what became of it.

use spine_abi::notice::Offence;
use spine_abi::{BufferRef, Endpoint, Message, Reason, Verdict};
use spine_nic::buffer::Frame;

use crate::reference::Kept;

/// A message waiting for a handler of an extension.
#[derive(Debug)]
pub struct Pending {
    /// Position of the handler in the extension's table.
    pub(crate) handler: u8,
    /// How often the message was passed on to another handler already.
    pub(crate) hops: u8,
    /// Whether a handler may have changed its packet.
    pub(crate) touched: bool,
    /// Where it came from.
    pub(crate) source: Endpoint,
    /// Which extension of a peer adapter sent it; zero for all other sources.
    pub(crate) sender: u16,
    /// What it carries.
    pub(crate) body: Body,
}

/// What a message carries.
#[derive(Debug)]
pub(crate) enum Body {
    /// A packet in a frame, named by the reference while the extension has the message.
    Bulk(Frame, BufferRef),
    /// Arguments only.
    Small(Box<Message>),
}

/// What became of one message.
#[derive(Debug)]
pub enum Outcome {
    /// The handler returned this verdict, and may give it.
    Returned(Verdict),
    /// It is for another handler of the same extension now.
    Passed,
    /// Its handler ran out of fuel, trapped, or the extension returned before its burst was done.
    Stopped,
    /// The verdict makes no sense, or goes where the extension may not send.
    Refused,
}

impl Outcome {
    /// The reason a packet is counted under when the outcome is its end.
    pub fn drop_reason(&self) -> Option<Reason> {
        match self {
            Self::Returned(Verdict::Drop(reason)) => Some(*reason),
            Self::Returned(_) | Self::Passed => None,
            Self::Stopped => Some(Reason::Stopped),
            Self::Refused => Some(Reason::BadVerdict),
        }
    }
}

/// What does with messages what their outcomes say.
pub(crate) trait Settle {
    /// The packet goes to this peer as it is: what nearly every message of a router comes to, said
    /// without an [`Outcome`] that would have to be taken apart again.
    fn forward(&mut self, pending: Pending, peer: u16);

    /// What else became of a message; `kept` are the extension's.
    fn settle(&mut self, kept: &mut Kept, pending: Pending, outcome: Outcome);
}

/// How an entry into an extension ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It went through its burst, or as far as its share allowed.
    Finished,
    /// It was stopped for using up the fuel of one message.
    OutOfFuel,
    /// It was stopped for using up the fuel that its price left of a message's: it takes longer than it may, or did
    /// before.
    TooDear,
    /// The same, and this time it did not take so long: it was stopped too soon, which is no strike.
    Spared,
    /// It trapped: out of bounds, unreachable, division by zero, stack overflow.
    Trapped,
    /// It returned before it had asked for every message.
    ReturnedEarly,
    /// It went through its burst, and much of its memory was not there: somebody takes it away.
    Faulted,
    /// An extension that it called trapped: its message is lost with it, and the fault is the other's.
    CalleeTrapped,
}

impl Ending {
    /// Whether this counts against the extension.
    pub fn is_strike(self) -> bool {
        self.offence().is_some()
    }

    /// Whether its entry was cut short, by whosever fault: a stop takes time that no fuel pays for.
    pub fn is_stop(self) -> bool {
        self != Self::Finished
    }

    /// What the application is told if this was the last strike.
    pub fn offence(self) -> Option<Offence> {
        match self {
            Self::Finished | Self::Spared | Self::CalleeTrapped => None,
            Self::OutOfFuel | Self::TooDear => Some(Offence::OutOfFuel),
            Self::Trapped => Some(Offence::Trapped),
            Self::ReturnedEarly => Some(Offence::ReturnedEarly),
            Self::Faulted => Some(Offence::Faulted),
        }
    }
}
