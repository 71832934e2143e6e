//! The three engines that run beside the processor: host DMA, send DMA, receive DMA.
//!
//! An engine owns its pointers, says when it will have moved its next burst ([`Flow`]), and is told when that time has come.
//! It answers with the ISR bits that rise. It knows nothing of the processor; the board decides who runs when.

mod checksum;
mod flow;
mod host;
mod receive;
mod send;

pub use checksum::add_ones_complement;
use flow::Flow;
pub(crate) use host::{HostDma, Job};
pub(crate) use receive::{ReceiveDma, orun};
pub(crate) use send::{Progress, SendDma};
