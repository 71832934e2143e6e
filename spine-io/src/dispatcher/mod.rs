//! The dispatcher: what runs next, and which handler a message is for (SPINE 3.2).
//!
//! [`queue`] holds the events that are ready and gives out the next by a [policy](spine_nic::schedule); [`table`] finds the
//! extension of a handler number; [`share`] serves extensions in turn and bounds what each may have of
//! what all use, in time by its [`price`]; `waiting` is the queue in front of each.

pub mod price;
pub mod queue;
pub mod share;
pub mod table;
pub(crate) mod waiting;

pub use queue::{Event, EventQueue};
pub use table::{HandlerTable, Target};
